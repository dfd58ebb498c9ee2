//! The part of a request that is not its name: for which clients, ports, protocols and times two behaviours differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::rule::{Protocol, Request};
use crate::space::{At, Space, address, behaviour::Behaviour};

/// Requests, whatever their name: each of the ports from each of the clients throughout the time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conditions {
    /// Protocols with ranges of ports, both ends included, sorted.
    pub ports: Vec<(Protocol, u16, u16)>,
    /// Ranges of clients, both ends included, sorted; a v4-mapped address is its IPv4 address.
    pub clients: Vec<(IpAddr, IpAddr)>,
    /// The first Unix second, if there is one.
    pub from: Option<i64>,
    /// The last Unix second, if there is one.
    pub until: Option<i64>,
    /// The VPC endpoints that they come through.
    pub endpoints: Endpoints,
}

/// Through which VPC endpoints requests come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoints {
    /// Whatever they come through.
    #[default]
    Any,
    /// Through one of these.
    Only(Vec<Box<str>>),
    /// Through none, or through others than these.
    Except(Vec<Box<str>>),
}

impl Endpoints {
    fn hold(&self, vpce: Option<&str>) -> bool {
        let among = |ids: &[Box<str>]| vpce.is_some_and(|vpce| ids.iter().any(|id| **id == *vpce));
        match self {
            Self::Any => true,
            Self::Only(ids) => among(ids),
            Self::Except(ids) => !among(ids),
        }
    }

    /// One of them.
    pub fn witness(&self) -> Option<&str> {
        match self {
            Self::Only(ids) => ids.first().map(|id| &**id),
            Self::Any | Self::Except(_) => None,
        }
    }
}

impl Conditions {
    /// Whether a request, its name aside, is among them.
    pub fn hold(&self, request: &Request<'_>) -> bool {
        let client = request.client.to_canonical();
        let same = |ip: &IpAddr| ip.is_ipv4() == client.is_ipv4();
        let port = |&(protocol, from, to): &_| protocol == request.protocol && (from..=to).contains(&request.port);
        self.from.is_none_or(|from| from <= request.now)
            && self.until.is_none_or(|until| request.now <= until)
            && self.ports.iter().any(port)
            && self.clients.iter().any(|(from, to)| same(from) && *from <= client && client <= *to)
            && self.endpoints.hold(request.vpce)
    }

