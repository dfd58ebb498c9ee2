//! This process's own sockets, which it never dials: a name that resolves to the gate must not make it talk to itself
//! or read its admin endpoint to a client.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long an address stays this host's, or another's, without the kernel being asked again.
const FRESH: Duration = Duration::from_secs(1);
/// Addresses of which each thread remembers that.
const REMEMBERED: usize = 1024;

thread_local! {
    // Where a listener has the port that is dialled, every address of every connection is asked about.
    static LOCAL: RefCell<HashMap<IpAddr, (Instant, bool)>> = RefCell::default();
}

/// The addresses that this process listens on.
#[derive(Clone, Debug, Default)]
pub struct OwnSockets(Vec<SocketAddr>);

impl OwnSockets {
    /// From bound addresses; wildcards stand for every address of this host.
    pub fn new(bound: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(bound.into_iter().collect())
    }

    /// Whether dialling `address` would reach this process.
    pub fn includes(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.0.iter().filter(|own| own.port() == address.port()).any(|own| {
            let own = own.ip().to_canonical();
            own == ip || (own.is_unspecified() && remembered(ip, Instant::now(), is_local))
        })
    }
}

/// What `ask` says of `ip`, or said within the last second.
fn remembered(ip: IpAddr, now: Instant, ask: impl FnOnce(IpAddr) -> bool) -> bool {
    LOCAL.with_borrow_mut(|known| match known.get(&ip) {
        Some(&(since, local)) if now.duration_since(since) < FRESH => local,
        _ => {
            let local = ask(ip);
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(ip, (now, local));
            local
        }
    })
}

/// Whether `ip` is an address of this host: the kernel then routes to it from itself. Nothing is sent. An address
/// that cannot be asked about counts as local, since it is to be kept from.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    match source {
        Ok(source) => ip.is_loopback() || source.ip() == ip,
        // Nothing can be dialled there either.
        Err(error) => error.kind() != std::io::ErrorKind::NetworkUnreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_every_local_address() {
        let own = OwnSockets::new([address("0.0.0.0:8443"), address("127.0.0.1:9180")]);
        assert!(own.includes(address("127.0.0.1:8443")));
        assert!(own.includes(address("127.9.9.9:8443")));
        assert!(own.includes(address("[::ffff:127.0.0.1]:8443")));
        assert!(own.includes(address("127.0.0.1:9180")));
        assert!(!own.includes(address("127.0.0.1:443")));
        assert!(!own.includes(address("127.0.0.2:9180")));
    }

    #[test]
    fn the_kernel_is_asked_once_a_second() {
        let (ip, now) = ("192.0.2.77".parse().unwrap(), Instant::now());
        assert!(remembered(ip, now, |_| true));
        assert!(remembered(ip, now + FRESH / 2, |_| unreachable!()));
        assert!(!remembered(ip, now + FRESH, |_| false), "an address may move to another host");
        for host in 0..2 * u32::try_from(REMEMBERED).unwrap() {
            remembered(Ipv4Addr::from(host).into(), now, |_| false);
        }
        assert!(LOCAL.with_borrow(HashMap::len) <= REMEMBERED);
    }

    #[test]
    fn another_hosts_address_is_not_ours() {
        let own = OwnSockets::new([address("0.0.0.0:443")]);
        assert!(!own.includes(address("198.18.0.1:444")));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
