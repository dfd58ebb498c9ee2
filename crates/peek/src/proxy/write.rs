//! The header that is sent, to a server that wants one: version 2, whom the connection is made for, and nothing more.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::v2::SIGNATURE;

/// Version 2, command `PROXY` (§2.2).
const PROXY: u8 = 0x21;
/// TCP over IPv4, then 12 bytes of addresses; TCP over IPv6, then 36.
const TCP4: [u8; 3] = [0x11, 0, 12];
const TCP6: [u8; 3] = [0x21, 0, 36];

/// A version 2 header that speaks for `source`, which wanted to go to `destination`.
///
/// Both addresses of a header are of one family. Where these are not, the IPv4 one is written as the IPv6 address that
/// stands for it (v4-mapped, RFC 4291 §2.5.5.2).
pub fn write(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut header = Vec::with_capacity(SIGNATURE.len() + 4 + 36);
    header.extend_from_slice(SIGNATURE);
    header.push(PROXY);
    if let (IpAddr::V4(from), IpAddr::V4(to)) = (source.ip(), destination.ip()) {
        header.extend_from_slice(&TCP4);
        header.extend_from_slice(&from.octets());
        header.extend_from_slice(&to.octets());
    } else {
        header.extend_from_slice(&TCP6);
        header.extend_from_slice(&in_v6(source.ip()).octets());
        header.extend_from_slice(&in_v6(destination.ip()).octets());
    }
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

fn in_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}
