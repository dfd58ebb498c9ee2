//! What a policy means, exactly: for each name, client, port, protocol and time its outcome, in one canonical form.
//!
//! Which rules there are for a name depends on the name alone; what they come to, on the rest. So there are two halves:
//! - [`behaviour`]: what an ordered set of rules does with every (protocol, port), client and time. Two sets that do the
//!   same have one form, and so one id.
//! - [`regions`]: the sets of names that patterns cut out, nested in one another. A name's behaviour is that of the
//!   smallest region that holds it, so a list of a million names is a million look-ups, and behaviours are few.
//!
//! It is canonical for names of up to 246 bytes. Where less than six bytes are left below a domain, a policy could list
//! every name that fits, so that the behaviour of those which it does not list is no fact about any name.

pub(crate) mod behaviour;
pub(crate) mod digest;
pub(crate) mod regions;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::policy::Policy;
use crate::rule::{Decision, Ech, Mode, Reason, Request, Upstream, order};
use behaviour::{Behaviour, Clients, Times};

/// Whether a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It does not.
    Refused,
    /// It does, and is recorded with a reason.
    Audited,
    /// It does.
    Allowed,
}

impl Verdict {
    /// Its word in the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Audited => "audited",
            Self::Allowed => "allowed",
        }
    }
}

/// What becomes of a request, whichever rule says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Why it is not simply allowed.
    pub reason: Option<Reason>,
    /// Which addresses may be dialled; `None` when it is refused.
    pub upstream: Option<Upstream>,
    /// Whether private addresses beyond `upstream` are let through and recorded, as `mode: audit` does.
    pub lenient: bool,
    /// What becomes of it where its hello has an `encrypted_client_hello` extension: what is denied under audit is logged.
    pub ech: Ech,
    /// Whether it is refused where its client had dialled none of the name's addresses, and whether that is enforced.
    pub on_mismatch: Option<Mode>,
}

impl Outcome {
    /// Whether the request is let through.
    pub fn passes(&self) -> bool {
        self.verdict != Verdict::Refused
    }

    /// Whether this lets through something, a request or an address, that `before` does not. `public` and networks are
    /// not compared: going from one to the other opens.
    pub fn opens(&self, before: &Self) -> bool {
        let Some(now) = &self.upstream else { return false };
        before.upstream.as_ref().is_none_or(|then| !within(now, then))
            || (self.lenient && !before.lenient)
            || (self.ech != Ech::Deny && before.ech == Ech::Deny)
            || (self.on_mismatch != Some(Mode::Enforce) && before.on_mismatch == Some(Mode::Enforce))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verdict.label())?;
        if let Some(reason) = self.reason {
            write!(f, " ({})", reason.label())?;
        }
        match &self.upstream {
            None | Some(Upstream::Public) => {}
            Some(Upstream::Any) => f.write_str(", upstream any")?,
            Some(Upstream::Only(nets)) => {
                let all: Vec<_> = nets.iter().map(IpNet::to_string).collect();
                write!(f, ", upstream {}", all.join(" "))?;
            }
        }
        if self.lenient {
            f.write_str(", other private addresses audited")?;
        }
        if self.ech != Ech::Allow {
            write!(f, ", ech {}", self.ech.label())?;
        }
        match self.on_mismatch {
            None => Ok(()),
            Some(Mode::Enforce) => f.write_str(", on_mismatch refuse"),
            Some(Mode::Audit) => f.write_str(", on_mismatch audited"),
        }
    }
}

/// Whether every address that `narrow` permits is permitted by `wide`.
fn within(narrow: &Upstream, wide: &Upstream) -> bool {
    match (narrow, wide) {
        (_, Upstream::Any) | (Upstream::Public, Upstream::Public) => true,
        (Upstream::Only(narrow), Upstream::Only(wide)) => narrow.iter().all(|net| wide.iter().any(|w| w.contains(net))),
        _ => false,
    }
}

