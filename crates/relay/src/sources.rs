//! Which of this host's addresses connections are dialled from.
//!
//! TCP tells connections apart by both addresses and both ports, so one source address has only as many connections towards
//! one address and port as `net.ipv4.ip_local_port_range` has ports. Each further source address has as many again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// How long a source that had no port left towards a destination is not asked again for it. To say no the kernel looks at
/// every port of its range, which takes the worker's thread a millisecond and more.
const REST: Duration = Duration::from_secs(1);
/// Pairs of source and destination of which a worker remembers that.
const REMEMBERED: usize = 1024;

/// Why an address of `upstream.source_addresses` cannot be dialled from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This host does not have it.
    #[error("cannot dial from {0}, which is no address of this host; correct `upstream.source_addresses`")]
    NotOurs(IpAddr),
    /// The kernel refused.
    #[error("cannot dial from {address}")]
    Refused {
        /// The address.
        address: IpAddr,
        /// What it said.
        source: io::Error,
    },
}

/// The sources of the process, and how often each had no port left.
#[derive(Debug)]
pub struct Sources {
    /// The kernel's own choice comes first; it is for families of which the settings name no address.
    list: Box<[Source]>,
    late_ports: bool,
}

/// One source.
#[derive(Debug, Default)]
pub struct Source {
    address: Option<IpAddr>,
    exhausted: AtomicU64,
}

impl Source {
    /// Its address; `None` is the kernel's choice.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// How often a connection could not be dialled from here for want of a port, or of the address itself.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.load(Ordering::Relaxed)
    }
}

impl Sources {
    /// From the settings' addresses, each of which must be this host's.
    pub fn new(addresses: &[IpAddr]) -> Result<Self, SourceError> {
        let mut late_ports = true;
        for &address in addresses {
            late_ports &= probe(address).map_err(|source| match source.kind() {
                io::ErrorKind::AddrNotAvailable => SourceError::NotOurs(address),
                _ => SourceError::Refused { address, source },
            })?;
        }
        let named = addresses.iter().map(|&address| Source { address: Some(address), ..Source::default() });
        Ok(Self { list: std::iter::once(Source::default()).chain(named).collect(), late_ports })
    }

    /// Those that are dialled from.
    pub fn used(&self) -> impl Iterator<Item = &Source> {
        let every_family = [true, false].iter().all(|&v4| self.of_family(v4).next().is_some());
        self.list.iter().skip(usize::from(every_family))
    }

    /// Whether a source's port is chosen once the destination is known, so that its ports count for each destination apart
    /// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2). `None` where no source is named, and nothing bound.
    pub fn late_ports(&self) -> Option<bool> {
        (self.list.len() > 1).then_some(self.late_ports)
    }

    fn of_family(&self, v4: bool) -> impl Iterator<Item = usize> {
        let of = move |(_, source): &(usize, &Source)| source.address.is_some_and(|address| address.is_ipv4() == v4);
        self.list.iter().enumerate().filter(of).map(|(index, _)| index)
    }
}

impl Default for Sources {
    /// The kernel's choice for both families.
    fn default() -> Self {
        Self { list: Box::new([Source::default()]), late_ports: true }
    }
}

/// Binds to `address` once. The answer is whether the kernel can leave the port open.
fn probe(address: IpAddr) -> io::Result<bool> {
    let at = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    let late = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).is_ok();
    socket.bind(&at.into())?;
    Ok(late)
}

/// A worker's turns: each dial begins with the next source of the destination's family.
#[derive(Debug)]
pub(crate) struct Turns {
    sources: Arc<Sources>,
    v4: Turn,
    v6: Turn,
    resting: RefCell<HashMap<(usize, SocketAddr), Instant>>,
}

#[derive(Debug)]
struct Turn {
    of: Box<[usize]>,
    next: Cell<usize>,
}

impl Turn {
    fn new(named: impl Iterator<Item = usize>) -> Self {
        let of: Box<[usize]> = named.collect();
        Self { of: if of.is_empty() { Box::new([0]) } else { of }, next: Cell::new(0) }
    }
}

impl Turns {
    pub(crate) fn new(sources: Arc<Sources>) -> Self {
        let (v4, v6) = (Turn::new(sources.of_family(true)), Turn::new(sources.of_family(false)));
        Self { sources, v4, v6, resting: RefCell::default() }
    }

