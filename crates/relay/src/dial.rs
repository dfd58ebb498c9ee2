//! Connects to the best of a name's addresses (RFC 8305): families in turn, an attempt every 250 ms until one answers,
//! and addresses that failed lately last.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::listen;
use crate::reason::Reason;
use crate::sources::{self, Turns};

/// How long one attempt has before the next address is tried beside it (RFC 8305 §5, "Connection Attempt Delay").
pub(crate) const STAGGER: Duration = Duration::from_millis(250);
/// How long an address that failed is tried last.
const MEMORY: Duration = Duration::from_secs(30);
/// Failed addresses that a worker remembers.
const REMEMBERED: usize = 1024;

/// A dial that reached nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreached {
    /// Why.
    pub(crate) reason: Reason,
    /// A few words more.
    pub(crate) detail: &'static str,
    /// The address that was tried last.
    pub(crate) last: Option<SocketAddr>,
}

/// A worker's memory of addresses that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Failures(RefCell<HashMap<SocketAddr, Instant>>);

impl Failures {
    fn note(&self, address: SocketAddr, now: Instant) {
        let mut failures = self.0.borrow_mut();
        if failures.len() >= REMEMBERED {
            failures.retain(|_, at| now.duration_since(*at) < MEMORY);
        }
        if failures.len() < REMEMBERED {
            failures.insert(address, now);
        }
    }

    fn recent(&self, address: SocketAddr, now: Instant) -> bool {
        let failures = self.0.borrow();
        !failures.is_empty() && failures.get(&address).is_some_and(|at| now.duration_since(*at) < MEMORY)
    }

    fn clear(&self, address: SocketAddr) {
        let mut failures = self.0.borrow_mut();
        if !failures.is_empty() {
            failures.remove(&address);
        }
    }
}

/// Why one attempt failed, in the words of the connection's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failed(Reason, &'static str);

const NO_PORT: Failed = Failed(Reason::PortsExhausted, "no source port left");
const SOURCE_GONE: Failed = Failed(Reason::ConnectFailed, "source address is not this host's any more");
const NO_SOURCE: Failed = Failed(Reason::ConnectFailed, "this host has no address to reach it from");

/// Connects to one of `addresses`, which the guard has passed and which are in the order of preference within each
/// family, from a source in turn. Bound it in time from outside: dropping the future closes every attempt.
pub(crate) async fn dial(
    addresses: Vec<SocketAddr>,
    failures: &Failures,
    turns: &Turns,
) -> Result<(TcpStream, SocketAddr), Unreached> {
    let now = Instant::now();
    let order = in_order(addresses, |address| failures.recent(address, now));
    let mut last = Unreached { reason: Reason::ConnectFailed, detail: "no address to dial", last: None };
    let mut waiting = order.into_iter();
    let mut attempts = Vec::new();
    let mut slow = Vec::new();
    loop {
        let newest = waiting.next();
        let begun = newest.map(|address| begin(address, turns).map_err(|failed| (failed, address)));
        let reached = match begun {
            Some(Ok(attempt)) => {
                attempts.push(attempt);
                first_of(&mut attempts, (waiting.len() > 0).then_some(STAGGER)).await
            }
            Some(Err(failed)) => Some(Err(failed)),
            None if attempts.is_empty() => return Err(last),
            None => first_of(&mut attempts, None).await,
        };
        match reached {
            Some(Ok(Attempt { stream, address })) => {
                // The next connection should not wait for them again.
                slow.iter().filter(|&&other| other != address).for_each(|&other| failures.note(other, now));
                failures.clear(address);
                return Ok((stream, address));
            }
            Some(Err((Failed(reason, detail), address))) => {
                if matches!(reason, Reason::ConnectFailed | Reason::ConnectTimeout) {
                    failures.note(address, now);
                }
                last = Unreached { reason, detail, last: Some(address) };
            }
            None => slow.extend(newest),
        }
    }
}

/// A connection under way.
#[derive(Debug)]
struct Attempt {
    stream: TcpStream,
    address: SocketAddr,
}

/// Sends the SYN, from the source whose turn it is or from the next one that has a port left towards `address`.
fn begin(address: SocketAddr, turns: &Turns) -> Result<Attempt, Failed> {
    let mut failed = NO_PORT;
    for source in turns.towards(address) {
        match begin_from(source, address, turns) {
            Err(again @ (NO_PORT | SOURCE_GONE)) => {
                failed = again;
                turns.exhausted(source, address);
            }
            result => return result,
        }
    }
    Err(failed)
}

fn begin_from(source: usize, address: SocketAddr, turns: &Turns) -> Result<Attempt, Failed> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        listen::tune(&SockRef::from(&socket))?;
        // The acknowledgement of the SYN then travels with the hello, which is a packet less. Its absence costs no more than
        // that. Not on clients' sockets: one that waits for an acknowledgement within its hello would wait long.
        let _ = socket.set_tcp_quickack(false);
        Ok(socket)
    };
    let socket = open().map_err(|error| classify(&error))?;
    turns.bind(source, &socket).map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => SOURCE_GONE,
        _ => classify(&error),
    })?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(match classify(&error) {
            NO_PORT if sources::none_for(address) => NO_SOURCE,
            failed => failed,
        }),
        _ => {
            let stream = TcpStream::from_std(socket.into()).map_err(|error| classify(&error))?;
            Ok(Attempt { stream, address })
        }
    }
}

