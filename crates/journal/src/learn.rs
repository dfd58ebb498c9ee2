//! What audit mode saw, as rules to review: never wider than what was seen, unless rounding is asked for.

mod fold;
mod rules;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeSet;
use std::net::IpAddr;

use sekisho_policy::{Action, Decision, Policy, Protocol, Request};

use crate::read::BadLine;
use crate::record::{Event, Record, Text, Verdict};
use crate::tally::{Caps, Map, Names, Seen};
use crate::words;

pub use rules::{Learned, LearnedBucket, LearnedHost, LearnedRule, SetAside, Upstreams};

/// What to learn from, and how exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only records from this time on, Unix seconds.
    pub since: Option<i64>,
    /// Take what was refused too, not only what audit mode let through.
    pub refused: bool,
    /// IPv4 clients are widened to networks of this prefix length; not at all if `None`.
    pub round_v4: Option<u8>,
    /// The same for IPv6.
    pub round_v6: Option<u8>,
}

/// Takes records and keeps what may become rules.
pub struct Learner<'p> {
    options: Options,
    /// What is allowed already, and the time to decide at.
    policy: Option<(&'p Policy, i64)>,
    caps: Caps,
    names: Names,
    pairs: usize,
    seen: Map<Target, Sighting>,
    aside: Map<AsideKey, (Seen, BTreeSet<IpAddr>)>,
    /// Every connection, whatever came of it.
    all: Seen,
    /// Those that the policy allows through the VPC endpoint that they came through.
    allowed_through: Seen,
    /// Connections beyond the caps.
    beyond: u64,
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Target {
    name: u32,
    protocol: Protocol,
    port: u16,
}

/// Who asked for it, and where that led.
#[derive(Default)]
struct Sighting {
    clients: Map<IpAddr, Seen>,
    /// Addresses that only a rule with `upstream` may dial, at most [`MAX_UPSTREAMS`].
    private: BTreeSet<IpAddr>,
    /// Whether others were dialled too, or more than are kept.
    others: bool,
    /// The rule that allowed it until it expired.
    expired: Option<Box<str>>,
}

/// What no rule that this program writes will allow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct AsideKey {
    reason: &'static str,
    change: &'static str,
    name: Option<u32>,
    rule: Option<Box<str>>,
}

/// A reason's label, and what to change.
type Why = (&'static str, &'static str);

/// Private addresses of one name that are kept: an interface endpoint has one in each zone.
const MAX_UPSTREAMS: usize = 256;

