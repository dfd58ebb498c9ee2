//! Servers and clients of the tests' own, with which a connection goes otherwise than it should.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sekisho_benches::hello::{Size, Template};
use sekisho_benches::wire::{Pattern, Request};

/// Where each connection gets `serve`.
pub(crate) fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A connection that gives up rather than hang.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A hello as load sends it, with this request.
pub(crate) fn hello(request: Request) -> Vec<u8> {
    let name = "b0000.s3.ap-northeast-1.amazonaws.com";
    Template::new(Size::Small, name.len()).unwrap().fill(name.as_bytes(), &request.random(1)).to_vec()
}

/// Reads a whole hello of load's, large or small.
pub(crate) fn read_hello(stream: &mut TcpStream) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut rest).unwrap();
}

/// Reads a whole head of HTTP.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A proxy that says `established` to a CONNECT, in two pieces, and passes on what follows.
pub(crate) fn proxy(to: SocketAddr, established: &'static str) -> SocketAddr {
    serve(move |mut client| {
        let head = read_head(&mut client);
        assert!(head.starts_with("CONNECT b0") && head.contains(".amazonaws.com:443 HTTP/1.1\r\nHost: b0"), "{head}");
        client.set_nodelay(true).unwrap();
        let (first, second) = established.as_bytes().split_at(established.len() / 2);
        client.write_all(first).unwrap();
        thread::sleep(Duration::from_millis(2));
        client.write_all(second).unwrap();
        let server = connect(to);
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || pass(client, server, usize::MAX));
        pass(server_too, client_too, usize::MAX);
    })
}

/// Bytes of the pattern.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let (pattern, mut bytes) = (Pattern::default(), Vec::with_capacity(length));
    while bytes.len() < length {
        let offset = bytes.len();
        bytes.extend_from_slice(pattern.at(offset as u64, (length - offset) as u64));
    }
    bytes
}

/// Reads to the end, with pauses in which buffers fill up.
pub(crate) fn read_slowly(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        if all.len() < 8 << 20 {
            thread::sleep(Duration::from_millis(20));
        }
        match stream.read(&mut piece).unwrap() {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

/// Where connections are passed on to `to` with one byte of those that go up or down changed, so many bytes on.
pub(crate) fn spoil(to: SocketAddr, up: bool, at: usize) -> SocketAddr {
    serve(move |client| {
        let server = connect(to);
        let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let never = usize::MAX;
        thread::spawn(move || pass(client, server, if up { at } else { never }));
        pass(server_too, client_too, if up { never } else { at });
    })
}

fn pass(mut from: TcpStream, mut to: TcpStream, spoilt: usize) {
    let (mut passed, mut piece) = (0, vec![0; 16 * 1024]);
    while let Ok(count @ 1..) = from.read(&mut piece) {
        if let Some(byte) = spoilt.checked_sub(passed).and_then(|at| piece[..count].get_mut(at)) {
            *byte ^= 1;
        }
        passed += count;
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}
