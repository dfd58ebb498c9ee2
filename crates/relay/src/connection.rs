//! One connection's way through the gate, top to bottom.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use sekisho_peek::tls::Refusal;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::decide::decide;
use crate::destination;
use crate::dial::dial;
use crate::limits::Undecided;
use crate::live::Live;
use crate::lookup::lookup;
use crate::reason::{Alert, Answer, Reason};
use crate::settings::Destination;
use crate::sniff::{Sniffed, Unread, sniff};
use crate::stop::Stop;
use crate::transfer::{Step, Transfer, reset_on_close, say_goodbye, unless_ordered};
use crate::worker::{Entry, Worker};

/// How long a refused client may take to read its alert.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection's task. Each stage takes the place of the one before, and what only the opening needs is boxed, so that
/// the long part, a connection that is quiet, is small.
pub(crate) enum Connection {
    /// From its first byte to a connected upstream, or to its refusal.
    Opening(Pin<Box<dyn Future<Output = Option<Relaying>>>>),
    /// Bytes go both ways.
    Relaying(Relaying),
    /// The same, from when it first had to wait for a sink or one side finished.
    Watched(Pin<Box<dyn Future<Output = ()>>>),
    /// Its record is made.
    Ended,
}

/// A relayed connection.
pub(crate) struct Relaying {
    entry: Entry,
    transfer: Transfer,
}

/// Serves one accepted connection, from its first byte to its record.
pub(crate) fn serve(entry: Entry, client: TcpStream, undecided: Undecided) -> Connection {
    Connection::Opening(Box::pin(begin(entry, client, undecided)))
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            *this = match this {
                Self::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Some(relaying) => Self::Relaying(relaying),
                    None => Self::Ended,
                },
                Self::Relaying(Relaying { entry, transfer }) => {
                    match ready!(transfer.poll(cx, entry.live(), entry.tools())) {
                        Step::Ended(by) => {
                            entry.ended(by);
                            Self::Ended
                        }
                        Step::Deaf => match mem::replace(this, Self::Ended) {
                            Self::Relaying(relaying) => Self::Watched(Box::pin(relaying.watched())),
                            other => other,
                        },
                    }
                }
                Self::Watched(watched) => {
                    ready!(watched.as_mut().poll(cx));
                    Self::Ended
                }
                Self::Ended => return Poll::Ready(()),
            }
        }
    }
}

impl Relaying {
    async fn watched(self) {
        let Self { entry, transfer } = self;
        let by = transfer.watched(entry.live(), entry.tools()).await;
        entry.ended(by);
    }
}

/// Opens a connection, or refuses it; then its record is made and its client told.
async fn begin(entry: Entry, client: TcpStream, undecided: Undecided) -> Option<Relaying> {
    let live = entry.live();
    match unless_ordered(live, open(entry.worker(), live, &client, undecided)).await {
        Ok(Ok((upstream, first))) => {
            live.relaying();
            let transfer = Transfer::new(client, upstream, first, live, entry.tools());
            return Some(Relaying { entry, transfer });
        }
        Ok(Err(stop)) => {
            entry.refuse(&stop, stop.closed_by());
            match stop.answer {
                Answer::Alert(alert) => say_goodbye(client, &alert.record(), GOODBYE, entry.tools()).await,
                Answer::Reset => reset_on_close(&client),
                Answer::Nothing => {}
            }
        }
        Err(order) => {
            reset_on_close(&client);
            entry.cut(order);
        }
    }
    None
}

/// From the first byte to a connected upstream. Nothing is dialled before the verdict.
/// Answers the upstream, and what goes to it first.
async fn open(
    worker: &Worker,
    live: &Live,
    client: &TcpStream,
    undecided: Undecided,
) -> Result<(TcpStream, Vec<u8>), Stop> {
    let port = arrive(worker, live, client)?;
    let Sniffed { hello, bytes } = hear(worker, live, client).await?;
    let permit = decide(worker, live, &hello.name, port)?;
    drop(undecided);
    let deadline = Instant::now() + worker.shared.settings.timeouts.connect;
    let addresses = lookup(worker, live, &hello.name, port, &permit, deadline).await?;
    let upstream = reach(worker, live, addresses, deadline).await?;
    Ok((upstream, bytes))
}