impl<'p> Learner<'p> {
    /// Begins with nothing seen. What `policy` allows at `now` (Unix seconds) is left out, and so is what it denies.
    pub fn new(options: Options, policy: Option<(&'p Policy, i64)>) -> Self {
        Self::capped(options, policy, Caps::default())
    }

    fn capped(options: Options, policy: Option<(&'p Policy, i64)>, caps: Caps) -> Self {
        let (names, seen, aside) = (Names::new(caps.names), Map::default(), Map::default());
        let (all, allowed_through) = (Seen::NEVER, Seen::NEVER);
        Self { options, policy, caps, names, pairs: 0, seen, aside, all, allowed_through, beyond: 0 }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, record: &Record<'_>) -> Result<(), BadLine> {
        if !matches!(record.event, Event::Close | Event::Open) || self.options.since.is_some_and(|t| record.time < t) {
            return Ok(());
        }
        let (Some(verdict), Some(client)) = (record.verdict, record.client) else { return Ok(()) };
        let reason = record.reason.as_deref().unwrap_or_default();
        let host = record.host.as_deref().map(|host| self.names.id(host)).transpose()?;
        self.all.add(record);
        let name = match host {
            Some(None) => {
                self.beyond += u64::from(verdict != Verdict::Allowed);
                return Ok(());
            }
            Some(Some(name)) => Some(name),
            None => None,
        };
        let by_policy = matches!(reason, "no_rule" | "rule_expired");
        match (verdict, name) {
            // A connection that its rule let through, or that the gate could not serve for a reason of its own.
            (Verdict::Allowed, _) | (Verdict::Failed, None) => {}
            (Verdict::Failed, Some(_)) if record.rule.is_some() => {}
            // A rule lists these, and says what it does with them.
            (Verdict::Audited, Some(_))
                if matches!(reason, "denied_by_rule" | "ech_denied" | "destination_mismatch") =>
            {
                self.set_aside(record, client, name, words::remedy(reason));
            }
            // A rule of its own would never be reached: the one that is there comes first.
            (Verdict::Audited, Some(_)) if reason == "forbidden_address" && record.rule.is_some() => {
                self.set_aside(record, client, name, ("forbidden_address", words::UPSTREAM));
            }
            (Verdict::Audited, Some(name)) => self.sight(record, client, name, reason),
            (Verdict::Refused, Some(name)) if by_policy && self.options.refused => {
                self.sight(record, client, name, reason);
            }
            (Verdict::Audited, None) | (Verdict::Refused | Verdict::Failed, _) => {
                self.set_aside(record, client, name, words::remedy(reason));
            }
        }
        Ok(())
    }

    fn sight(&mut self, record: &Record<'_>, client: IpAddr, name: u32, reason: &str) {
        let target = Target { name, protocol: record.protocol, port: record.port };
        // What is learned is for clients, whatever they come through; what a rule says of an endpoint is settled here.
        if let Some(vpce) = record.vpce.as_deref() {
            match self.settled(target, client, Some(vpce)) {
                Some(Action::Allow) => return self.allowed_through.add(record),
                Some(Action::Deny) => {
                    return self.set_aside(record, client, Some(name), words::remedy("denied_by_rule"));
                }
                None => {}
            }
        }
        let known = self.seen.get(&target).is_some_and(|sighting| sighting.clients.contains_key(&client));
        if !known && self.pairs == self.caps.pairs {
            self.beyond += 1;
            return;
        }
        self.pairs += usize::from(!known);
        let sighting = self.seen.entry(target).or_default();
        sighting.clients.entry(client).or_insert(Seen::NEVER).add(record);
        match record.upstream {
            Some(address) if private(address) => {
                if sighting.private.len() < MAX_UPSTREAMS {
                    sighting.private.insert(address);
                } else {
                    sighting.others |= !sighting.private.contains(&address);
                }
            }
            Some(_) => sighting.others = true,
            None => {}
        }
        if let Some(rule) = record.rule.as_deref().filter(|_| reason == "rule_expired") {
            sighting.expired = first(sighting.expired.take(), Some(rule.into()));
        }
    }

    fn set_aside(&mut self, record: &Record<'_>, client: IpAddr, name: Option<u32>, why: Why) {
        let (reason, change) = why;
        let rule = record.rule.as_ref().map(|rule: &Text<'_>| Box::from(&**rule));
        let key = AsideKey { reason, change, name, rule };
        // A rule's name may be anything in a log that was tampered with.
        if self.aside.len() >= self.caps.names && !self.aside.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let (seen, clients) = self.aside.entry(key).or_insert((Seen::NEVER, BTreeSet::new()));
        seen.add(record);
        if !clients.contains(&client) {
            if self.pairs == self.caps.pairs {
                self.beyond += 1;
            } else {
                self.pairs += 1;
                clients.insert(client);
            }
        }
    }

    /// What the policy that is there already says to one pair: whether it is out of this learner's hands.
    fn settled(&self, target: Target, client: IpAddr, vpce: Option<&str>) -> Option<Action> {
        let (policy, now) = self.policy?;
        let name = self.names.get(target.name)?;
        let Target { port, protocol, .. } = target;
        let request = Request { name, client, port, protocol, now, vpce, ech: false };
        match policy.decide(&request) {
            Decision::Allow { .. } => Some(Action::Allow),
            Decision::Audit { rule: Some(rule), .. } | Decision::Refuse { rule: Some(rule), .. } => {
                // An expired rule has a say no more.
                policy.rule(rule).filter(|rule| !rule.expired(now)).map(|rule| rule.action)
            }
            Decision::Audit { rule: None, .. } | Decision::Refuse { rule: None, .. } => None,
        }
    }

    /// Makes rules of what was seen.
    pub fn finish(self) -> Learned {
        fold::learned(self)
    }
}

/// The first by name: which line came first must not matter.
fn first(a: Option<Box<str>>, b: Option<Box<str>>) -> Option<Box<str>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The ranges that audit mode lets through and a rule must permit: private, carrier-grade NAT, unique local.
fn private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || matches!(v4.octets(), [100, 64..=127, ..]),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}
