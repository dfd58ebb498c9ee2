//! One connection's way through the gate, top to bottom.

use std::rc::Rc;
use std::time::{Duration, Instant};

use sekisho_peek::tls::Refusal;
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::decide::decide;
use crate::destination;
use crate::dial::dial;
use crate::limits::{Full, Place, Undecided};
use crate::live::Live;
use crate::lookup::lookup;
use crate::outcome::ClosedBy;
use crate::reason::{Alert, Answer, Reason};
use crate::settings::Destination;
use crate::sniff::{Sniffed, Unread, sniff};
use crate::stop::Stop;
use crate::transfer::{reset_on_close, say_goodbye, transfer, unless_ordered};
use crate::worker::{Entry, Worker};

/// How long a refused client may take to read its alert.
const GOODBYE: Duration = Duration::from_secs(1);

/// What an opening yields.
struct Opened {
    upstream: TcpStream,
    first: Vec<u8>,
}

/// Serves one accepted connection, from its first byte to its record.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    client: TcpStream,
    entry: Entry,
    admitted: Result<(Place, Undecided), Full>,
) {
    let (_place, undecided) = match admitted {
        Ok(admitted) => admitted,
        Err(full) => {
            entry.refuse(&over(full), ClosedBy::Gate);
            reset_on_close(&client);
            return;
        }
    };
    // Boxed: what only the opening needs is given back before the long part begins.
    let opening = Box::pin(open(&worker, entry.live(), &client, undecided));
    match unless_ordered(entry.live(), opening).await {
        Ok(Ok(Opened { upstream, first })) => {
            entry.live().relaying();
            let ended = transfer(client, upstream, first, entry.live(), &worker.tools).await;
            entry.ended(ended);
        }
        Ok(Err(stop)) => {
            entry.refuse(&stop, stop.closed_by());
            match stop.answer {
                Answer::Alert(alert) => say_goodbye(client, &alert.record(), GOODBYE, &worker.tools).await,
                Answer::Reset => reset_on_close(&client),
                Answer::Nothing => {}
            }
        }
        Err(order) => {
            reset_on_close(&client);
            entry.cut(order);
        }
    }
}

/// From the first byte to a connected upstream. Nothing is dialled before the verdict.
async fn open(worker: &Worker, live: &Live, client: &TcpStream, undecided: Undecided) -> Result<Opened, Stop> {
    let port = arrive(worker, live, client)?;
    let Sniffed { hello, bytes } = hear(worker, live, client).await?;
    let permit = decide(worker, live, &hello.name, port)?;
    drop(undecided);
    let deadline = Instant::now() + worker.shared.settings.timeouts.connect;
    let addresses = lookup(worker, live, &hello.name, port, &permit, deadline).await?;
    let upstream = reach(worker, live, addresses, deadline).await?;
    Ok(Opened { upstream, first: bytes })
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

/// A cap that was met. The client is reset at once: left in the backlog it would hang, and leave no trace.
fn over(full: Full) -> Stop {
    match full {
        Full::Connections => Stop::new(Reason::OverConnectionLimit, "connections of the process"),
        Full::Undecided => Stop::new(Reason::OverConnectionLimit, "undecided connections of the process"),
        Full::Client => Stop::new(Reason::OverClientLimit, "connections of this client"),
    }
}
