//! One connection's way through the gate, top to bottom.

use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use crate::announce::announce;
use crate::arrive::{Arrived, arrive};
use crate::ask::{Asked, Course, ask, begin};
use crate::decide::decide;
use crate::dial::dial;
use crate::exchange::exchange;
use crate::http::{self, Manner};
use crate::limits::Undecided;
use crate::live::Live;
use crate::lookup::lookup;
use crate::outcome::ClosedBy;
use crate::reader::{Awaited, Reader};
use crate::reason::{Answer, Reason};
use crate::second_hello::{Settled, Unsettled, settle};
use crate::settings::{Listener, Protocol};
use crate::stop::{Probe, Stop, over};
use crate::transfer::{Step, Transfer, hear_out, reset_on_close, say_goodbye, unless_ordered, unless_ordered_while};
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
pub(crate) fn serve(entry: Entry, listener: Rc<Listener>, client: TcpStream, undecided: Undecided) -> Connection {
    Connection::Opening(Box::pin(serve_requests(entry, listener, client, undecided)))
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

/// Opens a connection, or refuses it; then its record is made and its client told. A proxy's client whose request is
/// refused may ask again on the same connection: each request has a record of its own.
async fn serve_requests(
    mut entry: Entry,
    listener: Rc<Listener>,
    client: TcpStream,
    mut undecided: Undecided,
) -> Option<Relaying> {
    let patience = entry.worker().shared.settings.timeouts.hello;
    let mut reader = Reader::new(patience);
    let mut arrived = None;
    loop {
        let opening = open(&entry, &listener, &client, &mut reader, &mut arrived, undecided);
        let stop = match unless_ordered(entry.live(), opening).await {
            Ok(Ok((upstream, course))) => return relay(entry, &listener, client, upstream, course).await,
            Ok(Err(stop)) => stop,
            Err(order) => {
                reset_on_close(&client);
                entry.cut(order);
                return None;
            }
        };
        entry.refuse(&stop, stop.closed_by());
        match stop.answer {
            Answer::Alert(alert) => say_goodbye(&client, &alert.record(), GOODBYE, entry.tools()).await,
            Answer::Http(manner) => {
                // What it sent behind its CONNECT was meant for the tunnel, and would be read as a request.
                let manner = Manner { keep_alive: manner.keep_alive && reader.bytes().is_empty(), ..manner };
                let answer = told(&entry, &listener, &stop, manner);
                if manner.keep_alive {
                    // One that asks and asks and reads no answer would be waited for without end.
                    let said = timeout(GOODBYE, http::say(&client, &answer));
                    unless_ordered(entry.live(), said).await.ok()?.ok()?.ok()?;
                    reader.renew(patience);
                    (entry, undecided) = again(entry, &client, &mut reader).await?;
                    continue;
                }
                say_goodbye(&client, &answer, GOODBYE, entry.tools()).await;
            }
            Answer::Reset => reset_on_close(&client),
            Answer::Nothing => {}
        }
        return None;
    }
}

/// Waits for another request after one that was refused and has its record. `None` when none comes.
async fn again(refused: Entry, client: &TcpStream, reader: &mut Reader) -> Option<(Entry, Undecided)> {
    let waiting = reader.until(client, refused.tools(), &Awaited::NEXT, |_| Ok(Some(())));
    unless_ordered(refused.live(), waiting).await.ok()?.ok()?;
    let entry = refused.succeed();
    match entry.worker().shared.caps.undecided_again() {
        Ok(undecided) => Some((entry, undecided)),
        Err(full) => {
            entry.refuse(&over(full), ClosedBy::Gate);
            reset_on_close(client);
            None
        }
    }
}

/// From the first byte to an upstream that is reached, and how it goes on there. Whatever the way in, nothing is dialled
/// before the verdict, and the verdict is on what was asked for alone.
async fn open(
    entry: &Entry,
    listener: &Listener,
    client: &TcpStream,
    reader: &mut Reader,
    arrived: &mut Option<Arrived>,
    undecided: Undecided,
) -> Result<(TcpStream, Course), Stop> {
    let (worker, live) = (entry.worker(), entry.live());
    let at = if let Some(at) = *arrived {
        at
    } else {
        let sender = live.outcome.borrow().client.ip();
        let checker = listener.is_checked_from(sender).then_some(Probe::Checker);
        let at = arrive(entry, listener, client, reader).await;
        let at = at.map_err(|stop| stop.of_probe(checker, listener, reader))?;
        *arrived.insert(Arrived { probe: at.probe.or(checker), ..at })
    };
    let asked = ask(worker, live, listener, at, client, reader).await;
    let Asked { host, port, protocol, then, manner } =
        asked.map_err(|stop| stop.of_probe(at.probe, listener, reader))?;
    live.outcome.borrow_mut().port = Some(port);
    let told = |stop: Stop| if listener.protocol == Protocol::Tls { stop } else { stop.told(manner) };
    let decided = decide(worker, live, &host, port, protocol);
    let permit = decided.map_err(|stop| told(stop).of_probe(at.probe, listener, reader))?;
    drop(undecided);
    let deadline = Instant::now() + worker.shared.settings.timeouts.connect;
    let addresses = lookup(worker, live, listener, &host, port, &permit, deadline).await.map_err(told)?;
    let upstream = reach(worker, live, addresses, deadline).await.map_err(told)?;
    let course = begin(worker, live, &host, &permit, then, client, reader).await?;
    Ok((upstream, course))
}

/// Goes on with a connection that is open, as far as it is not yet one whose bytes simply go both ways.
async fn relay(
    entry: Entry,
    listener: &Listener,
    client: TcpStream,
    upstream: TcpStream,
    course: Course,
) -> Option<Relaying> {
    let (live, tools) = (entry.live(), entry.tools());
    live.relaying();
    if listener.send_proxy_protocol && !announce(&upstream, &live.outcome.borrow()) {
        reset_on_close(&client);
        entry.ended(ClosedBy::UpstreamReset);
        return None;
    }
    let Course { first, watched, rest } = course;
    if let Some(rest) = rest {
        let exchange = exchange(&client, &upstream, &first, rest, live, tools);
        let by = unless_ordered_while(live, &upstream, exchange).await.unwrap_or_else(|order| {
            reset_on_close(&client);
            reset_on_close(&upstream);
            order
        });
        let answered = by == ClosedBy::Upstream;
        entry.ended(by);
        drop(upstream);
        // Nobody has read what may stand behind the request. Where a side broke, the client is to see just that: half an answer
        // that ends in peace passes for a whole one.
        if answered {
            hear_out(&client, GOODBYE, tools).await;
        }
        return None;
    }
    let Some((watch, behind)) = watched else {
        let transfer = Transfer::new(client, upstream, first, Vec::new(), live, tools);
        return Some(Relaying { entry, transfer });
    };
    let settling = settle(&client, &upstream, &first, watch, behind, live, tools);
    let by = match unless_ordered_while(live, &upstream, settling).await {
        Ok(Ok(Settled { up, down })) => {
            let transfer = Transfer::new(client, upstream, up, down, live, tools);
            return Some(Relaying { entry, transfer });
        }
        Ok(Err(Unsettled::Changed(detail))) => {
            live.refused_late(Reason::SniChanged, detail);
            ClosedBy::Gate
        }
        Ok(Err(Unsettled::Broken(by))) | Err(by) => by,
    };
    reset_on_close(&client);
    reset_on_close(&upstream);
    entry.ended(by);
    None
}

/// The answer to an HTTP client that is not served.
fn told(entry: &Entry, listener: &Listener, stop: &Stop, manner: Manner) -> Vec<u8> {
    let methods = match &listener.protocol {
        Protocol::Tls => &[][..],
        Protocol::Http(methods) | Protocol::Connect { methods, .. } => methods,
    };
    let outcome = entry.live().outcome.borrow();
    http::refusal(stop.reason, stop.detail, outcome.host.as_ref(), methods, manner)
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
