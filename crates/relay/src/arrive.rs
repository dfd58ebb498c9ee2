//! Who a client is and where it wanted to go, by whatever way it came.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use sekisho_peek::proxy::{self, About, MAX_HEADER, Progress, Refusal};
use tokio::net::TcpStream;

use crate::destination::{self, plain};
use crate::live::Live;
use crate::reader::{Awaited, Reader};
use crate::reason::Reason;
use crate::settings::{Destination, Listener};
use crate::stop::{Probe, Stop, over};
use crate::worker::Entry;

const HEADER: Awaited = Awaited {
    most: MAX_HEADER,
    closed: "closed before its PROXY header was whole",
    broken: "reset before its PROXY header was whole",
    late: "no whole PROXY header by the deadline",
};

/// What a way in yields before the client has said anything itself. Who it is and where it wanted to go stand in the
/// record: neither decides what is dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// The port that is dialled, unless the client says one.
    pub(crate) port: u16,
    /// Whether nobody's connection is at stake, as with a balancer's health checks.
    pub(crate) probe: Option<Probe>,
}

/// Learns it from the kernel, from the listener, or from a PROXY header that comes first.
pub(crate) async fn arrive(
    entry: &Entry,
    listener: &Listener,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Arrived, Stop> {
    let live = entry.live();
    let port = match listener.destination {
        Destination::None { port } => port,
        Destination::Redirect => {
            let client = live.outcome.borrow().client.ip();
            intercepted(live, destination::original(stream, client, listener.bind))?
        }
        Destination::Tproxy => intercepted(live, destination::kept(stream, &entry.worker().shared.own))?,
    };
    let mut probe = None;
    if let Some(from) = &listener.proxy_protocol {
        let sender = live.outcome.borrow().client.ip();
        let for_itself = hear_sender(entry, stream, reader, trusted(from, sender)?).await?;
        probe = for_itself.then_some(Probe::BalancerItself);
        entry.claim().map_err(over)?;
    }
    Ok(Arrived { port, probe })
}

/// The port that the client dialled, wherever the kernel has kept that.
fn intercepted(live: &Live, dialled: io::Result<Option<SocketAddr>>) -> Result<u16, Stop> {
    let dialled = dialled.ok().flatten();
    live.outcome.borrow_mut().original_dst = dialled.map(Into::into);
    let direct = Stop::new(Reason::NotRedirected, "the client dialled the gate itself");
    dialled.map(|dialled| dialled.port()).ok_or(direct)
}

/// A mark that a sender may speak for others.
#[derive(Clone, Copy)]
struct Trusted;

/// Whoever may reach a listener may say anything in a header, so only those are believed that the operator named.
fn trusted(from: &[IpNet], sender: IpAddr) -> Result<Trusted, Stop> {
    let untrusted = Stop::new(Reason::ProxyHeaderUntrusted, "a sender that may not speak for others");
    from.iter().any(|net| net.contains(&sender)).then_some(Trusted).ok_or(untrusted)
}

/// Reads the header. Answers whether the sender speaks for itself.
async fn hear_sender(entry: &Entry, stream: &TcpStream, reader: &mut Reader, Trusted: Trusted) -> Result<bool, Stop> {
    let look = |bytes: &[u8]| match proxy::inspect(bytes) {
        Ok(Progress::Need { .. }) => Ok(None),
        Ok(Progress::Done(header)) => Ok(Some(header)),
        Err(refusal) => Err(refused(refusal)),
    };
    let header = reader.until(stream, entry.tools(), &HEADER, look).await?;
    reader.skip(header.len);
    let mut outcome = entry.live().outcome.borrow_mut();
    if let About::Client { source, destination } = header.about {
        outcome.client = plain(source).into();
        outcome.original_dst = Some(plain(destination).into());
    }
    if header.vpce.is_some() {
        outcome.more().vpce = header.vpce;
    }
    Ok(header.about == About::Sender)
}

fn refused(refusal: Refusal) -> Stop {
    let reason = match refusal {
        Refusal::Missing => Reason::ProxyHeaderMissing,
        Refusal::Malformed(_) => Reason::ProxyHeaderMalformed,
    };
    Stop::new(reason, refusal.detail())
}
