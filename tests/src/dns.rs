//! An authoritative DNS server that answers as S3's do, and misbehaves on demand.
//!
//! Every name gets a CNAME and eight addresses out of a pool, with a TTL of a second, starting elsewhere in the pool at every query.
//! It runs on threads of this process inside a namespace, so a test changes its behaviour by a call.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::netns::Netns;

/// What the server does with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// CNAME and eight addresses out of the pool; no such data for a family that the pool lacks.
    Answer,
    /// CNAME and exactly these addresses (of the queried family).
    Addresses(Vec<IpAddr>),
    /// The same without a CNAME, for a resolver between: it would ask for the other name by itself.
    Plain(Vec<IpAddr>),
    /// No answer at all.
    Silent,
    /// REFUSED.
    Refused,
    /// SERVFAIL.
    ServFail,
    /// NXDOMAIN, with an SOA whose negative TTL is the zone's TTL.
    NxDomain,
    /// The name exists, but has no address.
    NoData,
    /// Over UDP an empty answer with TC set; over TCP as [`Behaviour::Answer`].
    Truncated,
    /// As [`Behaviour::Answer`], so much later.
    Slow(Duration),
}

/// A running server; stopped on drop.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct State {
    pool: Vec<IpAddr>,
    ttl: u32,
    rotating: bool,
    next: usize,
    all: Behaviour,
    names: HashMap<String, Behaviour>,
    queries: HashMap<(String, RecordType), u64>,
    over_tcp: u64,
}