    /// The clients as networks; `None` when it is everybody.
    pub fn networks(&self) -> Option<Vec<IpNet>> {
        let networks = |&(from, to): &(IpAddr, IpAddr)| -> Vec<IpNet> {
            match (from, to) {
                (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4Subnets::new(from, to, 0).map(IpNet::V4).collect(),
                (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6Subnets::new(from, to, 0).map(IpNet::V6).collect(),
                _ => Vec::new(),
            }
        };
        let all: Vec<IpNet> = self.clients.iter().flat_map(networks).collect();
        let everybody = all.len() == 2 && all.iter().all(|net| net.prefix_len() == 0);
        (!everybody).then_some(all)
    }

    /// One request of them, with a name that the caller has.
    pub fn witness<'n>(&'n self, name: &'n sekisho_name::Name) -> Option<Request<'n>> {
        let (&(protocol, port, _), &(client, _)) = (self.ports.first()?, self.clients.first()?);
        let (now, vpce) = (self.from.or(self.until).unwrap_or(0), self.endpoints.witness());
        Some(Request { name, client, port, protocol, now, vpce, ech: false })
    }
}

type Ids = (u32, u32);
/// Whether through no endpoint, or through one that makes no difference, and through which of the others.
type Ways = (bool, Vec<Box<str>>);
type Ranges = Vec<(At, At)>;
type Ports = Vec<(Protocol, u16, u16)>;
/// Outcomes before and after, and the time.
type When = (Ids, Option<i64>, Option<i64>);

/// Where two behaviours have different outcomes, with the ids of the two. Each request is in at most one.
pub(super) fn differing(space: &Space, old: u32, new: u32) -> Vec<(Ids, Conditions)> {
    let (Some(old), Some(new)) = (space.behaviour_of(old), space.behaviour_of(new)) else { return Vec::new() };
    let named: BTreeSet<&str> = old.endpoints.iter().chain(&new.endpoints).map(|(id, _)| &**id).collect();
    // The same through several endpoints is one.
    let mut all: BTreeMap<(Ids, Conditions), Ways> = BTreeMap::new();
    for endpoint in std::iter::once(None).chain(named.iter().copied().map(Some)) {
        for found in through(space, &old, &new, endpoint) {
            let (others, ids) = all.entry(found).or_default();
            match endpoint {
                None => *others = true,
                Some(id) => ids.push(id.into()),
            }
        }
    }
    let finished = all.into_iter().map(|((outcomes, conditions), (others, ids))| {
        let endpoints = match others {
            false => Endpoints::Only(ids),
            true if ids.len() == named.len() => Endpoints::Any,
            true => {
                let mut others: Vec<Box<str>> = named.iter().map(|id| Box::from(*id)).collect();
                others.retain(|id| !ids.contains(id));
                Endpoints::Except(others)
            }
        };
        (outcomes, Conditions { endpoints, ..conditions })
    });
    finished.collect()
}

/// The same of the requests that come through one endpoint, or through none that makes a difference.
fn through(space: &Space, old: &Behaviour, new: &Behaviour, endpoint: Option<&str>) -> Vec<(Ids, Conditions)> {
    let mut all: BTreeMap<(When, Ranges), Ports> = BTreeMap::new();
    for ((old, new), ports) in by_port(old, new, endpoint) {
        // The same at the same times for several ranges of clients is one.
        let mut ranges: BTreeMap<When, Ranges> = BTreeMap::new();
        for ((old, new), range) in by_client(space, old, new) {
            for (outcomes, from, until) in by_time(space, old, new) {
                let ranges = ranges.entry((outcomes, from, until)).or_default();
                match ranges.last_mut() {
                    Some(last) if last.1.0 == range.0.0 && last.1.1.checked_add(1) == Some(range.0.1) => {
                        last.1 = range.1;
                    }
                    _ => ranges.push(range),
                }
            }
        }
        for (when, ranges) in ranges {
            all.entry((when, ranges)).or_default().extend(&ports);
        }
    }
    let finished = all.into_iter().map(|(((outcomes, from, until), ranges), mut ports)| {
        ports.sort_unstable();
        let clients = ranges.into_iter().map(|(from, to)| (address(from), address(to))).collect();
        (outcomes, Conditions { ports, clients, from, until, endpoints: Endpoints::Any })
    });
    finished.collect()
}

/// Ports by what holds on them before and after, where that differs.
fn by_port(old: &Behaviour, new: &Behaviour, endpoint: Option<&str>) -> BTreeMap<Ids, Ports> {
    let mut found: BTreeMap<Ids, Ports> = BTreeMap::new();
    let on = |behaviour: &Behaviour, port| behaviour.on(endpoint, port);
    for &protocol in Protocol::ALL {
        let ports = |behaviour: &Behaviour| -> Vec<u16> {
            let own = behaviour.endpoints.iter().flat_map(|(_, ports)| ports);
            behaviour.ports.iter().chain(own).filter(|((p, _), _)| *p == protocol).map(|((_, port), _)| *port).collect()
        };
        let mut singled: Vec<u16> = [ports(old), ports(new)].concat();
        singled.sort_unstable();
        singled.dedup();
        let mut push = |ids: Ids, from: u16, to: u16| {
            if ids.0 != ids.1 && from <= to {
                let ranges = found.entry(ids).or_default();
                match ranges.last_mut() {
                    Some(last) if last.0 == protocol && last.2.checked_add(1) == Some(from) => last.2 = to,
                    _ => ranges.push((protocol, from, to)),
                }
            }
        };
        let last = singled.last() == Some(&u16::MAX);
        // No request has port 0.
        let mut next = 1;
        for port in singled {
            push((old.rest, new.rest), next, port.saturating_sub(1));
            push((on(old, (protocol, port)), on(new, (protocol, port))), port, port);
            next = port.saturating_add(1);
        }
        if !last {
            push((old.rest, new.rest), next, u16::MAX);
        }
    }
    found
}

/// Ranges of clients with what holds for them before and after, where that differs.
fn by_client(space: &Space, old: u32, new: u32) -> Vec<(Ids, (At, At))> {
    let (old, new) = (space.clients_of(old), space.clients_of(new));
    let mut starts: Vec<At> = old.iter().chain(&new).map(|(at, _)| *at).collect();
    starts.sort_unstable();
    starts.dedup();
    let on = |steps: &[(At, u32)], at: At| {
        let after = steps.partition_point(|(start, _)| *start <= at);
        after.checked_sub(1).and_then(|i| steps.get(i)).map_or(0, |(_, times)| *times)
    };
    let mut found = Vec::new();
    for (i, &start) in starts.iter().enumerate() {
        let ids = (on(&old, start), on(&new, start));
        let end = match starts.get(i + 1) {
            Some(&(v6, at)) if v6 == start.0 => (v6, at.saturating_sub(1)),
            _ if start.0 => (true, u128::MAX),
            _ => (false, u128::from(u32::MAX)),
        };
        if ids.0 != ids.1 {
            found.push((ids, (start, end)));
        }
    }
    found
}

/// Times with the outcomes before and after, where they differ.
fn by_time(space: &Space, old: u32, new: u32) -> Vec<When> {
    let (old, new) = (space.times_of(old), space.times_of(new));
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    let mut found: Vec<When> = Vec::new();
    let mut from = None;
    while let (Some(&&(old_until, before)), Some(&&(new_until, after))) = (olds.peek(), news.peek()) {
        let until = old_until.min(new_until);
        if before != after {
            found.push(((before, after), from, (until != i64::MAX).then_some(until)));
        }
        olds.next_if(|step| step.0 == until);
        news.next_if(|step| step.0 == until);
        from = until.checked_add(1);
    }
    found
}
