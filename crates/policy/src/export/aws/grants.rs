//! What the rules permit, by resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::document::nearest;
use crate::export::aws::resource::{Partition, Resource, Target, spell, target};
use crate::export::aws::words::BucketName;
use crate::export::aws::{ExportError, Scope};
use crate::index::Shape;
use crate::load::overlap;
use crate::policy::{Listed, Policy};
use crate::rule::{Access, Action, Mode, RuleId, RuleInfo};

/// A bucket that no rule names and that is permitted all the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Extra {
    /// The bucket.
    pub bucket: BucketName,
    /// What for.
    pub access: BTreeSet<Access>,
    /// Whether somebody else than [`Scope::accounts`] owns it, as AWS owns the buckets of its agents and packages.
    pub foreign: bool,
}

/// One resource and what it may be used for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) access: BTreeSet<Access>,
    /// The rules that list it; none for an extra.
    pub(super) rules: BTreeSet<Arc<str>>,
    /// Whether its owner is nobody that the scope names.
    pub(super) foreign: bool,
}

/// All of one partition.
#[derive(Debug)]
pub(super) struct Grants {
    pub(super) partition: Partition,
    pub(super) all: BTreeMap<Resource, Grant>,
    /// Buckets that deny rules cut out of one account's wildcard.
    pub(super) cut: BTreeSet<String>,
    pub(super) notes: Vec<String>,
}

/// Reads the rules of the scope.
pub(super) fn collect(policy: &Policy, scope: &Scope) -> Result<Grants, ExportError> {
    let names = || policy.rules.iter().map(|rule| &*rule.name);
    for wanted in &scope.rules {
        if !names().any(|name| name == wanted) {
            return Err(ExportError::UnknownRule(wanted.clone(), nearest(wanted, names()).map(str::to_owned)));
        }
    }
    let mut found: BTreeMap<(Option<Partition>, Resource), Grant> = BTreeMap::new();
    let mut notes = Vec::new();
    if policy.mode == Mode::Audit {
        notes.push("the policy is under audit: the gate lets through what AWS will refuse by this export".to_owned());
    }
    for (id, rule, listed) in in_force(policy, scope) {
        let (shape, text) = policy.index.entry(listed.entry);
        let note = |what: &str, why: &str| format!("rule `{}`: `{what}` {why}", rule.name.escape_debug());
        match target(shape, text) {
            Target::Foreign => {}
            _ if shut(policy, id, rule, shape, text) => {}
            Target::Beyond(why) => notes.push(note(&spell(shape, text), why)),
            Target::Named { resource, partition, also } => {
                if let Some(why) = also {
                    let [arn, _] = resource.arns(partition.unwrap_or(Partition::Aws));
                    notes.push(note(&arn, why));
                }
                let grant =
                    found.entry((partition, resource)).or_insert_with(|| Grant { foreign: true, ..Grant::default() });
                // A built-in set's buckets are AWS's own, and there to be read.
                grant.foreign &= rule.set.is_some();
                grant.access.extend(if rule.set.is_some() { &[Access::Read][..] } else { &rule.access });
                grant.rules.insert(Arc::clone(&rule.name));
            }
        }
    }
    let (partition, mut all) = one_partition(found, scope.partition)?;
    for extra in &scope.also {
        let grant = all.entry(Resource::Bucket(extra.bucket.to_string()));
        let grant = grant.or_insert_with(|| Grant { foreign: true, ..Grant::default() });
        // What a rule lists for itself is not foreign, whoever asks for it besides.
        grant.foreign &= extra.foreign;
        grant.access.extend(&extra.access);
    }
    if all.is_empty() {
        return Err(ExportError::Nothing);
    }
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    let cut = cut_out(policy, scope, &all);
    Ok(Grants { partition, all, cut, notes })
}

