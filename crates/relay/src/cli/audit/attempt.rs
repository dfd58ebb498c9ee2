//! One way out, tried.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use sekisho_name::Name;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{Reply, Says, answered, read};

/// How often a datagram is sent again: about as often as a kernel sends its errors.
const AGAIN: Duration = Duration::from_secs(1);

/// A way out of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// TCP to a port.
    Tcp(u16, Says),
    /// UDP to a port.
    Udp(u16, Says),
    /// An echo, by ICMP of the target's family.
    Icmp,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Found {
    /// It led to the gate, which refused.
    Gate,
    /// It was rejected: by the network, or by this host.
    Shut,
    /// Nothing came back.
    Silent,
    /// Somebody else than the gate answered, or took the connection.
    Open,
    /// It could not be tried.
    Untried,
}

/// What every attempt is made with.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// The name that no rule lists.
    pub(super) name: Name,
    /// How long to wait for the connection and its answer, or for the datagram's.
    pub(super) wait: Duration,
    /// Whether the gate refuses by this alert.
    pub(super) unrecognized_name: bool,
}

/// Tries a way to a target. Takes `manner.wait` at most, and hardly longer.
pub(super) fn attempt(way: Way, target: IpAddr, manner: &Manner) -> (Found, String) {
    let deadline = Instant::now() + manner.wait;
    let tried = match way {
        Way::Tcp(port, says) => tcp(SocketAddr::new(target, port), says, manner, deadline),
        Way::Udp(port, says) => udp(SocketAddr::new(target, port), says, deadline),
        Way::Icmp => return icmp(target, deadline),
    };
    tried.unwrap_or_else(|error| refused(&error))
}

/// What an error of the network says about a way.
fn refused(error: &io::Error) -> (Found, String) {
    let shut = |words: &str| (Found::Shut, words.to_owned());
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => (Found::Silent, "nothing came back".to_owned()),
        ErrorKind::ConnectionRefused => shut("rejected"),
        ErrorKind::PermissionDenied => shut("forbidden by the network or by this host"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => {
            shut("no way there from here")
        }
        _ => (Found::Untried, error.to_string()),
    }
}

/// What is left until a deadline, never nothing: no time at all means forever to a socket.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn tcp(to: SocketAddr, says: Says, manner: &Manner, deadline: Instant) -> io::Result<(Found, String)> {
    let mut stream = TcpStream::connect_timeout(&to, left(deadline))?;
    stream.set_write_timeout(Some(left(deadline)))?;
    // Who ends it before it is written has said so in what is read.
    let _ = stream.write_all(&says.stream(&manner.name));
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    let end = loop {
        stream.set_read_timeout(Some(left(deadline)))?;
        match stream.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => bytes.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => break Some(error.kind()),
        }
        // An alert is whole, or this is none; HTTP has more to say. A drip ends at the deadline.
        let enough = if says == Says::Http { 2048 } else { 7 };
        if bytes.len() >= enough || Instant::now() >= deadline {
            break None;
        }
    };
    Ok(match (bytes.is_empty(), end) {
        (false, _) => match read(says, &bytes, manner.unrecognized_name) {
            Reply::Refusal(words) => (Found::Gate, words),
            Reply::Other(words) => (Found::Open, words),
        },
        (true, Some(ErrorKind::ConnectionReset)) => {
            (Found::Shut, "connected, and reset without an answer, as the gate does what is not TLS".to_owned())
        }
        (true, None) => (Found::Open, "connected, and closed without a word".to_owned()),
        (true, Some(_)) => (Found::Open, "connected, and nobody said anything".to_owned()),
    })
}

fn udp(to: SocketAddr, says: Says, deadline: Instant) -> io::Result<(Found, String)> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(to)?;
    exchange(&socket, &says.datagram(), deadline, |_| true)
}

/// Sends until something comes back that counts.
fn exchange(
    socket: &UdpSocket,
    datagram: &[u8],
    deadline: Instant,
    counts: impl Fn(&[u8]) -> bool,
) -> io::Result<(Found, String)> {
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        socket.send(datagram)?;
        let until = deadline.min(Instant::now() + AGAIN);
        while Instant::now() < until {
            socket.set_read_timeout(Some(left(until)))?;
            match socket.recv(&mut buffer) {
                Ok(count) if buffer.get(..count).is_some_and(&counts) => {
                    return Ok((Found::Open, answered(buffer.get(..count).unwrap_or_default())));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// By a socket for echoes, which the kernel lets users have whose group is in `net.ipv4.ping_group_range`.
fn icmp(target: IpAddr, deadline: Instant) -> (Found, String) {
    let (domain, protocol, asks, answers) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129),
    };
    let socket = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => socket,
        Err(error) => {
            let words =
                format!("{error}: this user's group is not in net.ipv4.ping_group_range; --no-icmp leaves it out");
            return (Found::Untried, words);
        }
    };
    // The kernel writes the checksum and the identifier.
    let datagram = [&[asks, 0, 0, 0, 0, 0, 0, 1][..], &Says::Echo.datagram()].concat();
    let connected = socket.connect(&SocketAddr::new(target, 0).into());
    let tried = connected.and_then(|()| {
        exchange(&UdpSocket::from(socket), &datagram, deadline, |reply| reply.first() == Some(&answers))
    });
    tried.unwrap_or_else(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn manner() -> Manner {
        let name = Name::parse("egress-audit.invalid").unwrap();
        Manner { name, wait: Duration::from_secs(1), unrecognized_name: false }
    }

    fn loopback() -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    #[test]
    fn a_port_where_nobody_listens_is_shut_and_one_that_says_nothing_is_open() {
        let listener = TcpListener::bind((loopback(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(attempt(Way::Tcp(port, Says::Plain), loopback(), &manner()).0, Found::Open);
        drop(listener);
        assert_eq!(attempt(Way::Tcp(port, Says::Plain), loopback(), &manner()).0, Found::Shut);

        let socket = UdpSocket::bind((loopback(), 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(attempt(Way::Udp(port, Says::Plain), loopback(), &manner()).0, Found::Silent);
        drop(socket);
        assert_eq!(attempt(Way::Udp(port, Says::Plain), loopback(), &manner()).0, Found::Shut);
    }

    #[test]
    fn a_connection_that_is_reset_without_a_word_is_shut_and_one_that_is_closed_is_open() {
        let listener = TcpListener::bind((loopback(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for reset in [true, false] {
                let (mut stream, _) = listener.accept().unwrap();
                // What is unread when a socket is closed makes a reset.
                stream.read_exact(&mut vec![0; if reset { 1 } else { 22 }]).unwrap();
            }
        });
        assert_eq!(attempt(Way::Tcp(port, Says::Plain), loopback(), &manner()).0, Found::Shut);
        assert_eq!(attempt(Way::Tcp(port, Says::Plain), loopback(), &manner()).0, Found::Open);
        server.join().unwrap();
    }
}
