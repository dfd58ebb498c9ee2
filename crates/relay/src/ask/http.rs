//! An HTTP client names its host in its request.

use std::time::Instant;

use sekisho_peek::http::{Asks, Inspector, MAX_HEAD, Progress, Refusal, Request, Role};
use sekisho_policy::Protocol;
use tokio::net::TcpStream;

use super::{Asked, Course, Then};
use crate::http::{ESTABLISHED, Manner, say};
use crate::live::Live;
use crate::reader::{Awaited, Reader};
use crate::reason::Reason;
use crate::stop::Stop;
use crate::worker::Worker;

const REQUEST: Awaited = Awaited {
    most: MAX_HEAD,
    closed: "closed before its request was whole",
    broken: "reset before its request was whole",
    late: "no whole request by the deadline",
};

/// Waits for one request to the server itself, which was dialled at `port`.
pub(super) async fn request(
    worker: &Worker,
    live: &Live,
    methods: &[Box<str>],
    port: u16,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Asked, Stop> {
    let told = |stop: Stop| stop.told(Manner::default());
    let request = read(worker, live, Role::Server, stream, reader).await.map_err(told)?;
    let manner = Manner::of(&request);
    // A Host without a port means the scheme's.
    if request.port.unwrap_or(80) != port {
        return Err(Stop::new(Reason::BadRequest, "Host names another port").told(manner));
    }
    forward(live, request, manner, methods, port, reader).map_err(|stop| stop.told(manner))
}

/// Waits for one request to a proxy.
pub(super) async fn proxied(
    worker: &Worker,
    live: &Live,
    ports: &[u16],
    methods: &[Box<str>],
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Asked, Stop> {
    let unread = Manner { proxied: true, ..Manner::default() };
    let request = read(worker, live, Role::Proxy, stream, reader).await.map_err(|stop| stop.told(unread))?;
    let manner = Manner { proxied: true, ..Manner::of(&request) };
    if request.asks != Asks::Tunnel {
        let port = request.port.unwrap_or(80);
        return forward(live, request, manner, methods, port, reader).map_err(|stop| stop.told(manner));
    }
    let port = request.port.unwrap_or(443);
    live.outcome.borrow_mut().port = Some(port);
    reader.skip(request.head_len);
    if !ports.contains(&port) {
        return Err(Stop::new(Reason::TargetNotAllowed, "a port that the listener does not serve").told(manner));
    }
    Ok(Asked { host: request.host, port, protocol: Protocol::Tls, then: Then::Tunnel, manner })
}

/// A request that is passed on.
fn forward(
    live: &Live,
    request: Request,
    manner: Manner,
    methods: &[Box<str>],
    port: u16,
    reader: &mut Reader,
) -> Result<Asked, Stop> {
    live.outcome.borrow_mut().port = Some(port);
    if !methods.contains(&request.method) {
        return Err(Stop::new(Reason::MethodNotAllowed, "a method that the listener does not serve"));
    }
    let Asks::Forward { head: mut first, body } = request.asks else {
        return Err(Stop::new(Reason::BadRequest, "a CONNECT"));
    };
    let mut here = reader.take();
    let behind = here.split_off(request.head_len.min(here.len()));
    // RFC 9112 §11.2: what stands behind the message would be another request, of which nobody has decided.
    let rest = u64::try_from(behind.len()).ok().and_then(|here| body.checked_sub(here));
    let rest = rest.ok_or(Stop::new(Reason::BadRequest, "bytes behind the request"))?;
    first.extend_from_slice(&behind);
    let then = Then::Relay(Course { first, watched: None, rest: Some(rest) });
    Ok(Asked { host: request.host, port, protocol: Protocol::Http, then, manner })
}

async fn read(
    worker: &Worker,
    live: &Live,
    role: Role,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Request, Stop> {
    let begun = Instant::now();
    let mut inspector = Inspector::new(role);
    let look = |bytes: &[u8]| match inspector.inspect(bytes) {
        Ok(Progress::Need { .. }) => Ok(None),
        Ok(Progress::Done(request)) => Ok(Some(request)),
        Err(refusal) => Err(refused(refusal)),
    };
    let request = reader.until(stream, &worker.tools, &REQUEST, look).await?;
    let mut outcome = live.outcome.borrow_mut();
    outcome.hello = Some(begun.elapsed().into());
    outcome.host = Some(request.host.clone());
    outcome.more().method = Some(request.method.clone());
    Ok(request)
}

/// Tells a proxy's client that its tunnel stands. It may have read nothing of what it was told before.
pub(super) async fn established(stream: &TcpStream, reader: &mut Reader) -> Result<(), Stop> {
    let deaf = Stop::new(Reason::HelloTimeout, "did not read that its tunnel stood");
    let gone = Stop::new(Reason::ClientClosed, "reset before its tunnel stood");
    reader.patiently(say(stream, ESTABLISHED)).await.ok_or(deaf)?.map_err(|_| gone)
}

/// A request that peek refused, in this crate's words.
fn refused(refusal: Refusal) -> Stop {
    let reason = match refusal {
        Refusal::Bad(_) => Reason::BadRequest,
        Refusal::Target => Reason::TargetNotAllowed,
    };
    Stop::new(reason, refusal.detail())
}
