//! A DNS server over UDP and TCP whose every reply is up to the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// How often a thread looks whether it is to end.
const BREATH: Duration = Duration::from_millis(10);

/// A question that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddr,
    pub(crate) over_tcp: bool,
    pub(crate) message: Message,
}

/// What the server does about it. Over UDP, in this order and from its own socket unless another is said.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Say(Message),
    Bytes(Vec<u8>),
    Later(Duration, Message),
    From(Arc<UdpSocket>, Message),
}

type Script = Box<dyn FnMut(&Asked) -> Vec<Act> + Send>;

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    script: Mutex<Script>,
    ended: AtomicBool,
}

impl Server {
    pub(crate) fn new(script: impl FnMut(&Asked) -> Vec<Act> + Send + 'static) -> Self {
        Self::on("127.0.0.1:0", script)
    }

    /// Says nothing, ever.
    pub(crate) fn silent() -> Self {
        Self::new(|_| Vec::new())
    }

    /// Every name has these addresses.
    pub(crate) fn with(v4: &'static [u8], v6: &'static [u16], ttl: u32) -> Self {
        Self::new(move |asked| asked.answer(v4, v6, ttl))
    }

    pub(crate) fn on(address: &str, script: impl FnMut(&Asked) -> Vec<Act> + Send + 'static) -> Self {
        let (udp, tcp) = bind(address);
        udp.set_read_timeout(Some(BREATH)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        let script: Mutex<Script> = Mutex::new(Box::new(script));
        let shared = Arc::new(Shared { asked: Mutex::default(), script, ended: AtomicBool::new(false) });
        let threads = vec![
            spawn({
                let shared = shared.clone();
                move || shared.serve_udp(&Arc::new(udp))
            }),
            spawn({
                let shared = shared.clone();
                move || shared.serve_tcp(&tcp)
            }),
        ];
        Self { address, shared, threads }
    }

    /// From now on it does this.
    pub(crate) fn now(&self, script: impl FnMut(&Asked) -> Vec<Act> + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// The questions so far for `host`, without its trailing dot.
    pub(crate) fn asked(&self, host: &str) -> Vec<Asked> {
        let absolute = format!("{host}.");
        self.shared.asked.lock().unwrap().iter().filter(|asked| asked.host() == absolute).cloned().collect()
    }

    pub(crate) fn count(&self, host: &str, family: RecordType) -> usize {
        self.asked(host).iter().filter(|asked| asked.family() == family).count()
    }

    /// Every question so far.
    pub(crate) fn all_asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // Its panic has been printed; a second one here would hide it.
            let _ = thread.join();
        }
    }
}

/// Both kinds of socket on one port.
fn bind(address: &str) -> (UdpSocket, TcpListener) {
    for _ in 0..50 {
        let udp = UdpSocket::bind(address).unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

impl Shared {
    fn serve_udp(self: &Arc<Self>, socket: &Arc<UdpSocket>) {
        let mut buffer = [0; 4096];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            for act in self.hear(&buffer[..length], from, false) {
                let (socket, wait, bytes) = match act {
                    Act::Say(message) => (socket.clone(), Duration::ZERO, message.to_vec().unwrap()),
                    Act::Bytes(bytes) => (socket.clone(), Duration::ZERO, bytes),
                    Act::Later(wait, message) => (socket.clone(), wait, message.to_vec().unwrap()),
                    Act::From(other, message) => (other, Duration::ZERO, message.to_vec().unwrap()),
                };
                let send = move || {
                    sleep(wait);
                    // The one who asked may be gone by now.
                    let _ = socket.send_to(&bytes, from);
                };
                if wait.is_zero() { send() } else { drop(spawn(send)) }
            }
        }
    }

    fn serve_tcp(self: &Arc<Self>, listener: &TcpListener) {
        while !self.ended.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, from)) => {
                    let shared = self.clone();
                    spawn(move || shared.converse(stream, from));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(BREATH),
                Err(error) => panic!("accept: {error}"),
            }
        }
    }

    /// One connection: its questions until the other side is gone (RFC 1035 §4.2.2: each after its length).
    fn converse(&self, mut stream: TcpStream, from: SocketAddr) {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).unwrap();
            for act in self.hear(&question, from, true) {
                let bytes = match act {
                    Act::Say(message) => message.to_vec().unwrap(),
                    Act::Bytes(bytes) => bytes,
                    Act::Later(..) | Act::From(..) => panic!("not over TCP"),
                };
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &bytes].concat()).unwrap();
            }
        }
    }

    fn hear(&self, bytes: &[u8], from: SocketAddr, over_tcp: bool) -> Vec<Act> {
        let message = Message::from_vec(bytes).unwrap();
        let asked = Asked { at: Instant::now(), from, over_tcp, message };
        self.asked.lock().unwrap().push(asked.clone());
        (self.script.lock().unwrap())(&asked)
    }
}

impl Asked {
    /// Lowercase, with its trailing dot.
    pub(crate) fn host(&self) -> String {
        self.message.queries[0].name().to_lowercase().to_ascii()
    }

    pub(crate) fn family(&self) -> RecordType {
        self.message.queries[0].query_type()
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.family() == RecordType::A
    }

    /// A reply without records.
    pub(crate) fn reply(&self) -> Message {
        let mut message = Message::response(self.message.id, self.message.op_code);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.queries.clone_from(&self.message.queries);
        message
    }

    /// The addresses of the family that is asked for, NODATA where there are none.
    pub(crate) fn addresses(&self, v4: &[u8], v6: &[u16], ttl: u32) -> Message {
        let mut message = self.reply();
        let owner = self.message.queries[0].name();
        if self.is_v4() {
            for &last in v4 {
                let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
                message.add_answer(Record::from_rdata(owner.clone(), ttl, data));
            }
        } else {
            for &last in v6 {
                let data = RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)));
                message.add_answer(Record::from_rdata(owner.clone(), ttl, data));
            }
        }
        if message.answers.is_empty() {
            message.add_authority(soa(5));
        }
        message
    }

    pub(crate) fn answer(&self, v4: &[u8], v6: &[u16], ttl: u32) -> Vec<Act> {
        vec![Act::Say(self.addresses(v4, v6, ttl))]
    }

    pub(crate) fn alias(&self, target: &str, ttl: u32) -> Vec<Act> {
        let mut message = self.reply();
        let data = RData::CNAME(CNAME(Name::from_ascii(target).unwrap()));
        message.add_answer(Record::from_rdata(self.message.queries[0].name().clone(), ttl, data));
        vec![Act::Say(message)]
    }

    pub(crate) fn code(&self, code: ResponseCode) -> Vec<Act> {
        let mut message = self.reply();
        message.metadata.response_code = code;
        vec![Act::Say(message)]
    }

    pub(crate) fn missing(&self, ttl: u32) -> Vec<Act> {
        let mut message = self.reply();
        message.metadata.response_code = ResponseCode::NXDomain;
        message.add_authority(soa(ttl));
        vec![Act::Say(message)]
    }

    /// Cut short, with a part of the answer that must not be taken for the whole.
    pub(crate) fn cut(&self) -> Vec<Act> {
        let mut message = self.addresses(&[66], &[0x66], 60);
        message.metadata.truncation = true;
        vec![Act::Say(message)]
    }
}

fn soa(ttl: u32) -> Record {
    let data = SOA::new(Name::root(), Name::root(), 1, 2, 3, 4, ttl);
    Record::from_rdata(Name::root(), ttl, RData::SOA(data))
}
