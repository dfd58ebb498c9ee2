//! The name's addresses, from the gate's own resolver, each passed by the guard.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sekisho_name::Name;
use sekisho_resolve::ResolveError;
use tokio::time::timeout_at;

use crate::decide::Permit;
use crate::guard::{Judgement, judge, reached};
use crate::live::Live;
use crate::mismatch;
use crate::outcome::Verdict;
use crate::reason::Reason;
use crate::settings::Listener;
use crate::shared::Shared;
use crate::stop::Stop;
use crate::worker::Worker;

/// Resolves `name` and keeps the addresses that may be dialled, in random order so that connections spread.
pub(crate) async fn lookup(
    worker: &Worker,
    live: &Live,
    listener: &Listener,
    name: &Name,
    port: u16,
    permit: &Permit,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, Stop> {
    let begun = Instant::now();
    let resolver = &worker.shared.resolver;
    let answer = match resolver.cached(name) {
        Some(answer) => Ok(answer),
        None => match timeout_at(deadline.into(), resolver.resolve(name)).await {
            Ok(resolved) => resolved.map(|resolved| resolved.answer),
            Err(_) => Err(ResolveError::Failed("no answer in time")),
        },
    };
    live.outcome.borrow_mut().dns = Some(begun.elapsed().into());
    let answer = answer.map_err(|error| unresolved(&error))?;
    // The same name, but not one more copy of it for as long as the connection is open.
    live.outcome.borrow_mut().host = Some(answer.name.clone());
    mismatch::compare(worker, live, listener, &answer, permit)?;

    let mut addresses = pass(&answer.addresses, port, permit, &worker.shared);
    if addresses.permitted.is_empty() && !addresses.audited.is_empty() {
        let mut outcome = live.outcome.borrow_mut();
        outcome.verdict = Verdict::Audited;
        // A name that no rule lists is refused before it is resolved, so that reason comes first.
        if outcome.reason.is_none() {
            outcome.reason = Some(Reason::ForbiddenAddress);
            outcome.detail = addresses.why;
        }
        addresses.permitted = addresses.audited;
    }
    if addresses.permitted.is_empty() {
        let detail = addresses.why.unwrap_or("no address");
        return Err(Stop::new(Reason::ForbiddenAddress, detail));
    }
    fastrand::shuffle(&mut addresses.permitted);
    Ok(addresses.permitted)
}

/// A name's addresses after the guard has seen each.
#[derive(Debug, Default, PartialEq)]
struct Passed {
    permitted: Vec<SocketAddr>,
    audited: Vec<SocketAddr>,
    /// Why the first of those that were not permitted was not.
    why: Option<&'static str>,
}

fn pass(addresses: &[IpAddr], port: u16, permit: &Permit, shared: &Shared) -> Passed {
    let nat64 = &shared.settings.upstream.nat64;
    let mut passed = Passed { permitted: Vec::with_capacity(addresses.len()), ..Passed::default() };
    for &ip in addresses {
        let address = SocketAddr::new(ip, port);
        let own = reached(ip, nat64).any(|ip| shared.own.includes(SocketAddr::new(ip, port)));
        match judge(ip, permit.upstream(), permit.audit(), nat64) {
            _ if own => passed.why = passed.why.or(Some("this gate's own socket")),
            Judgement::Permitted => passed.permitted.push(address),
            Judgement::Audited(class) => {
                passed.audited.push(address);
                passed.why = passed.why.or(Some(class.label()));
            }
            Judgement::Forbidden(class) => passed.why = passed.why.or(Some(class.label())),
        }
    }
    passed
}

fn unresolved(error: &ResolveError) -> Stop {
    match error {
        ResolveError::NotFound => Stop::new(Reason::NameNotFound, "the name has no address"),
        ResolveError::Failed(detail) => Stop::new(Reason::DnsFailed, detail),
        ResolveError::Overloaded => Stop::new(Reason::DnsFailed, "too many lookups at once"),
    }
}
