//! Built-in rule sets: the names that a service of AWS is reached by, each set with its source and date. A policy has one
//! only where it says `include`.
//!
//! The sets are files, `sets/*.yaml`, read with the same reader as a policy.

mod read;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use serde::Serialize;

use crate::document::nearest;
use crate::s3::regions::Partition;

/// A set of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleSet {
    /// What `include` calls it: `aws:ssm`.
    pub name: String,
    /// What it is for, in one line.
    pub about: String,
    /// The day on which it was compared with its sources, `2026-11-24`.
    pub date: String,
    /// Where its names are from.
    pub sources: Vec<Source>,
    /// The partitions that it is for.
    pub partitions: Vec<String>,
    /// Whether its hosts usually have interface endpoints, and so private addresses.
    pub interface_endpoints: bool,
    /// Hosts, with `{region}` and `{domain}` to be filled in.
    pub hosts: Vec<Item>,
    /// AWS's own buckets, with `{region}` to be filled in.
    pub buckets: Vec<Item>,
}

/// A page of documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The page's title, and whose it is.
    pub title: String,
    /// Its address.
    pub url: String,
}

/// A name of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The name, with what is to be filled in.
    pub name: String,
    /// What it is for.
    pub about: String,
}

/// Every set, by name.
pub fn all() -> &'static [RuleSet] {
    static SETS: OnceLock<Vec<RuleSet>> = OnceLock::new();
    SETS.get_or_init(|| read::all().0)
}

/// A set by its name.
///
/// # Errors
/// The name of a set that may have been meant.
pub fn find(name: &str) -> Result<&'static RuleSet, Option<&'static str>> {
    all().iter().find(|set| set.name == name).ok_or_else(|| nearest(name, all().iter().map(|set| set.name.as_str())))
}

impl RuleSet {
    /// Its hosts in a region.
    pub(crate) fn hosts_in<'s>(
        &'s self,
        region: &'s str,
        partition: &'s Partition,
    ) -> impl Iterator<Item = String> + use<'s> {
        self.hosts.iter().map(|host| host.name.replace("{region}", region).replace("{domain}", partition.suffix))
    }

    /// Its buckets in a region.
    pub(crate) fn buckets_in<'s>(&'s self, region: &'s str) -> impl Iterator<Item = String> + use<'s> {
        self.buckets.iter().map(|bucket| bucket.name.replace("{region}", region))
    }
}
