//! What a policy's rules were used for, and which were not.
//!
//! Each connection is decided again by the policy given, as of the connection's own time: the answer is about this policy,
//! whatever was in force when the log was written.

mod print;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use sekisho_policy::{Decision, Policy, Reason, Request, RuleId};
use serde::Serialize;

use crate::read::BadLine;
use crate::record::{Event, Record, Verdict};
use crate::tally::{Caps, Map, Names, Seen, rfc3339};
use crate::words;

/// What to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Only records from this time on, Unix seconds.
    pub since: Option<i64>,
    /// A pattern that matched at most so many names could be those names.
    pub few: usize,
    /// How many refusals are listed.
    pub top: usize,
    /// Rules that expire within so many days are listed.
    pub days: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { since: None, few: 2, top: 20, days: 30 }
    }
}

/// Takes records and counts what each rule was used for.
pub struct Usage<'p> {
    policy: &'p Policy,
    options: Options,
    caps: Caps,
    names: Names,
    rules: Vec<Use>,
    /// Names that a rule was asked for.
    asked: Map<(RuleId, u32), Seen>,
    /// Who was refused what, in the log's own words.
    refused: Map<(IpAddr, Option<u32>, &'static str), Seen>,
    all: Seen,
    beyond: u64,
}

/// How a rule was used.
#[derive(Clone, Copy)]
struct Use {
    /// It decided.
    used: Seen,
    /// It would have, but had expired.
    expired: Seen,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The connections that were looked at. A rule that was not used was not used since the first of them. Without any,
    /// nothing can be said of a rule's use, and nothing is listed.
    pub looked_at: Seen,
    /// From when on, RFC 3339, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Connections that were not looked at whole because a cap on names or clients was reached.
    pub beyond: u64,
    /// Every rule, in the policy's order; none when no connection was looked at.
    pub rules: Vec<RuleUse>,
    /// Patterns that could be a few names, or nothing.
    pub patterns: Vec<PatternUse>,
    /// Rules that have expired or soon will, the first to do so first.
    pub expiring: Vec<Expiring>,
    /// Refusals, most frequent first.
    pub refused: Vec<Refusal>,
    /// Refusals beyond those.
    pub refused_more: u64,
}

/// A rule's use.
#[derive(Debug, Serialize)]
pub struct RuleUse {
    /// Its name.
    pub rule: String,
    /// `file:line`.
    pub place: String,
    /// `allow` or `deny`.
    pub action: &'static str,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How many different names.
    pub names: usize,
    /// How often it decided.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A pattern's use.
#[derive(Debug, Serialize)]
pub struct PatternUse {
    /// The rule that lists it.
    pub rule: String,
    /// As written.
    pub pattern: String,
    /// `file:line`.
    pub place: String,
    /// The names that it matched, few as they are.
    pub names: Vec<String>,
}

/// A rule with an end.
#[derive(Debug, Serialize)]
pub struct Expiring {
    /// Its name.
    pub rule: String,
    /// `file:line`.
    pub place: String,
    /// Its last second, RFC 3339.
    pub expires: String,
    /// Whether that has passed.
    pub expired: bool,
    /// Connections that it allowed.
    pub connections: u64,
    /// Connections that came too late for it.
    pub after: u64,
}

/// Who was refused what.
#[derive(Debug, Serialize)]
pub struct Refusal {
    /// The client.
    pub client: IpAddr,
    /// The name, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The reason's label.
    pub reason: &'static str,
    /// How often.
    #[serde(flatten)]
    pub seen: Seen,
}

impl<'p> Usage<'p> {
    /// Begins with nothing seen.
    pub fn new(policy: &'p Policy, options: Options) -> Self {
        Self::capped(policy, options, Caps::default())
    }

    fn capped(policy: &'p Policy, options: Options, caps: Caps) -> Self {
        let rules = vec![Use { used: Seen::NEVER, expired: Seen::NEVER }; policy.rules().len()];
        let (names, asked, refused) = (Names::new(caps.names), Map::default(), Map::default());
        Self { policy, options, caps, names, rules, asked, refused, all: Seen::NEVER, beyond: 0 }
    }

    /// Takes one record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take(&mut self, record: &Record<'_>) -> Result<(), BadLine> {
        if !matches!(record.event, Event::Close | Event::Open) || self.options.since.is_some_and(|t| record.time < t) {
            return Ok(());
        }
        let Some(client) = record.client else { return Ok(()) };
        let host = record.host.as_deref().map(|host| self.names.id(host)).transpose()?;
        self.all.add(record);
        let mut whole = host != Some(None);
        let name = host.flatten();
        let mut allowed = false;
        if let Some(name) = name {
            let counted;
            (allowed, counted) = self.decide(record, client, name);
            whole &= counted;
        }
        let withheld = match record.verdict {
            Some(Verdict::Refused) => true,
            // What Squid let through matters where the policy would not.
            Some(Verdict::Audited) => !(record.foreign && allowed),
            _ => false,
        };
        if withheld && host != Some(None) {
            let reason = record.reason.as_deref().unwrap_or_default();
            let reason = if reason == "audit_rule" { "audit_rule" } else { words::remedy(reason).0 };
            whole &= count(&mut self.refused, (client, name, reason), record, self.caps.pairs);
        }
        self.beyond += u64::from(!whole);
        Ok(())
    }

