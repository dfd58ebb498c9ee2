//! Listening sockets: those that are handed over, and others bound here, one for each worker on each address and none beside
//! another process's.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::handed::{Handed, HandedError, Row};
use crate::privilege;
use crate::settings::{Destination, Listener};

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
    #[error("cannot listen on {address}{}", advice(source))]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// A socket for TPROXY takes a capability.
    #[error(
        "cannot listen on {address} with `destination: tproxy`, which takes CAP_NET_ADMIN; let systemd hand the socket over \
         (a socket unit with Transparent=yes), or start sekisho with that capability, which it gives up once it listens"
    )]
    Transparent {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// What a supervisor handed over is not what the listeners want.
    #[error(transparent)]
    Handed(#[from] HandedError),
}

/// What to do about the commonest refusal.
fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => ", which needs CAP_NET_BIND_SERVICE (or choose a port from 1024 on)",
        io::ErrorKind::AddrNotAvailable => ", which is no address of this host",
        _ => "",
    }
}

/// The sockets of every listener: what was handed over by its name, else bound here. All of them, or none.
pub(crate) fn open(listeners: &[Listener], workers: usize, mut handed: Handed) -> Result<Vec<Row>, BindError> {
    let rows = listeners.iter().map(|listener| {
        if let Some(row) = handed.take(listener, workers)? {
            return Ok(row);
        }
        let form = Form { transparent: listener.destination == Destination::Tproxy, dual_stack: listener.dual_stack };
        let sockets = bind_as(listener.bind, workers, form)?;
        Ok(sockets.into_iter().map(|socket| vec![socket]).collect())
    });
    let rows = rows.collect::<Result<_, BindError>>()?;
    handed.all_taken(listeners)?;
    Ok(rows)
}

/// Binds `address` once for each of `count` workers. With port 0 the kernel chooses a port, the same for all.
pub fn bind(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    bind_as(address, count, Form::default())
}

/// What a socket is besides one at an address.
#[derive(Clone, Copy, Debug, Default)]
struct Form {
    /// TPROXY may bring connections to any address to it.
    transparent: bool,
    /// At the IPv6 wildcard it takes IPv4 as well.
    dual_stack: bool,
}

fn bind_as(address: SocketAddr, count: usize, form: Form) -> Result<Vec<TcpListener>, BindError> {
    if form.transparent {
        privilege::raise();
    }
    listen(address, count, form).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied if form.transparent => BindError::Transparent { address, source },
        io::ErrorKind::AddrInUse => BindError::InUse { address, holder: holder::describe(address) },
        _ => BindError::Refused { address, source },
    })
}

/// The sockets share the port by `SO_REUSEPORT`, which would as gladly let a second process of the same user take half
/// of the traffic. So the first one listens without it and gains it only then: where anybody listens already, that
/// fails, and of two processes that start together only one gets so far.
fn listen(address: SocketAddr, count: usize, form: Form) -> io::Result<Vec<TcpListener>> {
    let first = socket(address, form)?;
    first.bind(&address.into())?;
    first.listen(BACKLOG)?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?;

    let mut sockets = vec![first.into()];
    for _ in 1..count {
        let next = socket(address, form)?;
        next.set_reuse_port(true)?;
        next.bind(&bound)?;
        next.listen(BACKLOG)?;
        sockets.push(next.into());
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, form: Form) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!form.dual_stack)?;
    }
    // TIME_WAIT of the process before must not keep this one from starting.
    socket.set_reuse_address(true)?;
    if form.transparent && address.is_ipv4() {
        socket.set_ip_transparent_v4(true)?;
    } else if form.transparent {
        socket.set_ip_transparent_v6(true)?;
    }
    prepare(&SockRef::from(&socket))?;
    Ok(socket)
}

/// Gives a socket every option that accepted sockets inherit, so that none is set for each connection.
pub(crate) fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    tune(socket)?;
    keep_alive(socket)
}

/// What a relayed socket has from its first byte on, whichever side it is on: small messages go out at once.
pub(crate) fn tune(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)
}

/// A network load balancer forgets a flow after 350 s without a packet; keepalive every two minutes at most keeps
/// it, and finds peers that vanished.
pub(crate) fn keep_alive(socket: &SockRef<'_>) -> io::Result<()> {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(110)).with_interval(Duration::from_secs(15)).with_retries(5);
    socket.set_tcp_keepalive(&keepalive)
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
    fn every_worker_gets_its_share() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listeners = bind(any.parse().unwrap(), 3).unwrap();
            let address = listeners[0].local_addr().unwrap();
            let clients: Vec<_> = (0..300).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            let shares: Vec<_> = listeners.iter().map(|l| std::iter::from_fn(|| l.accept().ok()).count()).collect();
            assert_eq!(shares.iter().sum::<usize>(), clients.len());
            assert!(shares.iter().all(|&share| share > 50), "{shares:?}");
        }
    }

    #[test]
    fn of_two_that_start_together_only_one_gets_to_listen() {
        for _ in 0..100 {
            // A port that is free just now.
            let address = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap()[0].local_addr().unwrap();
            let barrier = std::sync::Barrier::new(2);
            let start = || {
                barrier.wait();
                listen(address, 2, Form::default())
            };
            let (one, other) = std::thread::scope(|scope| {
                let other = scope.spawn(start);
                (start(), other.join().unwrap())
            });
            assert!(!(one.is_ok() && other.is_ok()), "both listen on {address}");
        }
    }

    #[test]
    fn a_wildcard_counts_as_taken() {
        let listeners = bind("0.0.0.0:0".parse().unwrap(), 1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(matches!(bind(SocketAddr::from(([127, 0, 0, 1], port)), 1), Err(BindError::InUse { .. })));
    }
}
