//! Takes connections off one listening socket.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;

use crate::connection::serve;
use crate::destination::plain;
use crate::outcome::{ClosedBy, Outcome};
use crate::settings::Listener;
use crate::shared::Phase;
use crate::stop::over;
use crate::transfer::reset_on_close;
use crate::worker::Worker;

/// How long accepting rests when the system has no descriptor or memory left for a connection.
const PAUSE: Duration = Duration::from_millis(100);
/// How long what the kernel has queued is still taken: under a flood the queue never runs dry.
const QUEUED: Duration = Duration::from_millis(500);
/// How often the operator is told of it.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A way in.
pub(crate) struct Way {
    /// Its place among the settings' listeners.
    pub(crate) index: u16,
    pub(crate) listener: Rc<Listener>,
}

/// What an error of `accept` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// One connection was lost before it was taken; the next may be fine.
    Connection,
    /// Something ran out. Trying again at once would spin.
    Exhausted,
}

/// Accepts until the engine says to stop, then takes what the kernel has queued already, so that nothing which reached
/// this process is refused, and closes the socket.
pub(crate) async fn accept(worker: Rc<Worker>, way: Way, socket: TcpListener, mut phase: watch::Receiver<Phase>) {
    let mut warned = None;
    {
        // One for all connections: waiting for a change is not for free.
        let mut stopping = pin!(phase.wait_for(|phase| *phase != Phase::Serve));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut stopping => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => take(&worker, &way, stream, client),
                Err(error) => rest(&error, &mut warned).await,
            }
        }
    }
    let enough = Instant::now() + QUEUED;
    while Instant::now() < enough && *phase.borrow() != Phase::Abort {
        // Ready at once if anything waits: the kernel's queue is asked, and its "would block" ends this.
        let queued = tokio::time::timeout(Duration::from_millis(1), socket.accept()).await;
        match queued {
            Ok(Ok((stream, client))) => take(&worker, &way, stream, client),
            Ok(Err(error)) if classify(&error) == Failure::Connection => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn take(worker: &Rc<Worker>, way: &Way, stream: TcpStream, client: std::net::SocketAddr) {
    let client = plain(client);
    let outcome = Outcome::new(worker.number(), way.index, client);
    let caps = &worker.shared.caps;
    // Behind a balancer the client is known only once the balancer has told.
    let told = way.listener.proxy_protocol.is_some();
    match if told { caps.admit_somebody() } else { caps.admit(client.ip()) } {
        Ok((place, undecided)) => {
            let entry = worker.enrol(outcome, Some(place));
            drop(spawn_local(serve(entry, Rc::clone(&way.listener), stream, undecided)));
        }
        Err(full) => {
            worker.enrol(outcome, None).refuse(&over(full), ClosedBy::Gate);
            reset_on_close(&stream);
        }
    }
}

async fn rest(error: &io::Error, warned: &mut Option<Instant>) {
    if classify(error) == Failure::Connection {
        return;
    }
    if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
        *warned = Some(Instant::now());
        tracing::warn!(%error, "accepting pauses; raise LimitNOFILE or lower limits.connections");
    }
    tokio::time::sleep(PAUSE).await;
}

/// accept(2) passes on errors of the connection that it would have returned; all others are this host's.
fn classify(error: &io::Error) -> Failure {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(
            Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::INTR
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::PERM,
        ) => Failure::Connection,
        _ => Failure::Exhausted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ran_out_pauses() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert_eq!(classify(&io::Error::from(errno)), Failure::Exhausted);
        }
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::HOSTUNREACH, Errno::PERM] {
            assert_eq!(classify(&io::Error::from(errno)), Failure::Connection);
        }
    }
}