impl Dns {
    /// Starts a server inside `ns` on `address` port 53, UDP and TCP, with this pool, a TTL of 1 s, rotating.
    ///
    /// # Errors
    /// Fails when the address is not the namespace's, or is taken.
    pub fn start(ns: &Netns, address: IpAddr, pool: Vec<IpAddr>) -> Result<Self> {
        let address = SocketAddr::new(address, 53);
        let state = State {
            pool,
            ttl: 1,
            rotating: true,
            next: 0,
            all: Behaviour::Answer,
            names: HashMap::new(),
            queries: HashMap::new(),
            over_tcp: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), stop: AtomicBool::new(false) });
        let (udp, tcp) = ns
            .enter(|| -> Result<_> { Ok((UdpSocket::bind(address)?, TcpListener::bind(address)?)) })?
            .with_context(|| format!("no DNS server on {address}"))?;
        udp.set_read_timeout(Some(Duration::from_millis(100)))?;
        tcp.set_nonblocking(true)?;
        let (for_udp, for_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![ns.spawn(move || serve_udp(&udp, &for_udp)), ns.spawn(move || serve_tcp(&tcp, &for_tcp))];
        Ok(Self { address, shared, threads })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what all names get, but those set by [`Dns::set_name`].
    pub fn set(&self, behaviour: Behaviour) {
        self.shared.state().all = behaviour;
    }

    /// Changes what one name gets (lowercase, without a trailing dot).
    pub fn set_name(&self, name: &str, behaviour: Behaviour) {
        self.shared.state().names.insert(name.to_owned(), behaviour);
    }

    /// Changes the addresses that answers are taken from.
    pub fn set_pool(&self, pool: Vec<IpAddr>) {
        self.shared.state().pool = pool;
    }

    /// Changes the TTL of all records, in seconds.
    pub fn set_ttl(&self, seconds: u32) {
        self.shared.state().ttl = seconds;
    }

    /// Whether each query starts elsewhere in the pool.
    pub fn set_rotating(&self, rotating: bool) {
        self.shared.state().rotating = rotating;
    }

    /// How many queries of any type have come for a name (lowercase, without a trailing dot).
    pub fn queries(&self, name: &str) -> u64 {
        self.shared.state().queries.iter().filter(|((asked, _), _)| asked == name).map(|(_, count)| count).sum()
    }

    /// How many queries of one type have come for a name.
    pub fn queries_of(&self, name: &str, kind: RecordType) -> u64 {
        self.shared.state().queries.get(&(name.to_owned(), kind)).copied().unwrap_or(0)
    }

    /// How many queries have come over TCP.
    pub fn queries_over_tcp(&self) -> u64 {
        self.shared.state().over_tcp
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    while !shared.stopped() {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        match shared.reply(&buffer[..length], false) {
            Some((reply, Some(delay))) => {
                let Ok(socket) = socket.try_clone() else { continue };
                thread::spawn(move || {
                    thread::sleep(delay);
                    let _ = socket.send_to(&reply, peer);
                });
            }
            Some((reply, None)) => {
                let _ = socket.send_to(&reply, peer);
            }
            None => {}
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    while !shared.stopped() {
        if let Ok((stream, _)) = listener.accept() {
            let shared = Arc::clone(shared);
            thread::spawn(move || serve_stream(stream, &shared));
        } else {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve_stream(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        if let Some((reply, delay)) = shared.reply(&query, true) {
            thread::sleep(delay.unwrap_or_default());
            stream.write_all(&u16::try_from(reply.len())?.to_be_bytes())?;
            stream.write_all(&reply)?;
        }
    }
}

impl Shared {
    /// The answer's bytes and how much later to send them; nothing for silence.
    fn reply(&self, query: &[u8], tcp: bool) -> Option<(Vec<u8>, Option<Duration>)> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?;
        let (name, kind) = (question.name().to_lowercase(), question.query_type());
        let key = name.to_ascii().trim_end_matches('.').to_owned();
        let mut state = self.state();
        *state.queries.entry((key.clone(), kind)).or_default() += 1;
        state.over_tcp += u64::from(tcp);
        let behaviour = state.names.get(&key).unwrap_or(&state.all).clone();

        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.metadata.authoritative = true;
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        let mut delay = None;
        match behaviour {
            Behaviour::Silent => return None,
            Behaviour::Refused => reply.metadata.response_code = ResponseCode::Refused,
            Behaviour::ServFail => reply.metadata.response_code = ResponseCode::ServFail,
            Behaviour::NxDomain => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                reply.add_authority(state.soa());
            }
            Behaviour::NoData => {
                reply.add_authority(state.soa());
            }
            Behaviour::Truncated if !tcp => reply.metadata.truncation = true,
            Behaviour::Slow(time) => {
                delay = Some(time);
                state.answer(&mut reply, &name, kind, None);
            }
            Behaviour::Answer | Behaviour::Truncated => state.answer(&mut reply, &name, kind, None),
            Behaviour::Addresses(addresses) => state.answer(&mut reply, &name, kind, Some(&addresses)),
            Behaviour::Plain(addresses) => {
                state.answer(&mut reply, &name, kind, Some(&addresses));
                reply.answers.retain(|record| record.record_type() != RecordType::CNAME);
                reply.answers.iter_mut().for_each(|record| record.name = name.clone());
            }
        }
        reply.to_vec().ok().map(|bytes| (bytes, delay))
    }
}

impl State {
    fn answer(&mut self, reply: &mut Message, name: &Name, kind: RecordType, given: Option<&[IpAddr]>) {
        let family = |address: &&IpAddr| match kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => false,
        };
        let all: Vec<IpAddr> = given.unwrap_or(&self.pool).iter().filter(family).copied().collect();
        if all.is_empty() {
            reply.add_authority(self.soa());
            return;
        }
        let start = self.next % all.len();
        if self.rotating && given.is_none() {
            self.next = self.next.wrapping_add(8);
        }
        let target = Name::from_ascii("s3-w.lab.amazonaws.com.").unwrap_or_default();
        reply.add_answer(Record::from_rdata(name.clone(), self.ttl, RData::CNAME(CNAME(target.clone()))));
        for address in all.iter().cycle().skip(start).take(all.len().min(8)) {
            let data = match address {
                IpAddr::V4(v4) => RData::A(A(*v4)),
                IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
            };
            reply.add_answer(Record::from_rdata(target.clone(), self.ttl, data));
        }
    }

    fn soa(&self) -> Record {
        let zone = Name::from_ascii("amazonaws.com.").unwrap_or_default();
        let soa = SOA::new(zone.clone(), zone.clone(), 1, 7200, 900, 1_209_600, self.ttl);
        Record::from_rdata(zone, self.ttl, RData::SOA(soa))
    }
}
