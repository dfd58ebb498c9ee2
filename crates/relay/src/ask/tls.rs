//! A TLS client names its host in its hello.

use std::sync::Arc;
use std::time::Instant;

use sekisho_name::Name;
use sekisho_peek::tls::retry::Watch;
use sekisho_peek::tls::{ClientHello, Inspector, Progress, Refusal, ja4};
use tokio::net::TcpStream;

use super::Course;
use crate::live::Live;
use crate::outcome::Offered;
use crate::reader::{Awaited, Reader};
use crate::reason::{Alert, Answer, Reason};
use crate::stop::Stop;
use crate::worker::Worker;

/// TLS 1.2: up to here there is no second hello.
const TLS12: u16 = 0x0303;

/// Waits for the whole hello, and leaves it where it was read.
pub(super) async fn hear(
    worker: &Worker,
    live: &Live,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<ClientHello, Stop> {
    let begun = Instant::now();
    let hello = read(worker, stream, reader).await?;
    let mut outcome = live.outcome.borrow_mut();
    outcome.hello = Some(begun.elapsed().into());
    outcome.host = Some(hello.name.clone());
    outcome.offered = Some(offered(worker, &hello, reader));
    Ok(hello)
}

/// Waits for the hello inside a tunnel to `host`, which no other may be named in.
pub(super) async fn hear_inside(
    worker: &Worker,
    live: &Live,
    host: &Name,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<ClientHello, Stop> {
    let hello = read(worker, stream, reader).await?;
    live.outcome.borrow_mut().offered = Some(offered(worker, &hello, reader));
    if hello.name == *host {
        Ok(hello)
    } else {
        Err(Stop::new(Reason::SniMismatch, "the hello in the tunnel names another host"))
    }
}

async fn read(worker: &Worker, stream: &TcpStream, reader: &mut Reader) -> Result<ClientHello, Stop> {
    let awaited = Awaited {
        most: worker.hello_limits.raw,
        closed: "closed before its hello was whole",
        broken: "reset before its hello was whole",
        late: "no whole hello by the deadline",
    };
    let mut inspector = Inspector::new(worker.hello_limits);
    let look = |bytes: &[u8]| match inspector.inspect(bytes) {
        Ok(Progress::Need { .. }) => Ok(None),
        Ok(Progress::Done(hello)) => Ok(Some(hello)),
        Err(refusal) => Err(refused(refusal)),
    };
    reader.until(stream, &worker.tools, &awaited, look).await
}

/// What the hello offers, which the reader still has. Its fingerprint is made only where the log has a place for it.
fn offered(worker: &Worker, hello: &ClientHello, reader: &Reader) -> Arc<Offered> {
    let fingerprint = worker.fingerprints.then(|| ja4(reader.bytes(), &worker.hello_limits)).flatten();
    worker.offers.share(hello, fingerprint.as_deref())
}

/// The hello goes on, and what stands behind it as far as it may.
pub(super) fn course(hello: &ClientHello, reader: &mut Reader, worker: &Worker) -> Course {
    let mut first = reader.take();
    // The highest first, of however many: whoever offers TLS 1.3 offers something above 1.2, whatever else stands beside it.
    if hello.versions.first().is_none_or(|&highest| highest <= TLS12) {
        return Course { first, watched: None, rest: None };
    }
    let behind = first.split_off(hello.raw_len.min(first.len()));
    let watch = Watch::new(hello.name.clone(), hello.ech, worker.hello_limits);
    Course { first, watched: Some((watch, behind)), rest: None }
}

/// A hello that peek refused, in this crate's words.
fn refused(refusal: Refusal) -> Stop {
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