/// The first attempt that comes to an end, which is taken out; `None` if none does within `patience`.
async fn first_of(
    attempts: &mut Vec<Attempt>,
    patience: Option<Duration>,
) -> Option<Result<Attempt, (Failed, SocketAddr)>> {
    let first = poll_fn(|cx| {
        let done = attempts.iter().position(|attempt| attempt.stream.poll_write_ready(cx).is_ready());
        done.map_or(Poll::Pending, |index| Poll::Ready(attempts.swap_remove(index)))
    });
    let attempt = match patience {
        Some(patience) => tokio::time::timeout(patience, first).await.ok()?,
        None => first.await,
    };
    Some(match failure(&attempt.stream) {
        Some(error) => Err((classify(&error), attempt.address)),
        None => Ok(attempt),
    })
}

/// Why an attempt that has come to an end has failed. The kernel marks one that has in the event that ended it, so that
/// one which has not need not be asked.
fn failure(stream: &TcpStream) -> Option<io::Error> {
    match stream.ready(Interest::WRITABLE).now_or_never() {
        Some(Ok(ready)) if !ready.is_write_closed() => None,
        Some(Err(error)) => Some(error),
        _ => stream.take_error().unwrap_or_else(Some),
    }
}

/// Families in turn, the first address's family first (RFC 8305 §4), and those that failed lately after all others.
fn in_order(addresses: Vec<SocketAddr>, failed: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let Some(&first) = addresses.first() else { return addresses };
    if !addresses.iter().any(|&address| failed(address) || address.is_ipv4() != first.is_ipv4()) {
        return addresses;
    }
    let (bad, good): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|&address| failed(address));
    let mut order = Vec::with_capacity(good.len() + bad.len());
    for group in [good, bad] {
        let Some(first) = group.first().copied() else { continue };
        let (mut one, mut other): (Vec<_>, Vec<_>) =
            group.into_iter().rev().partition(|address| address.is_ipv4() == first.is_ipv4());
        while let Some(address) = one.pop() {
            order.push(address);
            order.extend(other.pop());
        }
        order.extend(other.into_iter().rev());
    }
    order
}

/// What a failed attempt means for the connection.
fn classify(error: &io::Error) -> Failed {
    let (reason, detail) = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => (Reason::DescriptorsExhausted, "no descriptor left"),
        // The second is what binding says where it has to choose the port.
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => return NO_PORT,
        Some(Errno::TIMEDOUT) => (Reason::ConnectTimeout, "no answer"),
        Some(Errno::CONNREFUSED) => (Reason::ConnectFailed, "connection refused"),
        Some(Errno::NETUNREACH) => (Reason::ConnectFailed, "network unreachable"),
        Some(Errno::HOSTUNREACH) => (Reason::ConnectFailed, "host unreachable"),
        Some(Errno::ACCESS | Errno::PERM) => (Reason::ConnectFailed, "not permitted by this host's firewall"),
        Some(Errno::NOBUFS | Errno::NOMEM) => (Reason::ConnectFailed, "no kernel memory left"),
        _ => (Reason::ConnectFailed, "connection failed"),
    };
    Failed(reason, detail)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The kernel's choice of source.
    fn kernels() -> Turns {
        Turns::new(Arc::default())
    }

    #[test]
    fn families_take_turns_and_failures_come_last() {
        let [a, b, c] = [1, 2, 3].map(|host| SocketAddr::from(([10, 0, 0, host], 443)));
        let v6: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(in_order(vec![a, b, c, v6], |_| false), [a, v6, b, c]);
        assert_eq!(in_order(vec![v6, a, b, c], |_| false), [v6, a, b, c]);
        assert_eq!(in_order(vec![a, b, c, v6], |address| address == a || address == v6), [b, c, a, v6]);
        assert_eq!(in_order(vec![a, b], |_| true), [a, b]);
        assert_eq!(in_order(Vec::new(), |_| true), []);
    }

    #[tokio::test]
    async fn a_refused_address_gives_way_to_the_next_and_is_remembered() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let bad = SocketAddr::from(([127, 0, 0, 2], good.port()));
        let failures = Failures::default();
        let (_stream, reached) = dial(vec![bad, good], &failures, &kernels()).await.unwrap();
        assert_eq!(reached, good);
        assert!(failures.recent(bad, Instant::now()));
        assert!(!failures.recent(good, Instant::now()));
        assert!(!failures.recent(bad, Instant::now() + MEMORY));
    }

    #[tokio::test]
    async fn when_all_refuse_the_last_reason_stands() {
        let bad = SocketAddr::from(([127, 0, 0, 2], 1));
        let error = dial(vec![bad], &Failures::default(), &kernels()).await.unwrap_err();
        assert_eq!(error, Unreached { reason: Reason::ConnectFailed, detail: "connection refused", last: Some(bad) });
        let none = dial(Vec::new(), &Failures::default(), &kernels()).await.unwrap_err();
        assert_eq!((none.reason, none.last), (Reason::ConnectFailed, None));
    }

    #[test]
    fn the_memory_of_failures_is_bounded() {
        let failures = Failures::default();
        let now = Instant::now();
        for port in 0..u16::MAX {
            failures.note(SocketAddr::from(([10, 0, 0, 1], port)), now);
        }
        assert_eq!(failures.0.borrow().len(), REMEMBERED);
        failures.note(SocketAddr::from(([10, 0, 0, 2], 1)), now + MEMORY);
        assert_eq!(failures.0.borrow().len(), 1);
    }

    #[test]
    fn what_is_exhausted_has_its_own_reason() {
        for (errno, reason) in [
            (Errno::MFILE, Reason::DescriptorsExhausted),
            (Errno::ADDRNOTAVAIL, Reason::PortsExhausted),
            (Errno::TIMEDOUT, Reason::ConnectTimeout),
            (Errno::CONNREFUSED, Reason::ConnectFailed),
            (Errno::PERM, Reason::ConnectFailed),
        ] {
            assert_eq!(classify(&io::Error::from(errno)).0, reason);
        }
    }
}
