//! Questions about AWS's partitions and regions.

use crate::s3::at_or_below;
use crate::s3::data::PARTITIONS;
use crate::s3::form::{Form, Kind};

/// Regions that share accounts, bucket names and a DNS suffix.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) id: &'static str,
    /// What its names end with. `aws` and `aws-us-gov` share one.
    pub(crate) suffix: &'static str,
    /// The domain of services that have only dual-stack endpoints.
    pub(crate) dualstack: &'static str,
    pub(crate) regions: &'static [&'static str],
    /// Regions in which S3 has FIPS endpoints.
    pub(crate) fips: &'static [&'static str],
    /// Regions that have the name `s3-external-1`.
    pub(crate) external: &'static [&'static str],
    /// What follows the subject in a name, with `{region}`, `{suffix}`, `{zone}` and `{outpost}` to be filled in.
    pub(crate) tails: &'static [(Kind, Form, &'static str)],
}

/// The partition of a known region.
pub(crate) fn partition_of(region: &str) -> Option<&'static Partition> {
    PARTITIONS.iter().find(|p| p.regions.contains(&region))
}

/// The DNS suffix of a known region.
pub(crate) fn suffix_of(region: &str) -> Option<&'static str> {
    partition_of(region).map(|p| p.suffix)
}

/// The partition that a region of this spelling would be in: partitions name theirs by prefix.
pub(crate) fn partition_by_spelling(region: &str) -> Option<&'static Partition> {
    let id = match region.split('-').next() {
        Some("cn") => "aws-cn",
        Some("eusc") => "aws-eusc",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    PARTITIONS.iter().find(|p| p.id == id)
}

/// Every known region.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().flat_map(|p| p.regions.iter().copied())
}

/// Whether it is spelled like a region: `xx-word-1`, with more words allowed.
pub(crate) fn shaped(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    words.len() >= 2
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
}

/// What the IDs of a region's zones begin with: `apne1` of `ap-northeast-1`. `None` where AWS's habit is not known.
pub(crate) fn zone_start(region: &str) -> Option<String> {
    let (area, rest) = match region.strip_prefix("us-gov-") {
        Some(rest) => ("usg", rest),
        None => region.split_once('-')?,
    };
    let (direction, number) = rest.split_once('-')?;
    let direction = match direction {
        "northeast" => "ne",
        "northwest" => "nw",
        "southeast" => "se",
        "southwest" => "sw",
        "north" | "south" | "east" | "west" | "central" => direction.get(..1)?,
        _ => return None,
    };
    Some(format!("{area}{direction}{number}"))
}

/// Whether a name is one of AWS's, or has such names below it. Most have nothing to do with AWS, and there may be a
/// million: their last letter tells most of them.
pub(crate) fn concerned(name: &str) -> bool {
    let last = name.as_bytes().last();
    domains().any(|domain| domain.as_bytes().last() == last && (at_or_below(name, domain) || at_or_below(domain, name)))
}

/// The domains that names of AWS's services end with.
pub(crate) fn domains() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().flat_map(|partition| [partition.suffix, partition.dualstack])
}
