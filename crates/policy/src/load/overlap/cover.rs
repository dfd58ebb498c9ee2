//! Rules' conditions besides names: whether some hold wherever another does.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::rule::{Protocol, RuleInfo, last_at};
use crate::space::{At, address, bounds};

/// Of rules in ascending order those that are needed to hold under every condition of `later` for as long as it is
/// valid: one if one does, several if only together they do, `None` if they don't. Several are compared only while the budget lasts.
pub(super) fn by(rules: &[(u32, &RuleInfo)], later: &RuleInfo, budget: &mut u64) -> Option<Vec<u32>> {
    if let Some((id, _)) = rules.iter().find(|(_, rule)| alone(rule, later)) {
        return Some(vec![*id]);
    }
    // For each client one rule must last as long as this one does.
    let could: Vec<_> = rules.iter().copied().filter(|(_, rule)| lasts(rule, later) && touch(rule, later)).collect();
    let mut needed = BTreeSet::new();
    // Whatever holds through no endpoint holds through each.
    let endpoints = later.vpc_endpoints.as_ref().map_or(vec![None], |ids| ids.iter().map(|id| Some(&**id)).collect());
    for endpoint in endpoints {
        let could: Vec<_> = could.iter().copied().filter(|(_, rule)| rule.admits_vpce(endpoint)).collect();
        needed.extend(through(&could, later, budget)?);
    }
    (!needed.is_empty()).then(|| needed.into_iter().collect())
}

/// The same of rules that all hold through the endpoint that is looked at.
fn through(could: &[(u32, &RuleInfo)], later: &RuleInfo, budget: &mut u64) -> Option<BTreeSet<u32>> {
    let mut needed = BTreeSet::new();
    let mut last: Option<Vec<(u32, &RuleInfo)>> = None;
    for port in ports(later) {
        *budget = budget.checked_sub(could.len() as u64)?;
        let here: Vec<_> = could.iter().copied().filter(|(_, rule)| holds(rule, port)).collect();
        // Most ports have the same rules.
        if last.as_ref().is_some_and(|last| last.iter().map(|(id, _)| id).eq(here.iter().map(|(id, _)| id))) {
            continue;
        }
        let networks: usize = here.iter().map(|(_, rule)| rule.clients.as_ref().map_or(1, |nets| nets.len())).sum();
        let own = later.clients.as_ref().map_or(2, |nets| nets.len());
        let work = (networks as u64 * 2 + own as u64) * here.len() as u64;
        *budget = budget.checked_sub(work)?;
        for client in begins(&here, later).into_iter().map(address) {
            if later.admits_client(client) {
                needed.insert(here.iter().find(|(_, rule)| rule.admits_client(client))?.0);
            }
        }
        last = Some(here);
    }
    Some(needed)
}

/// The places from which on rules may hold, or not hold, for other clients than before.
fn begins(rules: &[(u32, &RuleInfo)], later: &RuleInfo) -> BTreeSet<At> {
    let mut all = BTreeSet::from([(false, 0), (true, 0)]);
    let nets = rules.iter().map(|(_, rule)| *rule).chain([later]).filter_map(|rule| rule.clients.as_ref());
    for (start, end) in nets.flat_map(|nets| nets.iter()).filter_map(bounds) {
        all.insert(start);
        all.extend(end.filter(|&(v6, at)| v6 || u32::try_from(at).is_ok()));
    }
    all
}

/// Whether `earlier` holds under every condition of `later`, names aside, for as long as `later` is valid.
pub(crate) fn alone(earlier: &RuleInfo, later: &RuleInfo) -> bool {
    let clients = match (&earlier.clients, &later.clients) {
        (None, _) => true,
        (Some(_), None) => false,
        // Both are merged, so a network that is covered lies within one other.
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|net| last_at(wide, net.network()).is_some_and(|w| w.contains(net)))
        }
    };
    let endpoints = match (&earlier.vpc_endpoints, &later.vpc_endpoints) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.iter().all(|id| wide.contains(id)),
    };
    clients && endpoints && lasts(earlier, later) && ports(later).all(|port| holds(earlier, port))
}

/// Whether there is a request, names aside, for which both hold.
pub(super) fn meet(one: &RuleInfo, other: &RuleInfo) -> bool {
    touch(one, other) && ports(one).any(|port| holds(other, port))
}

/// Whether two rules have a client in common, by a way that both take.
fn touch(one: &RuleInfo, other: &RuleInfo) -> bool {
    if let (Some(one), Some(other)) = (&one.vpc_endpoints, &other.vpc_endpoints)
        && !one.iter().any(|id| other.contains(id))
    {
        return false;
    }
    let inside = |net: &IpNet, nets: &[IpNet]| last_at(nets, net.network()).is_some_and(|wide| wide.contains(net));
    match (&one.clients, &other.clients) {
        (Some(one), Some(other)) => {
            one.iter().any(|net| inside(net, other)) || other.iter().any(|net| inside(net, one))
        }
        _ => true,
    }
}

/// Whether `earlier` is valid as long as `later` is.
fn lasts(earlier: &RuleInfo, later: &RuleInfo) -> bool {
    earlier.expires.unwrap_or(i64::MAX) >= later.expires.unwrap_or(i64::MAX)
}

fn holds(rule: &RuleInfo, (protocol, port): (Protocol, u16)) -> bool {
    rule.protocols.contains(&protocol) && rule.admits_port(protocol, port)
}

/// The protocols of a rule with their ports, sorted.
pub(super) fn ports(rule: &RuleInfo) -> impl Iterator<Item = (Protocol, u16)> {
    rule.protocols.iter().flat_map(|&protocol| {
        let own = rule.ports.is_none().then_some(protocol.default_port());
        rule.ports.iter().flatten().copied().chain(own).map(move |port| (protocol, port))
    })
}
