//! What a gate needs on the loopback: its files, a DNS server, a server that does as it is told, and clients' hellos.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::SockRef;

/// Resolves to where the server is.
pub(crate) const HOST: &str = "a.example";
/// Resolves to where nobody listens.
pub(crate) const NOBODY: &str = "nobody.example";
/// No rule lists it.
pub(crate) const UNLISTED: &str = "unlisted.example";

/// A directory with the files of a gate, and the servers that it needs.
pub(crate) struct Place {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: SocketAddr,
}

impl Place {
    /// `each_alone` gives every connection of the server a thread; otherwise it serves one after the other, and
    /// allocates for none.
    pub(crate) fn new(settings: &str, each_alone: bool) -> Self {
        let names = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = names.local_addr().unwrap();
        std::thread::spawn(move || answer_names(&names));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if each_alone {
                    std::thread::spawn(move || obey(stream));
                } else {
                    obey(stream);
                }
            }
        });
        let place = Self { directory: tempfile::tempdir().unwrap(), server };
        let config = format!(
            "listeners:\n  - {{ name: front, bind: \"127.0.0.1:0\", destination: none, port: {} }}\n\
             policy: policy.yaml\nadmin: {{ bind: \"127.0.0.1:0\" }}\ndns: {{ servers: [\"{dns}\"] }}\nthreads: 2\n\
             access_log: {{ path: access.jsonl }}\n{settings}\n",
            server.port()
        );
        fs::write(place.directory.path().join("sekisho.yaml"), config).unwrap();
        place.allow(&[HOST, NOBODY]);
        place
    }

    /// Puts another policy in the old one's place.
    pub(crate) fn allow(&self, hosts: &[&str]) {
        let (hosts, port) = (hosts.join(", "), self.server.port());
        let rule = format!("name: a, owner: o, ticket: t, upstream: any, ports: [{port}], hosts: [{hosts}]");
        let path = self.directory.path().join("policy.yaml");
        let new = path.with_extension("new");
        fs::write(&new, format!("version: 1\non_revoke: close\nrules:\n  - {{ {rule} }}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }
}

/// What the server does once it has read the hello and this byte.
pub(crate) mod order {
    /// Answers a byte, then waits for the client's end.
    pub(crate) const ANSWER: u8 = b'a';
    /// Closes.
    pub(crate) const CLOSE: u8 = b'c';
    /// Finishes, and waits for the client's end.
    pub(crate) const FINISH: u8 = b'f';
    /// Resets.
    pub(crate) const RESET: u8 = b'r';
    /// Waits for the client's end, then answers a byte.
    pub(crate) const WAIT: u8 = b'w';
    /// Answers [`super::BULK`] bytes.
    pub(crate) const BULK: u8 = b'b';
}

/// What [`order::BULK`] is answered with.
pub(crate) const BULK: usize = 32 << 20;

fn obey(mut stream: TcpStream) {
    let mut bytes = [0; 1 << 14];
    let mut head = [0; 5];
    let done: std::io::Result<()> = (|| {
        stream.read_exact(&mut head)?;
        let [.., high, low] = head;
        stream.read_exact(&mut bytes[..usize::from(u16::from_be_bytes([high, low]))])?;
        let mut order = [0];
        stream.read_exact(&mut order)?;
        match order[0] {
            order::ANSWER => {
                stream.write_all(b"x")?;
                while stream.read(&mut bytes)? > 0 {}
            }
            order::RESET => SockRef::from(&stream).set_linger(Some(Duration::ZERO))?,
            order::WAIT => {
                while stream.read(&mut bytes)? > 0 {}
                stream.write_all(b"x")?;
            }
            order::FINISH => {
                stream.shutdown(Shutdown::Write)?;
                while stream.read(&mut bytes)? > 0 {}
            }
            order::BULK => (0..BULK / bytes.len()).try_for_each(|_| stream.write_all(&bytes))?,
            _ => {}
        }
        Ok(())
    })();
    // Some connections are broken on purpose; the clients see what became of theirs.
    drop(done);
}

/// Answers every question for an address: nobody's for that name, no IPv6 address for any.
fn answer_names(socket: &UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let mut name = String::new();
        let mut at = 12;
        while let Some(label @ 1..) = query.get(at).copied().map(usize::from) {
            name.push_str(&String::from_utf8_lossy(&query[at + 1..at + 1 + label]));
            name.push('.');
            at += 1 + label;
        }
        let question = &query[12..(at + 5).min(length)];
        let ipv4 = question[question.len() - 3] == 1;
        let last = if name.trim_end_matches('.') == NOBODY { 2 } else { 1 };
        let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(ipv4), 0, 0, 0, 0], question].concat();
        if ipv4 {
            reply.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, last]);
        }
        let _ = socket.send_to(&reply, from);
    }
}

/// A hello for `host`, with an order behind it.
pub(crate) fn hello(host: &str, order: u8) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let name = with_length(&[&[0], with_length(host.as_bytes()).as_slice()].concat());
    let alpn = with_length(b"\x02h2\x08http/1.1");
    let extensions =
        [[0, 0].as_slice(), &with_length(&name), &[0, 16], &with_length(&alpn), &[0, 43, 0, 3, 2, 3, 4]].concat();
    let body =
        [[3, 3].as_slice(), &[7; 32], &[0], &with_length(&[0x13, 0x01]), &[1, 0], &with_length(&extensions)].concat();
    let message = [[1, 0].as_slice(), &with_length(&body)].concat();
    [[0x16, 3, 1].as_slice(), &with_length(&message), &[order]].concat()
}
