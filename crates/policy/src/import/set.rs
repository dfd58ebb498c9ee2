//! Sets of numbers as ranges: ports, and addresses of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

/// Numbers up to some greatest one, as sorted and disjoint ranges with gaps between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    most: u128,
    ranges: Vec<(u128, u128)>,
}

impl Set {
    pub(super) fn none(most: u128) -> Self {
        Self { most, ranges: Vec::new() }
    }

    pub(super) fn all(most: u128) -> Self {
        Self { most, ranges: vec![(0, most)] }
    }

    /// Adds a range, both ends included; nothing when its ends are the wrong way round.
    pub(super) fn add(&mut self, from: u128, to: u128) {
        let to = to.min(self.most);
        if from > to {
            return;
        }
        self.ranges.push((from, to));
        self.ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(self.ranges.len());
        for &(from, to) in &self.ranges {
            match merged.last_mut() {
                Some((_, last)) if from <= last.saturating_add(1) => *last = to.max(*last),
                _ => merged.push((from, to)),
            }
        }
        self.ranges = merged;
    }

    pub(super) fn not(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = Some(0);
        for &(from, to) in &self.ranges {
            if let (Some(next), Some(before)) = (next, from.checked_sub(1))
                && next <= before
            {
                ranges.push((next, before));
            }
            next = to.checked_add(1).filter(|next| *next <= self.most);
        }
        if let Some(next) = next {
            ranges.push((next, self.most));
        }
        Self { most: self.most, ranges }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = Self::none(self.most);
        for &(a, b) in &self.ranges {
            for &(c, d) in &other.ranges {
                if a.max(c) <= b.min(d) {
                    both.ranges.push((a.max(c), b.min(d)));
                }
            }
        }
        both
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.and(&other.not())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn has(&self, number: u128) -> bool {
        self.ranges.iter().any(|&(from, to)| from <= number && number <= to)
    }

    /// Its numbers when they are at most so many.
    pub(super) fn few(&self, limit: u128) -> Option<Vec<u128>> {
        let size = self.ranges.iter().fold(0_u128, |sum, (from, to)| sum.saturating_add((to - from).saturating_add(1)));
        (size <= limit).then(|| self.ranges.iter().flat_map(|&(from, to)| from..=to).collect())
    }
}

/// Ports.
pub(super) const PORTS: u128 = 65_535;
const V4: u128 = u32::MAX as u128;

/// Client addresses of both families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    v4: Set,
    v6: Set,
}

impl Addresses {
    pub(super) fn none() -> Self {
        Self { v4: Set::none(V4), v6: Set::none(u128::MAX) }
    }

    pub(super) fn all() -> Self {
        Self { v4: Set::all(V4), v6: Set::all(u128::MAX) }
    }

    pub(super) fn every_v4() -> Self {
        Self { v4: Set::all(V4), v6: Set::none(u128::MAX) }
    }

    pub(super) fn every_v6() -> Self {
        Self { v4: Set::none(V4), v6: Set::all(u128::MAX) }
    }

    /// Adds what lies between two addresses of one family; `false` when they are not.
    pub(super) fn add(&mut self, from: IpAddr, to: IpAddr) -> bool {
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.v4.add(from.to_bits().into(), to.to_bits().into()),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.v6.add(from.to_bits(), to.to_bits()),
            _ => return false,
        }
        true
    }

    pub(super) fn join(&mut self, other: &Self) {
        other.v4.ranges.iter().for_each(|&(from, to)| self.v4.add(from, to));
        other.v6.ranges.iter().for_each(|&(from, to)| self.v6.add(from, to));
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self { v4: self.v4.and(&other.v4), v6: self.v6.and(&other.v6) }
    }

    pub(super) fn not(&self) -> Self {
        Self { v4: self.v4.not(), v6: self.v6.not() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// The fewest networks that are exactly these addresses; `None` for all addresses.
    pub(super) fn networks(&self) -> Option<Vec<IpNet>> {
        if *self == Self::all() {
            return None;
        }
        let v4 = |bits: u128| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX));
        let four = self.v4.ranges.iter().flat_map(|&(from, to)| Ipv4Subnets::new(v4(from), v4(to), 0));
        let six = self.v6.ranges.iter();
        let six = six.flat_map(|&(from, to)| Ipv6Subnets::new(Ipv6Addr::from_bits(from), Ipv6Addr::from_bits(to), 0));
        Some(four.map(IpNet::V4).chain(six.map(IpNet::V6)).collect())
    }
}