/// The buckets of an account that its wildcard covers and that deny rules before it shut, by every name that it has.
fn cut_out(policy: &Policy, scope: &Scope, all: &BTreeMap<Resource, Grant>) -> BTreeSet<String> {
    let denying = policy.rules.iter().zip(&policy.listed).filter(|(rule, _)| rule.action == Action::Deny);
    let denied = denying.flat_map(|(_, listed)| listed.iter()).filter_map(|listed| {
        let (shape, text) = policy.index.entry(listed.entry);
        match target(shape, text) {
            Target::Named { resource: Resource::Bucket(bucket), .. } => Some(bucket),
            _ => None,
        }
    });
    let denied: BTreeSet<String> =
        denied.filter(|bucket| !all.contains_key(&Resource::Bucket(bucket.clone()))).collect();
    let wild: Vec<_> = in_force(policy, scope)
        .filter_map(|(id, rule, listed)| match policy.index.entry(listed.entry) {
            (Shape::Ending, text) => text.split_once('.').map(|(ending, tail)| (id, rule, ending, tail)),
            _ => None,
        })
        .collect();
    let cut = |bucket: &String| {
        let mut over = wild.iter().filter(|(_, _, ending, _)| crate::index::ending(bucket) == Some(ending)).peekable();
        over.peek().is_some()
            && over.all(|&(id, rule, _, tail)| shut(policy, id, rule, Shape::Exact, &format!("{bucket}.{tail}")))
    };
    denied.into_iter().filter(cut).collect()
}

/// What the allow rules list that are in force and in the scope.
fn in_force<'p>(policy: &'p Policy, scope: &'p Scope) -> impl Iterator<Item = (u32, &'p RuleInfo, &'p Listed)> {
    let wanted = |rule: &RuleInfo| scope.rules.is_empty() || scope.rules.iter().any(|name| *name == *rule.name);
    let rules = (0..).zip(policy.rules.iter().zip(&policy.listed));
    rules
        .filter(move |(_, (rule, _))| rule.action == Action::Allow && !rule.expired(scope.now) && wanted(rule))
        .flat_map(|(id, (rule, listed))| listed.iter().map(move |listed| (id, rule, listed)))
}

/// Whether an earlier deny rule takes the name from everybody to whom this rule would give it.
fn shut(policy: &Policy, id: u32, rule: &RuleInfo, shape: Shape, text: &str) -> bool {
    let earlier = policy.index.covering(shape, text).flatten().filter(|&&other| other < id);
    earlier
        .filter_map(|&other| policy.rule(RuleId(other)))
        .any(|other| (other.action, other.mode) == (Action::Deny, Mode::Enforce) && overlap::covers(other, rule))
}

/// Settles names that could be of two partitions by what else is listed, and keeps the one partition that is asked for.
fn one_partition(
    found: BTreeMap<(Option<Partition>, Resource), Grant>,
    wanted: Option<Partition>,
) -> Result<(Partition, BTreeMap<Resource, Grant>), ExportError> {
    let mut by_partition: BTreeMap<Partition, BTreeMap<Resource, Grant>> = BTreeMap::new();
    let mut add = |partition, resource, grant: Grant| {
        let known = by_partition.entry(partition).or_default().entry(resource);
        let known = known.or_insert_with(|| Grant { foreign: true, ..Grant::default() });
        known.foreign &= grant.foreign;
        known.access.extend(grant.access);
        known.rules.extend(grant.rules);
    };
    let mut unsettled = Vec::new();
    let mut homes: BTreeMap<Resource, Vec<Partition>> = BTreeMap::new();
    for ((partition, resource), grant) in found {
        match partition {
            Some(partition) => {
                homes.entry(resource.clone()).or_default().push(partition);
                add(partition, resource, grant);
            }
            None => unsettled.push((resource, grant)),
        }
    }
    for (resource, grant) in unsettled {
        // A bucket's global name, beside its name in a region.
        for home in homes.get(&resource).map_or(&[Partition::Aws][..], Vec::as_slice) {
            add(*home, resource.clone(), grant.clone());
        }
    }
    let partition = match wanted {
        Some(wanted) => wanted,
        None if by_partition.len() > 1 => {
            return Err(ExportError::SeveralPartitions(by_partition.into_keys().collect()));
        }
        None => by_partition.keys().next().copied().unwrap_or(Partition::Aws),
    };
    Ok((partition, by_partition.remove(&partition).unwrap_or_default()))
}