/// All networks there are, which is what `any` means.
fn plain(upstream: &Upstream) -> Upstream {
    match upstream {
        Upstream::Only(nets)
            if nets.iter().filter(|net| net.prefix_len() == 0).map(|net| net.addr().is_ipv4()).eq([true, false]) =>
        {
            Upstream::Any
        }
        other => other.clone(),
    }
}

impl Policy {
    /// What becomes of one request.
    pub fn outcome(&self, request: &Request<'_>) -> Outcome {
        self.outcome_of(self.decide(request))
    }

    fn outcome_of(&self, decision: Decision) -> Outcome {
        let (verdict, reason) = match decision {
            Decision::Allow { .. } => (Verdict::Allowed, None),
            Decision::Audit { reason, .. } => (Verdict::Audited, Some(reason)),
            Decision::Refuse { reason, .. } => (Verdict::Refused, Some(reason)),
        };
        let passes = verdict != Verdict::Refused;
        let upstream = passes.then(|| plain(self.upstream(decision.rule())));
        let lenient = passes && self.mode() == Mode::Audit;
        let (ech, on_mismatch) = (self.ech(decision), self.on_mismatch(decision));
        Outcome { verdict, reason, upstream, lenient, ech, on_mismatch }
    }
}

/// Forms that were met, each with an id: equal ids are equal meanings. Several policies can share one.
#[derive(Default)]
pub(crate) struct Space {
    outcomes: Ids<Outcome>,
    times: Ids<Times>,
    clients: Ids<Clients>,
    behaviours: Ids<Behaviour>,
}

impl Space {
    pub(crate) fn outcome(&self, id: u32) -> Option<Outcome> {
        self.outcomes.get(id).map(|outcome| Outcome::clone(&outcome))
    }

    pub(crate) fn times_of(&self, id: u32) -> Times {
        self.times.get(id).map(|times| Times::clone(&times)).unwrap_or_default()
    }

    pub(crate) fn clients_of(&self, id: u32) -> Clients {
        self.clients.get(id).map(|clients| Clients::clone(&clients)).unwrap_or_default()
    }

    pub(crate) fn behaviour_of(&self, id: u32) -> Option<Rc<Behaviour>> {
        self.behaviours.get(id)
    }
}

/// Values with their ids, each value once.
struct Ids<T> {
    ids: HashMap<Rc<T>, u32, RandomState>,
    all: Vec<Rc<T>>,
}

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Self { ids: HashMap::default(), all: Vec::new() }
    }
}

impl<T: Eq + Hash> Ids<T> {
    fn id(&mut self, value: T) -> u32 {
        if let Some(&id) = self.ids.get(&value) {
            return id;
        }
        // There is at most one behaviour a listed name, and names are counted in 32 bits.
        let (id, value) = (u32::try_from(self.all.len()).unwrap_or(u32::MAX), Rc::new(value));
        self.all.push(Rc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    fn get(&self, id: u32) -> Option<Rc<T>> {
        self.all.get(id as usize).cloned()
    }
}

/// A place on the axis of clients: IPv4 before IPv6.
pub(crate) type At = (bool, u128);

/// The IPv6 addresses that carry an IPv4 one. A client with one is taken for its IPv4 address, so none is ever met.
const MAPPED: std::ops::RangeInclusive<u128> = 0xffff_0000_0000..=0xffff_ffff_ffff;

/// Where a network begins and where the next address after it is, as far as clients are met there.
pub(crate) fn bounds(net: &IpNet) -> Option<(At, Option<At>)> {
    let past = |(v6, at): At| if v6 && MAPPED.contains(&at) { (v6, MAPPED.end() + 1) } else { (v6, at) };
    let (start, (v6, last)) = (past(order(net.network())), order(net.broadcast()));
    let end = last.checked_add(1).map(|end| past((v6, end)));
    (end.is_none_or(|end| start < end)).then_some((start, end))
}

/// The address at a place.
pub(crate) fn address((v6, at): At) -> IpAddr {
    match u32::try_from(at) {
        Ok(v4) if !v6 => IpAddr::V4(Ipv4Addr::from_bits(v4)),
        _ => IpAddr::V6(Ipv6Addr::from_bits(at)),
    }
}
