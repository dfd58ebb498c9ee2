//! What an ordered set of rules does with every (protocol, port), client and time: a step function of a step function of
//! a step function, with equal neighbours merged, so that equal functions are equal values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{At, Outcome, Space, address, bounds};
use crate::policy::Policy;
use crate::rule::{Decision, Ech, Protocol, Reason, RuleId, Upstream};

/// Outcomes by time, each with the last second in which it holds; the last one holds for ever.
pub(crate) type Times = Vec<(i64, u32)>;

/// [`Times`] by client, each from a first address on. IPv4 and IPv6 have a first entry of their own.
pub(crate) type Clients = Vec<(At, u32)>;

/// [`Clients`] by protocol and port, sorted.
pub(crate) type Ports = Vec<((Protocol, u16), u32)>;

/// [`Ports`] by VPC endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Behaviour {
    /// What holds on every port that is not in `ports`.
    pub(crate) rest: u32,
    /// The ports on which something else holds.
    pub(crate) ports: Ports,
    /// The endpoints through which something else holds, sorted, each with the ports on which it does.
    pub(crate) endpoints: Vec<(Box<str>, Ports)>,
}

impl Behaviour {
    /// What holds on a port through an endpoint, or through none.
    pub(crate) fn on(&self, endpoint: Option<&str>, port: (Protocol, u16)) -> u32 {
        let find = |ports: &Ports| {
            let at = ports.binary_search_by_key(&port, |(port, _)| *port).ok()?;
            ports.get(at).map(|(_, clients)| *clients)
        };
        let own = endpoint.and_then(|endpoint| self.endpoints.iter().find(|(id, _)| **id == *endpoint));
        own.and_then(|(_, ports)| find(ports)).or_else(|| find(&self.ports)).unwrap_or(self.rest)
    }
}

/// The first of the IPv6 addresses, where another family begins.
const V6: At = (true, 0);
/// The first place after the IPv4 addresses.
const V4_END: u128 = 1 << 32;

impl Space {
    /// The id of what some rules do together; they come in ascending order.
    pub(crate) fn behaviour(&mut self, policy: &Policy, rules: &[u32]) -> u32 {
        let rest = self.clients(policy, &[]);
        // Most ports have the same rules.
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut ports = self.ports(policy, rules, None, &mut known);
        ports.retain(|(_, clients)| *clients != rest);
        let mut behaviour = Behaviour { rest, ports, endpoints: Vec::new() };
        let named = rules.iter().filter_map(|&id| policy.rules.get(id as usize)?.vpc_endpoints.as_ref());
        for endpoint in named.flatten().collect::<BTreeSet<_>>() {
            let mut own = self.ports(policy, rules, Some(endpoint), &mut known);
            own.retain(|(port, clients)| *clients != behaviour.on(None, *port));
            if !own.is_empty() {
                behaviour.endpoints.push((endpoint.clone(), own));
            }
        }
        self.behaviours.id(behaviour)
    }

    /// What rules do on each port that some of them cover, through an endpoint or through none.
    fn ports(
        &mut self,
        policy: &Policy,
        rules: &[u32],
        endpoint: Option<&str>,
        known: &mut HashMap<Vec<u32>, u32>,
    ) -> Ports {
        let mut by_port: BTreeMap<(Protocol, u16), Vec<u32>> = BTreeMap::new();
        for &id in rules {
            let Some(rule) = policy.rules.get(id as usize).filter(|rule| rule.admits_vpce(endpoint)) else { continue };
            for &protocol in &rule.protocols {
                let own = [protocol.default_port()];
                for &port in rule.ports.as_deref().unwrap_or(&own) {
                    by_port.entry((protocol, port)).or_default().push(id);
                }
            }
        }
        let mut ports = Ports::new();
        for (port, rules) in by_port {
            let clients = if let Some(&clients) = known.get(&rules) {
                clients
            } else {
                let clients = self.clients(policy, &rules);
                known.insert(rules, clients);
                clients
            };
            ports.push((port, clients));
        }
        ports
    }

    /// What rules do on a port that all of them cover.
    fn clients(&mut self, policy: &Policy, rules: &[u32]) -> u32 {
        let mut active = BTreeSet::new();
        // Rules that begin to hold (true) or end at a place; ends first, for one that ends where its own next one begins.
        let mut events: Vec<(At, bool, u32)> = Vec::new();
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
                events.push((start, true, id));
                events.extend(end.filter(|&(v6, at)| v6 || at < V4_END).map(|end| (end, false, id)));
            }
        }
        events.sort_unstable();
        let mut steps: Clients = Vec::new();
        let mut rest = events.as_slice();
        for start in [(false, 0), V6] {
            let (family, others) = rest.split_at(rest.partition_point(|(at, ..)| at.0 == start.0));
            rest = others;
            if start == V6 {
                // No IPv4 network goes on here, though its last address may be the last of all.
                active.retain(|id| policy.rules.get(*id as usize).is_some_and(|rule| rule.clients.is_none()));
            }
            let first = self.times(policy, active.iter().copied());
            steps.push((start, first));
            for here in family.chunk_by(|(a, ..), (b, ..)| a == b) {
                for &(_, begins, id) in here {
                    if begins {
                        active.insert(id)
                    } else {
                        active.remove(&id)
                    };
                }
                let Some(&(at, ..)) = here.first() else { continue };
                let times = self.times(policy, active.iter().copied());
                match steps.last_mut() {
                    // A family's first place may be where a network begins, too.
                    Some(last) if last.0 == at => last.1 = times,
                    Some(last) if last.1 == times => {}
                    _ => steps.push((at, times)),
                }
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
                push(end, self.outcomes.id(policy.outcome_of(policy.by_rule(RuleId(id), rule, false))));
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
        let through = behaviour.endpoints.iter().map(|(id, ports)| (Some(id), ports));
        for (endpoint, ports) in std::iter::once((None, &behaviour.ports)).chain(through) {
            if let Some(endpoint) = endpoint {
                hash.update(format!("through {endpoint}\n"));
            }
            for &((protocol, port), clients) in ports {
                hash.update(format!("{} {port}\n", protocol.label()));
                hash.update(self.fingerprint_of(clients, known));
            }
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
    if outcome.ech != Ech::Allow {
        let _ = write!(text, " ech {}", outcome.ech.label());
    }
    if let Some(mode) = outcome.on_mismatch {
        let _ = write!(text, " mismatch {}", mode.label());
    }
    text.push_str(if outcome.lenient { " lenient\n" } else { "\n" });
}
