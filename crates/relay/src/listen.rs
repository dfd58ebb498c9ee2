//! Binds listening sockets: one for each worker on each address, and none beside another process's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

mod holder;

/// Connections that the kernel may hold for a worker that is busy; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("cannot listen on {address}: {holder} listens there already; stop it, or choose another `bind`")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The process that holds it, as far as this one may see.
        holder: String,
    },
    /// The kernel refused.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

/// Binds `address` once for each of `count` workers. With port 0 the kernel chooses a port, the same for all.
///
/// The sockets share the port by `SO_REUSEPORT`, which would as gladly let a second process of the same user take half
/// of the traffic. So the first one is bound without it and gains it only then: where anybody listens already, that
/// fails.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let refused = |source| BindError::Refused { address, source };
    let first = socket(address).map_err(refused)?;
    first.bind(&address.into()).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, holder: holder::describe(address) },
        _ => refused(error),
    })?;
    first.set_reuse_port(true).map_err(refused)?;
    let bound = first.local_addr().map_err(refused)?;

    let mut sockets = vec![first];
    for _ in 1..count {
        let next = socket(address).map_err(refused)?;
        next.set_reuse_port(true).map_err(refused)?;
        next.bind(&bound).map_err(refused)?;
        sockets.push(next);
    }
    sockets
        .into_iter()
        .map(|socket| {
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from(socket))
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(|source| match source.kind() {
            // Two processes that start together can both bind; only one of them gets to listen.
            io::ErrorKind::AddrInUse => BindError::InUse { address, holder: holder::describe(address) },
            _ => refused(source),
        })
}

/// A socket with every option that accepted sockets inherit, so that none is set for each connection.
fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // TIME_WAIT of the process before must not keep this one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    tune(&SockRef::from(&socket))?;
    Ok(socket)
}

/// What every relayed socket has, whichever side it is on.
///
/// A network load balancer forgets a flow after 350 s without a packet; keepalive every two minutes at most keeps
/// it, and finds peers that vanished.
pub(crate) fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(110)).with_interval(Duration::from_secs(15)).with_retries(5);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_for_all_workers() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listeners = bind(any.parse().unwrap(), 3).unwrap();
            let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
            assert_eq!(ports.len(), 3);
            assert!(ports.iter().all(|&port| port == ports[0] && port != 0));
        }
    }

    #[test]
    fn a_second_instance_is_told_who_is_there() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listeners = bind(any.parse().unwrap(), 2).unwrap();
            let address = listeners[0].local_addr().unwrap();
            let error = bind(address, 2).unwrap_err();
            let BindError::InUse { holder, .. } = &error else { panic!("{error:?}") };
            assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
            drop(listeners);
            assert!(bind(address, 2).is_ok(), "free again once it is closed");
        }
    }

    #[test]
    fn a_wildcard_counts_as_taken() {
        let listeners = bind("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(matches!(bind(SocketAddr::from(([127, 0, 0, 1], port)), 1), Err(BindError::InUse { .. })));
    }
}
