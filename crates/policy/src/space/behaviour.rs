//! What an ordered set of rules does with every (protocol, port), client and time: a step function of a step function of
//! a step function, with equal neighbours merged, so that equal functions are equal values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{At, Outcome, Space, address, bounds};
use crate::policy::Policy;
use crate::rule::{Decision, Protocol, Reason, RuleId, Upstream};

/// Outcomes by time, each with the last second in which it holds; the last one holds for ever.
pub(crate) type Times = Vec<(i64, u32)>;

/// [`Times`] by client, each from a first address on. IPv4 and IPv6 have a first entry of their own.
pub(crate) type Clients = Vec<(At, u32)>;

/// [`Clients`] by protocol and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Behaviour {
    /// What holds on every port that is not in `ports`.
    pub(crate) rest: u32,
    /// The ports on which something else holds, sorted.
    pub(crate) ports: Vec<((Protocol, u16), u32)>,
}

/// The first of the IPv6 addresses, where another family begins.
const V6: At = (true, 0);
/// The first place after the IPv4 addresses.
const V4_END: u128 = 1 << 32;

impl Space {
    /// The id of what some rules do together; they come in ascending order.
    pub(crate) fn behaviour(&mut self, policy: &Policy, rules: &[u32]) -> u32 {
        let rest = self.clients(policy, &[]);
        let mut by_port: BTreeMap<(Protocol, u16), Vec<u32>> = BTreeMap::new();
        for &id in rules {
            let Some(rule) = policy.rules.get(id as usize) else { continue };
            for &protocol in &rule.protocols {
                let own = [protocol.default_port()];
                for &port in rule.ports.as_deref().unwrap_or(&own) {
                    by_port.entry((protocol, port)).or_default().push(id);
                }
            }
        }
        // Most ports have the same rules.
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut ports = Vec::new();
        for (port, rules) in by_port {
            let clients = if let Some(&clients) = known.get(&rules) {
                clients
            } else {
                let clients = self.clients(policy, &rules);
                known.insert(rules, clients);
                clients
            };
            if clients != rest {
                ports.push((port, clients));
            }
        }
        self.behaviours.id(Behaviour { rest, ports })
    }

    /// What rules do on a port that all of them cover.
    fn clients(&mut self, policy: &Policy, rules: &[u32]) -> u32 {
        let mut active = BTreeSet::new();
        // What happens at each place: rules that begin to hold, and those that end.
        let mut events: BTreeMap<At, Vec<(u32, bool)>> = BTreeMap::from([((false, 0), Vec::new()), (V6, Vec::new())]);
        for &id in rules {
            let Some(rule) = policy.rules.get(id as usize) else { continue };
            let Some(nets) = &rule.clients else {
                active.insert(id);
                if rule.expires.is_none() {
                    break;
                }
                continue;
            };
            for (start, end) in nets.iter().filter_map(bounds) {
                events.entry(start).or_default().push((id, true));
                if let Some(end) = end {
                    events.entry(end).or_default().push((id, false));
                }
            }
        }
        let mut steps: Clients = Vec::new();
        for (at, mut changes) in events {
            // A network that ends where the same rule's next one begins.
            changes.sort_by_key(|&(_, begins)| begins);
            for (id, begins) in changes {
                if begins {
                    active.insert(id)
                } else {
                    active.remove(&id)
                };
            }
            if !at.0 && at.1 >= V4_END {
                continue;
            }
            let times = self.times(policy, active.iter().copied());
            if at == V6 || steps.last().is_none_or(|(_, last)| *last != times) {
                steps.push((at, times));
            }
        }
        self.clients.id(steps)
    }

    /// What rules do for a client and a port that all of them cover.
    fn times(&mut self, policy: &Policy, rules: impl Iterator<Item = u32>) -> u32 {
        let mut steps: Times = Vec::new();
        let mut first = None;
        let mut push = |until: i64, outcome: u32| match steps.last_mut() {
            Some(last) if last.1 == outcome => last.0 = until,
            _ => steps.push((until, outcome)),
        };
        let mut until: Option<i64> = None;
        let mut open = true;
        for id in rules {
            let Some(rule) = policy.rules.get(id as usize) else { continue };
            first.get_or_insert(id);
            let end = rule.expires.unwrap_or(i64::MAX);
            if until.is_none_or(|until| end > until) {
                push(end, self.outcomes.id(policy.outcome_of(policy.by_rule(RuleId(id), rule))));
                until = Some(end);
            }
            if rule.expires.is_none() {
                open = false;
                break;
            }
        }
        if open {
            let reason = if first.is_some() { Reason::RuleExpired } else { Reason::NoRule };
            let decision: Decision = policy.refusal(first.map(RuleId), reason);
            push(i64::MAX, self.outcomes.id(policy.outcome_of(decision)));
        }
        self.times.id(steps)
    }

    /// A behaviour as 32 bytes that no other behaviour has.
    pub(super) fn fingerprint(&self, behaviour: u32, known: &mut HashMap<u32, [u8; 32]>) -> [u8; 32] {
        let Some(behaviour) = self.behaviours.get(behaviour) else { return [0; 32] };
        let mut hash = Sha256::new();
        hash.update(self.fingerprint_of(behaviour.rest, known));
        for &((protocol, port), clients) in &behaviour.ports {
            hash.update(format!("{} {port}\n", protocol.label()));
            hash.update(self.fingerprint_of(clients, known));
        }
        hash.finalize().into()
    }

    fn fingerprint_of(&self, clients: u32, known: &mut HashMap<u32, [u8; 32]>) -> [u8; 32] {
        if let Some(found) = known.get(&clients) {
            return *found;
        }
        let mut hash = Sha256::new();
        let mut text = String::new();
        for &(from, times) in self.clients.get(clients).iter().flat_map(|steps| steps.iter()) {
            text.clear();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "from {}", address(from));
            for &(until, outcome) in self.times.get(times).iter().flat_map(|steps| steps.iter()) {
                let _ = write!(text, "until {until} ");
                if let Some(outcome) = self.outcomes.get(outcome) {
                    write_outcome(&mut text, &outcome);
                }
            }
            hash.update(&text);
        }
        let fingerprint = hash.finalize().into();
        known.insert(clients, fingerprint);
        fingerprint
    }
}

fn write_outcome(text: &mut String, outcome: &Outcome) {
    text.push_str(outcome.verdict.label());
    if let Some(reason) = outcome.reason {
        let _ = write!(text, " {}", reason.label());
    }
    match &outcome.upstream {
        None => {}
        Some(Upstream::Public) => text.push_str(" public"),
        Some(Upstream::Any) => text.push_str(" any"),
        Some(Upstream::Only(nets)) => {
            for net in nets {
                let _ = write!(text, " {net}");
            }
        }
    }
    text.push_str(if outcome.lenient { " lenient\n" } else { "\n" });
}
