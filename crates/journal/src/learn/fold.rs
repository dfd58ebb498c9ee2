//! From what was seen to rules: names to buckets, clients to networks, and what the same clients ask for to one rule.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;
use sekisho_name::Name;
use sekisho_policy::{Action, Policy, Protocol, S3Name, s3_name, s3_names};

use crate::learn::rules::{Learned, LearnedBucket, LearnedHost, LearnedRule, ListedPairs, SetAside, Upstreams};
use crate::learn::{AsideKey, Learner, Options, Sighting, Target, first, yaml};
use crate::tally::Seen;
use crate::words;

/// What one entry of a rule is to allow.
struct Unit {
    what: What,
    protocol: Protocol,
    port: u16,
    /// The names that were asked for.
    names: BTreeSet<Name>,
    clients: BTreeMap<IpAddr, Seen>,
    private: BTreeSet<IpAddr>,
    others: bool,
    expired: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Bucket { bucket: String, region: String, endpoints: BTreeSet<&'static str> },
    Host { name: Name, note: Option<&'static str> },
}

/// A bucket, as far as its names say which: the port belongs to it because a rule has one set of ports.
type BucketKey = (Protocol, u16, &'static str, String);
/// One name of a bucket: its region, if it says one, its form, and itself.
type BucketName = (Option<String>, &'static str, Unit);

pub(super) fn learned(mut learner: Learner<'_>) -> Learned {
    let mut seen: Vec<(Target, Sighting)> = learner.seen.drain().collect();
    seen.sort_unstable_by(|(a, _), (b, _)| {
        let key = |target: &Target| (learner.names.get(target.name), target.protocol, target.port);
        key(a).cmp(&key(b))
    });
    let mut sorted =
        Sorted { options: learner.options, units: Vec::new(), buckets: BTreeMap::new(), aside: Vec::new() };
    let mut allowed_already = learner.allowed_through.connections();
    for (target, sighting) in seen {
        let Some(name) = learner.names.get(target.name) else { continue };
        let (mut clients, mut denied) = (BTreeMap::new(), Vec::new());
        for (&client, &seen) in &sighting.clients {
            match learner.settled(target, client, None) {
                Some(Action::Allow) => allowed_already += seen.connections(),
                Some(Action::Deny) => denied.push(seen),
                None => {
                    clients.insert(client, seen);
                }
            }
        }
        if !denied.is_empty() {
            let (why, change) = words::remedy("denied_by_rule");
            sorted.aside.push(set_aside(Some(name), why, change, &denied));
        }
        if !clients.is_empty() {
            sorted.put(Unit {
                what: What::Host { name: name.clone(), note: None },
                protocol: target.protocol,
                port: target.port,
                names: BTreeSet::from([name.clone()]),
                clients,
                private: sighting.private,
                others: sighting.others,
                expired: sighting.expired,
            });
        }
    }
    let (units, mut aside) = sorted.folded();
    for (AsideKey { reason, change, name, rule }, (seen, clients)) in learner.aside {
        let host = name.and_then(|name| learner.names.get(name)).map(|name| name.as_str().to_owned());
        let (why, change, rule) = (reason.to_owned(), change.to_owned(), rule.map(String::from));
        aside.push(SetAside { host, why, rule, change, clients: clients.len(), seen });
    }
    aside.sort_by(|a, b| {
        let key = |aside: &SetAside| (aside.host.clone(), aside.why.clone(), aside.rule.clone(), aside.change.clone());
        b.seen.connections().cmp(&a.seen.connections()).then_with(|| key(a).cmp(&key(b)))
    });
    let listed = units.iter().flat_map(pairs).collect();
    let there = learner.policy.map_or(&[][..], |(policy, _)| policy.rules());
    let taken = there.iter().map(|rule| rule.name.to_string()).collect();
    let rules = grouped(units, learner.options, taken);
    let rounded = learner.options.round_v4.is_some() || learner.options.round_v6.is_some();
    Learned { looked_at: learner.all, rules, aside, allowed_already, beyond: learner.beyond, rounded, listed }
}

/// Names by what they can be in a rule.
struct Sorted {
    options: Options,
    units: Vec<Unit>,
    buckets: BTreeMap<BucketKey, Vec<BucketName>>,
    aside: Vec<SetAside>,
}

impl Sorted {
    /// Takes one host.
    fn put(&mut self, unit: Unit) {
        let Some(name) = unit.names.first().cloned() else { return };
        match s3_name(&name) {
            S3Name::Open => self.set_aside(&unit, "path_style", words::PATH_STYLE),
            S3Name::Dotted { .. } => self.set_aside(&unit, "dotted_bucket", words::DOTTED),
            S3Name::Bucket { endpoint: "website", .. } if unit.protocol == Protocol::Tls => {
                self.set_aside(&unit, "website", words::WEBSITE);
            }
            // Before buckets are folded: a name that no rule may list would take its whole bucket with it.
            _ if !self.passes(&unit) => {}
            S3Name::Bucket { bucket, region, endpoint, suffix } => {
                let key = (unit.protocol, unit.port, suffix, bucket.to_owned());
                self.buckets.entry(key).or_default().push((region.map(str::to_owned), endpoint, unit));
            }
            S3Name::Foreign | S3Name::Pinned => self.units.push(unit),
        }
    }

    /// All that can be in a rule, buckets as such; and what cannot.
    fn folded(mut self) -> (Vec<Unit>, Vec<SetAside>) {
        for ((_, _, _, bucket), names) in std::mem::take(&mut self.buckets) {
            for unit in folded(&bucket, names) {
                if self.passes(&unit) {
                    self.units.push(unit);
                }
            }
        }
        (self.units, self.aside)
    }

    /// Asks `check` about a rule with this one entry: what it refuses is no rule, however it came about, and goes aside.
    fn passes(&mut self, unit: &Unit) -> bool {
        let rules = grouped(vec![unit.copy()], self.options, HashSet::new());
        let Err(faults) = Policy::parse("learned.yaml", &yaml::policy(&rules), 0) else { return true };
        let (why, change) = match faults.iter().next() {
            Some(fault) if fault.code == "unknown-region" => ("unknown_region".to_owned(), words::REGION.to_owned()),
            Some(fault) => {
                let help = fault.help.as_deref().map(|help| format!("; {help}")).unwrap_or_default();
                (fault.code.replace('-', "_"), format!("{}{help}", fault.message))
            }
            None => <_>::default(),
        };
        self.set_aside(unit, &why, &change);
        false
    }

    fn set_aside(&mut self, unit: &Unit, why: &str, change: &str) {
        let seen: Vec<_> = unit.clients.values().copied().collect();
        self.aside.extend(unit.names.iter().map(|name| set_aside(Some(name), why, change, &seen)));
    }
}

fn set_aside(name: Option<&Name>, why: &str, change: &str, seen: &[Seen]) -> SetAside {
    let host = name.map(|name| name.as_str().to_owned());
    SetAside { host, why: why.to_owned(), rule: None, change: change.to_owned(), clients: seen.len(), seen: sum(seen) }
}

fn sum<'s>(all: impl IntoIterator<Item = &'s Seen>) -> Seen {
    let mut sum = Seen::NEVER;
    all.into_iter().for_each(|seen| sum.merge(*seen));
    sum
}

fn pairs(unit: &Unit) -> impl Iterator<Item = ListedPairs> {
    let clients: Vec<_> = unit.clients.keys().copied().collect();
    let (protocol, port) = (unit.protocol, unit.port);
    unit.names.iter().map(move |name| ListedPairs { name: name.clone(), protocol, port, clients: clients.clone() })
}

/// The names of one bucket by region. A name that says none goes where most of the others are; where all say none, it stays
/// a host, because a region would be a guess.
fn folded(bucket: &str, names: Vec<BucketName>) -> Vec<Unit> {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    for (region, _, unit) in &names {
        if let Some(region) = region {
            *weights.entry(region.clone()).or_default() += sum(unit.clients.values()).connections();
        }
    }
    // Of equals the first by name.
    let home = weights.iter().rev().max_by_key(|(_, weight)| **weight).map(|(region, _)| region.clone());
    let mut by_region: BTreeMap<String, Unit> = BTreeMap::new();
    let mut units = Vec::new();
    for (region, endpoint, mut unit) in names {
        let name = unit.names.first().cloned();
        let said = region.is_some();
        let Some((region, name)) = region.or_else(|| home.clone()).zip(name) else {
            units.push(noted(
                unit,
                "the name does not say the bucket's region; with it, this can be an entry of `buckets:`",
            ));
            continue;
        };
        // What the rule would list decides, not what the name looks like.
        if !s3_names(bucket, &region, endpoint).iter().any(|listed| *listed == name.as_str()) {
            units.push(if said { unit } else { noted(unit, "a name of a bucket that no entry of `buckets:` lists") });
            continue;
        }
        if let Some(whole) = by_region.get_mut(&region) {
            whole.join(unit, endpoint);
        } else {
            let endpoints = BTreeSet::from([endpoint]);
            unit.what = What::Bucket { bucket: bucket.to_owned(), region: region.clone(), endpoints };
            by_region.insert(region, unit);
        }
    }
    units.extend(by_region.into_values());
    units
}

fn noted(mut unit: Unit, text: &'static str) -> Unit {
    if let What::Host { note, .. } = &mut unit.what {
        *note = Some(text);
    }
    unit
}

impl Unit {
    fn join(&mut self, other: Self, endpoint: &'static str) {
        if let What::Bucket { endpoints, .. } = &mut self.what {
            endpoints.insert(endpoint);
        }
        self.names.extend(other.names);
        for (client, seen) in other.clients {
            self.clients.entry(client).or_insert(Seen::NEVER).merge(seen);
        }
        self.private.extend(other.private);
        self.others |= other.others;
        self.expired = first(self.expired.take(), other.expired);
    }

    /// The same for one client: what `check` says of an entry does not depend on who may use it.
    fn copy(&self) -> Self {
        Self {
            what: self.what.clone(),
            protocol: self.protocol,
            port: self.port,
            names: self.names.clone(),
            clients: self.clients.iter().take(1).map(|(&client, &seen)| (client, seen)).collect(),
            private: self.private.clone(),
            others: self.others,
            expired: None,
        }
    }

    fn upstream(&self) -> Upstreams {
        if self.private.is_empty() {
            Upstreams::Public
        } else if self.others {
            Upstreams::Any
        } else {
            Upstreams::Only(fewest(self.private.iter().map(|&address| IpNet::from(address))))
        }
    }
}

/// The fewest networks that hold exactly these, IPv4 first.
fn fewest(nets: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let mut nets = IpNet::aggregate(&nets.into_iter().collect());
    nets.sort_unstable();
    nets
}

fn networks<'c>(clients: impl IntoIterator<Item = &'c IpAddr>, options: Options) -> Vec<IpNet> {
    let net = |&client: &IpAddr| {
        let length = match client {
            IpAddr::V4(_) => options.round_v4.unwrap_or(32),
            IpAddr::V6(_) => options.round_v6.unwrap_or(128),
        };
        IpNet::new(client, length).map_or_else(|_| IpNet::from(client), |net| net.trunc())
    };
    fewest(clients.into_iter().map(net))
}

/// One rule for all that the same clients ask for in the same way.
fn grouped(units: Vec<Unit>, options: Options, mut taken: HashSet<String>) -> Vec<LearnedRule> {
    let mut groups: BTreeMap<(Vec<IpNet>, Protocol, u16, Upstreams), Vec<Unit>> = BTreeMap::new();
    for unit in units {
        let key = (networks(unit.clients.keys(), options), unit.protocol, unit.port, unit.upstream());
        groups.entry(key).or_default().push(unit);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, units) in &mut groups {
        units.sort_by(|a, b| a.what.cmp(&b.what));
    }
    // By what they list first; the key tells apart what lists the same under other conditions.
    groups.sort_by(|(a, x), (b, y)| {
        let first = |units: &[Unit]| units.first().map(|unit| unit.what.clone());
        first(x).cmp(&first(y)).then_with(|| a.cmp(b))
    });
    let rule = |((clients, protocol, port, upstream), units): ((Vec<IpNet>, Protocol, u16, Upstreams), Vec<Unit>)| {
        let mut all: BTreeSet<IpAddr> = BTreeSet::new();
        let (mut buckets, mut hosts, mut seen) = (Vec::new(), Vec::new(), Seen::NEVER);
        let name = named(&units, protocol, port, &mut taken);
        for unit in units {
            let own = sum(unit.clients.values());
            seen.merge(own);
            all.extend(unit.clients.keys());
            let expired = unit.expired.map(String::from);
            match unit.what {
                What::Bucket { bucket, region, endpoints } => {
                    let endpoints = endpoints.into_iter().collect();
                    buckets.push(LearnedBucket { bucket, region, endpoints, seen: own, expired });
                }
                What::Host { name, note } => {
                    hosts.push(LearnedHost { host: name.as_str().to_owned(), seen: own, expired, note });
                }
            }
        }
        let (protocol, clients_seen) = (protocol.label(), all.len());
        LearnedRule { name, protocol, port, clients, clients_seen, upstream, buckets, hosts, seen }
    };
    groups.into_iter().map(rule).collect()
}

/// A name of its own, made of what the rule lists first.
fn named(units: &[Unit], protocol: Protocol, port: u16, taken: &mut HashSet<String>) -> String {
    let first = match units.first().map(|unit| &unit.what) {
        Some(What::Bucket { bucket, .. }) => bucket.as_str(),
        Some(What::Host { name, .. }) => name.as_str(),
        None => "nothing",
    };
    // A rule's name has at most 200 characters, and these are ASCII.
    let mut name = first.get(..140).map_or_else(|| first.to_owned(), |start| format!("{start}..."));
    if units.len() > 1 {
        name = format!("{name} and {} more", units.len() - 1);
    }
    if protocol == Protocol::Http {
        name.push_str(" over http");
    }
    if port != protocol.default_port() {
        name = format!("{name} on port {port}");
    }
    let mut unique = name.clone();
    let mut number = 2;
    while !taken.insert(unique.clone()) {
        unique = format!("{name}, {number}");
        number += 1;
    }
    unique
}