    /// Counts for the rule that decides. Whether the policy lets it through, and `false` when there was no room to count.
    fn decide(&mut self, record: &Record<'_>, client: IpAddr, id: u32) -> (bool, bool) {
        let Some(name) = self.names.get(id) else { return (false, true) };
        let (port, protocol, now, vpce) = (record.port, record.protocol, record.time, record.vpce.as_deref());
        // The rule is the same whatever the hello had besides its name.
        let request = Request { name, client, port, protocol, now, vpce, ech: false };
        let decision = self.policy.decide(&request);
        let allowed = matches!(decision, Decision::Allow { .. });
        let Some((rule, usage)) = decision.rule().and_then(|rule| Some((rule, self.rules.get_mut(rule.0 as usize)?)))
        else {
            return (allowed, true);
        };
        if let Decision::Audit { reason: Reason::RuleExpired, .. }
        | Decision::Refuse { reason: Reason::RuleExpired, .. } = decision
        {
            usage.expired.add(record);
            return (allowed, true);
        }
        usage.used.add(record);
        (allowed, count(&mut self.asked, (rule, id), record, self.caps.pairs))
    }

    /// The report as of `now`, Unix seconds.
    pub fn finish(self, now: i64) -> Report {
        let (looked_at, beyond, since) = (self.all, self.beyond, self.options.since.map(rfc3339));
        if !looked_at.ever() {
            // To list every rule as unused would be to advise that it be retired.
            let (rules, patterns, expiring, refused) = Default::default();
            return Report { looked_at, since, beyond, rules, patterns, expiring, refused, refused_more: 0 };
        }
        let mut names: Vec<usize> = vec![0; self.rules.len()];
        // Of each pattern the names, one more than few at the most.
        let mut matched: BTreeMap<(RuleId, String), Vec<&str>> = BTreeMap::new();
        let mut asked: Vec<_> = self.asked.keys().filter_map(|&(rule, id)| Some((rule, self.names.get(id)?))).collect();
        asked.sort_unstable();
        for (rule, name) in asked {
            if let Some(names) = names.get_mut(rule.0 as usize) {
                *names += 1;
            }
            if let Some(pattern) = self.policy.pattern_for(rule, name.as_str()) {
                let names = matched.entry((rule, pattern)).or_default();
                if names.len() <= self.options.few {
                    names.push(name.as_str());
                }
            }
        }
        let (mut rules, mut patterns, mut expiring) = (Vec::new(), Vec::new(), Vec::new());
        let soon = now.saturating_add(i64::from(self.options.days) * 86_400);
        for (number, ((rule, usage), names)) in self.policy.rules().iter().zip(&self.rules).zip(names).enumerate() {
            let (name, place) = (rule.name.to_string(), rule.place.to_string());
            // An unused rule needs no word about each of its patterns.
            let used = usage.used.ever();
            let id = RuleId(u32::try_from(number).unwrap_or(u32::MAX));
            let mut told = HashSet::new();
            for item in self.policy.listed(id).filter(|item| used && item.pattern) {
                let names = matched.get(&(id, item.text.clone())).map_or(&[][..], Vec::as_slice);
                if names.len() <= self.options.few && told.insert(item.text.clone()) {
                    let names = names.iter().map(|&name| name.to_owned()).collect();
                    let place = item.place.to_string();
                    patterns.push(PatternUse { rule: name.clone(), pattern: item.text, place, names });
                }
            }
            if let Some(last) = rule.expires.filter(|&last| last <= soon) {
                expiring.push((
                    last,
                    Expiring {
                        rule: name.clone(),
                        place: place.clone(),
                        expires: rfc3339(last),
                        expired: rule.expired(now),
                        connections: usage.used.connections(),
                        after: usage.expired.connections(),
                    },
                ));
            }
            let owner = rule.owner.as_deref().map(str::to_owned);
            rules.push(RuleUse { rule: name, place, action: rule.action.label(), owner, names, seen: usage.used });
        }
        expiring.sort_by_key(|(last, _)| *last);
        let (refused, refused_more) = self.top();
        let expiring = expiring.into_iter().map(|(_, one)| one).collect();
        Report { looked_at, since, beyond, rules, patterns, expiring, refused, refused_more }
    }

    /// The most frequent refusals, and how many connections the others were.
    fn top(&self) -> (Vec<Refusal>, u64) {
        let refusal = |(&(client, name, reason), &seen): (&(IpAddr, Option<u32>, &'static str), &Seen)| {
            let host = name.and_then(|name| self.names.get(name)).map(|name| name.as_str().to_owned());
            Refusal { client, host, reason, seen }
        };
        let mut all: Vec<Refusal> = self.refused.iter().map(refusal).collect();
        all.sort_by(|a, b| {
            let key = |refusal: &Refusal| (refusal.client, refusal.host.clone(), refusal.reason);
            b.seen.connections().cmp(&a.seen.connections()).then_with(|| key(a).cmp(&key(b)))
        });
        let more = all.iter().skip(self.options.top).map(|refusal| refusal.seen.connections()).sum();
        all.truncate(self.options.top);
        (all, more)
    }
}

/// Counts under a key; `false` when it is new and there is no room.
fn count<K: std::hash::Hash + Eq>(map: &mut Map<K, Seen>, key: K, record: &Record<'_>, most: usize) -> bool {
    if let Some(seen) = map.get_mut(&key) {
        seen.add(record);
        return true;
    }
    if map.len() >= most {
        return false;
    }
    map.entry(key).or_insert(Seen::NEVER).add(record);
    true
}
