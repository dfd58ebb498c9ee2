//! Where a client wanted to go, beside the addresses of the name that it asks for. The address itself is never dialled,
//! whatever comes of this: a difference is something to know of, and a resolver of one's own is cause enough for it. So
//! nothing is refused for it unless a rule says so.

use sekisho_policy::Mode;
use sekisho_resolve::{Answer, Seen};

use crate::compact::Addr;
use crate::decide::{Permit, audit};
use crate::live::Live;
use crate::outcome::DstMatches;
use crate::reason::Reason;
use crate::settings::{Listener, Protocol};
use crate::stop::Stop;
use crate::worker::Worker;

/// Notes whether the address that the client dialled is one of its name's.
pub(crate) fn compare(
    worker: &Worker,
    live: &Live,
    listener: &Listener,
    answer: &Answer,
    permit: &Permit,
) -> Result<(), Stop> {
    let mut outcome = live.outcome.borrow_mut();
    let dialled = outcome.original_dst.as_ref().map(Addr::ip);
    // Who asks a proxy dials the proxy.
    let direct = !matches!(listener.protocol, Protocol::Connect { .. });
    outcome.dst_matches = dialled.filter(|_| direct).map(|dialled| {
        // Where a translator stands between, clients have its form of an address, and the gate perhaps the address.
        let nat64 = &worker.shared.settings.upstream.nat64;
        let seen = answer.seen(dialled).or_else(|| answer.seen(nat64.inner(dialled)?.into()));
        matches(seen)
    });
    let stop = Stop::new(Reason::DestinationMismatch, "no recent answer has the address that the client dialled");
    match permit.on_mismatch().filter(|_| outcome.dst_matches == Some(DstMatches::No)) {
        Some(Mode::Enforce) => return Err(stop),
        Some(Mode::Audit) => audit(&mut outcome, stop.reason, stop.detail),
        None => {}
    }
    Ok(())
}

const fn matches(seen: Option<Seen>) -> DstMatches {
    match seen {
        Some(Seen::Now) => DstMatches::Yes,
        Some(Seen::Lately) => DstMatches::Recent,
        None => DstMatches::No,
    }
}
