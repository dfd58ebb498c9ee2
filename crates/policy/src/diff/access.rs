//! Where only the `access` of rules changes: nothing to the gate, but AWS's own policies that are made from the rules differ.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::index::Shape;
use crate::policy::Policy;
use crate::rule::{Access, Action, RuleId, RuleInfo};

/// A rule that permits another access than the policy before did to the same names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccessChange {
    /// The rule's name after the change.
    pub rule: String,
    /// What was permitted, sorted.
    pub before: Vec<Access>,
    /// What is permitted, sorted.
    pub after: Vec<Access>,
}

/// For whom, through what, and until when.
type Conditions<'p> = (Option<&'p [IpNet]>, Option<&'p [Box<str>]>, Option<i64>);
/// What is permitted to a name by rules of the same conditions.
type Permitted<'p> = BTreeMap<Conditions<'p>, BTreeSet<Access>>;

/// What differs, in the order of the new rules. Names are compared, so that a rule may have been renamed, moved or split.
pub(super) fn differing(old: &Policy, new: &Policy) -> Vec<AccessChange> {
    let narrowed = |policy: &Policy| policy.rules.iter().any(|rule| rule.access.len() < Access::ALL.len());
    if !narrowed(old) && !narrowed(new) {
        return Vec::new();
    }
    let (was, is) = (permitted(old), permitted(new));
    let mut found: Vec<AccessChange> = Vec::new();
    for (rule, name) in listed(new) {
        let (Some(was), Some(is)) = (was.get(&name), is.get(&name)) else { continue };
        // By the same conditions where there were such; else by any.
        let key = conditions(rule);
        let (before, after) = match (was.get(&key), is.get(&key)) {
            (Some(before), Some(after)) => (before.clone(), after.clone()),
            _ => (was.values().flatten().copied().collect(), is.values().flatten().copied().collect()),
        };
        let change = AccessChange {
            rule: rule.name.to_string(),
            before: before.iter().copied().collect(),
            after: after.iter().copied().collect(),
        };
        // The names of one rule stand together.
        if before != after && found.last() != Some(&change) {
            found.push(change);
        }
    }
    found
}

fn conditions(rule: &RuleInfo) -> Conditions<'_> {
    (rule.clients.as_deref(), rule.vpc_endpoints.as_deref(), rule.expires)
}

fn permitted(policy: &Policy) -> BTreeMap<(Shape, &str), Permitted<'_>> {
    let mut all: BTreeMap<(Shape, &str), Permitted<'_>> = BTreeMap::new();
    for (rule, name) in listed(policy) {
        all.entry(name).or_default().entry(conditions(rule)).or_default().extend(rule.access.iter().copied());
    }
    all
}

/// What allow rules list, in order.
fn listed(policy: &Policy) -> impl Iterator<Item = (&RuleInfo, (Shape, &str))> {
    let rules = (0..).map(RuleId).zip(&policy.listed).filter_map(|(id, listed)| Some((policy.rule(id)?, listed)));
    rules
        .filter(|(rule, _)| rule.action == Action::Allow)
        .flat_map(move |(rule, listed)| listed.iter().map(move |listed| (rule, policy.index.entry(listed.entry))))
}