/// Where the client wanted to go: the port that will be dialled. Its address is only ever recorded.
fn arrive(worker: &Worker, live: &Live, client: &TcpStream) -> Result<u16, Stop> {
    let mut outcome = live.outcome.borrow_mut();
    let direct = Stop::new(Reason::NotRedirected, "the client dialled the gate itself");
    let listener = worker.listener(outcome.listener).ok_or(direct)?;
    let port = match listener.destination {
        Destination::None { port } => port,
        Destination::Redirect => {
            let original = destination::original(client, outcome.client.ip(), listener.bind).ok().flatten();
            outcome.original_dst = original.map(Into::into);
            original.ok_or(direct)?.port()
        }
    };
    outcome.port = Some(port);
    Ok(port)
}

/// Waits for the whole hello, until its deadline.
async fn hear(worker: &Worker, live: &Live, client: &TcpStream) -> Result<Sniffed, Stop> {
    let begun = Instant::now();
    let deadline = begun + worker.shared.settings.timeouts.hello;
    let heard = timeout_at(deadline.into(), sniff(client, &worker.hello_limits, &worker.tools)).await;
    let sniffed = match heard {
        Ok(Ok(sniffed)) => sniffed,
        Ok(Err(Unread::Refused(refusal))) => return Err(refused_hello(refusal)),
        Ok(Err(Unread::Closed)) => return Err(Stop::new(Reason::ClientClosed, "closed before its hello was whole")),
        Ok(Err(Unread::Broken)) => return Err(Stop::new(Reason::ClientClosed, "reset before its hello was whole")),
        Err(_) => return Err(Stop::new(Reason::HelloTimeout, "no whole hello by the deadline")),
    };
    let mut outcome = live.outcome.borrow_mut();
    let hello = &sniffed.hello;
    outcome.hello = Some(begun.elapsed().into());
    outcome.host = Some(hello.name.clone());
    outcome.offered = Some(worker.offers.share(hello));
    Ok(sniffed)
}

/// Dials, until the deadline that resolving began.
async fn reach(
    worker: &Worker,
    live: &Live,
    addresses: Vec<std::net::SocketAddr>,
    deadline: Instant,
) -> Result<TcpStream, Stop> {
    let begun = Instant::now();
    let first = addresses.first().copied();
    let dialled = timeout_at(deadline.into(), dial(addresses, &worker.failures, &worker.turns)).await;
    let mut outcome = live.outcome.borrow_mut();
    outcome.connect = Some(begun.elapsed().into());
    match dialled {
        Ok(Ok((upstream, address))) => {
            outcome.upstream = Some(address.into());
            Ok(upstream)
        }
        Ok(Err(unreached)) => {
            outcome.upstream = unreached.last.map(Into::into);
            Err(Stop::new(unreached.reason, unreached.detail))
        }
        Err(_) => {
            outcome.upstream = first.map(Into::into);
            Err(Stop::new(Reason::ConnectTimeout, "no address answered in time"))
        }
    }
}

/// A hello that peek refused, in this crate's words.
fn refused_hello(refusal: Refusal) -> Stop {
    let reason = match refusal {
        Refusal::NoSni => Reason::NoSni,
        Refusal::DuplicateExtension(..) => Reason::DuplicateExtension,
        Refusal::MultipleNames => Reason::MultipleNames,
        Refusal::Malformed(..) => Reason::Malformed,
        Refusal::InvalidName(..) => Reason::InvalidName,
        Refusal::HelloTooLarge(..) => Reason::HelloTooLarge,
        Refusal::ObsoleteProtocol(..) => Reason::ObsoleteProtocol,
        Refusal::NotTls => Reason::NotTls,
    };
    let answer = refusal.alert().map_or(Answer::Reset, |alert| Answer::Alert(Alert(alert)));
    Stop { reason, detail: Some(refusal.detail()), answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tokio puts round a task's future.
    const ROUND: usize = 104;

    /// Tokio aligns tasks to 128 bytes, so what does not fit into 256 takes 384.
    #[test]
    fn a_relaying_task_is_small() {
        // Without optimization mio keeps a number more for each socket.
        let more = if cfg!(debug_assertions) { 2 * 8 } else { 0 };
        assert!(size_of::<Connection>() + ROUND <= 256 + more, "{}", size_of::<Connection>());
    }
}
