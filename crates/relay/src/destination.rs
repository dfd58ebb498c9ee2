//! Where a client wanted to go, before the kernel brought it here.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::own::OwnSockets;

/// The destination that the client dialled, from the kernel's NAT table; `None` if nothing redirected the connection:
/// there is no entry, or the entry says the address that the client reached anyway. `listener` is where the listening
/// socket was bound.
pub(crate) fn original(stream: &TcpStream, client: IpAddr, listener: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(stream);
    let answer = if client.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let original = match answer {
        Ok(address) => address.as_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // The kernel has no NAT at all: nothing can have redirected it.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOPROTOOPT.raw_os_error()) => None,
        Err(error) => return Err(error),
    };
    let Some(original) = original.map(plain) else { return Ok(None) };
    // Nearly every redirect changes the port: then there is no need to ask for the address that was reached.
    let may_be_direct = [original.port(), 0].contains(&listener.port());
    let direct = may_be_direct && plain(stream.local_addr()?) == original;
    Ok((!direct).then_some(original))
}

/// The destination that the client dialled, which a connection by TPROXY has kept as its own address; `None` if that is
/// one of this process's sockets, so that nothing needed to bring it here.
pub(crate) fn kept(stream: &TcpStream, own: &OwnSockets) -> io::Result<Option<SocketAddr>> {
    let dialled = plain(stream.local_addr()?);
    Ok((!own.includes(dialled)).then_some(dialled))
}

/// A v4-mapped address as the IPv4 address that it is.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
