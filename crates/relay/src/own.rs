//! This process's own sockets, which it never dials: a name that resolves to the gate must not make it talk to itself
//! or read its admin endpoint to a client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

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
            own == ip || (own.is_unspecified() && is_local(ip))
        })
    }
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
    fn another_hosts_address_is_not_ours() {
        let own = OwnSockets::new([address("0.0.0.0:443")]);
        assert!(!own.includes(address("198.18.0.1:444")));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