    /// The sources to try towards `address`, in turn, but for those that had no port left there a moment ago.
    pub(crate) fn towards(&self, address: SocketAddr) -> impl Iterator<Item = usize> {
        let turn = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let first = turn.next.get().checked_rem(turn.of.len()).unwrap_or_default();
        turn.next.set(first + 1);
        let in_turn = turn.of.iter().cycle().skip(first).take(turn.of.len());
        in_turn.copied().filter(move |&source| !self.rests(source, address))
    }

    /// Makes `socket` one from this source.
    pub(crate) fn bind(&self, source: usize, socket: impl AsFd) -> io::Result<()> {
        let Some(address) = self.sources.list.get(source).and_then(Source::address) else { return Ok(()) };
        if self.sources.late_ports {
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        }
        Ok(rustix::net::bind(&socket, &SocketAddr::new(address, 0))?)
    }

    /// There was no port left at this source towards `address`, or the source is this host's no longer.
    pub(crate) fn exhausted(&self, source: usize, address: SocketAddr) {
        self.count(source);
        let (mut resting, now) = (self.resting.borrow_mut(), Instant::now());
        if resting.len() >= REMEMBERED {
            resting.retain(|_, since| now.duration_since(*since) < REST);
        }
        if resting.len() < REMEMBERED {
            resting.insert((source, address), now);
        }
    }

    fn rests(&self, source: usize, address: SocketAddr) -> bool {
        let resting = self.resting.borrow();
        let rests = !resting.is_empty() && resting.get(&(source, address)).is_some_and(|since| since.elapsed() < REST);
        if rests {
            self.count(source);
        }
        rests
    }

    fn count(&self, source: usize) {
        if let Some(source) = self.sources.list.get(source) {
            source.exhausted.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether this host has no address to reach `address` from, as where IPv6 is switched off: TCP then says the same as when
/// all ports are taken. UDP's ports are its own, so it says the same only then. Nothing is sent.
pub(crate) fn none_for(address: SocketAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let reached = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address));
    reached.is_err_and(|error| error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(addresses: &[&str]) -> Turns {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Turns::new(Arc::new(Sources::new(&addresses).unwrap()))
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sources_of_a_family_take_turns_and_the_kernel_chooses_for_the_other() {
        let turns = turns(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        let order = |to| turns.towards(at(to)).collect::<Vec<_>>();
        assert_eq!([order("192.0.2.1:443"), order("192.0.2.1:443")], [[1, 2, 3], [2, 3, 1]]);
        assert_eq!([order("192.0.2.9:443"), order("192.0.2.1:443")], [[3, 1, 2], [1, 2, 3]]);
        assert_eq!(order("[2001:db8::1]:443"), [0]);
        assert_eq!(turns.sources.used().map(Source::address).filter(Option::is_none).count(), 1);
    }

    #[test]
    fn a_source_without_a_port_rests_for_that_destination_alone_and_is_counted_each_time() {
        let turns = turns(&["127.0.0.1", "127.0.0.2"]);
        let to = at("192.0.2.1:443");
        turns.exhausted(1, to);
        assert_eq!(turns.towards(to).collect::<Vec<_>>(), [2]);
        assert_eq!(turns.towards(to).collect::<Vec<_>>(), [2]);
        assert_eq!(turns.towards(at("192.0.2.2:443")).count(), 2);
        assert_eq!(turns.sources.list.iter().map(Source::exhausted).collect::<Vec<_>>(), [0, 3, 0]);
        let long_ago = Instant::now().checked_sub(REST).unwrap();
        turns.resting.borrow_mut().insert((1, to), long_ago);
        assert_eq!(turns.towards(to).count(), 2);
    }

    #[test]
    fn the_memory_of_what_rests_is_bounded() {
        let turns = turns(&[]);
        for port in 0..4096 {
            turns.exhausted(0, SocketAddr::from(([192, 0, 2, 1], port)));
        }
        assert_eq!(turns.resting.borrow().len(), REMEMBERED);
    }

    #[test]
    fn an_address_of_another_host_is_no_source() {
        let error = Sources::new(&["192.0.2.1".parse().unwrap()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot dial from 192.0.2.1, which is no address of this host; correct `upstream.source_addresses`"
        );
        assert_eq!(Sources::default().late_ports(), None);
        assert_eq!(turns(&["127.0.0.1"]).sources.late_ports(), Some(true));
    }

    #[test]
    fn a_destination_that_can_be_reached_from_somewhere_is_told_from_one_that_cannot() {
        assert!(!none_for(at("127.0.0.1:9")));
    }
}
