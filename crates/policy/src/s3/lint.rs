//! Whether a listed name or pattern could let any bucket through.

use crate::index::Shape;
use crate::s3::data::PARTITIONS;
use crate::s3::{Class, at_or_below, bucket, classify, regions};

/// What is wrong with a listed name, seen from S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The name pins no bucket: path-style or control plane.
    Open,
    /// The pattern covers such names, or every bucket; one that it covers.
    AnyBucket(String),
    /// The name pins a bucket with a dot in its name.
    Dotted(String),
    /// The name's region is not known under its suffix.
    UnknownRegion(String),
}

/// A label that no rule lists: a pattern that covers it as a bucket covers any.
const PROBE: &str = "any-bucket";

/// Looks at one listed name.
pub(crate) fn lint(shape: Shape, name: &str) -> Option<Finding> {
    if !regions::concerned(name) {
        return None;
    }
    let open = |candidate: String| {
        matches!(classify(&candidate), Class::Pins { .. } | Class::Open | Class::Dotted { .. }).then_some(candidate)
    };
    match shape {
        Shape::Exact => match classify(name) {
            Class::Open => Some(Finding::Open),
            Class::Dotted { bucket } => Some(Finding::Dotted(bucket.to_owned())),
            Class::Pins { region: Some(region), suffix, .. } if regions::suffix_of(region) != Some(suffix) => {
                Some(Finding::UnknownRegion(region.to_owned()))
            }
            Class::Pins { .. } | Class::Foreign => None,
        },
        // One account's buckets; the parser has checked that it is one account's.
        Shape::Ending => match classify(&format!("x{name}")) {
            Class::Pins { subject, suffix, .. } => bucket::account_regional(subject)
                .filter(|region| regions::suffix_of(region) != Some(suffix))
                .map(|region| Finding::UnknownRegion(region.to_owned())),
            Class::Open | Class::Dotted { .. } | Class::Foreign => Some(Finding::Open),
        },
        // One label more makes a bucket's name of an endpoint, and an endpoint of a region.
        Shape::OneLabel => [PROBE, "s3", "s3-us-east-1", "bucket", "accesspoint", "control"]
            .into_iter()
            .find_map(|label| open(format!("{label}.{name}")))
            .map(Finding::AnyBucket),
        Shape::Below => {
            if let Some(partition) = PARTITIONS.iter().find(|p| at_or_below(p.suffix, name)) {
                return Some(Finding::AnyBucket(format!("{PROBE}.s3.{}", partition.suffix)));
            }
            if let Some(partition) = PARTITIONS.iter().find(|p| at_or_below(p.dualstack, name)) {
                let region = partition.regions.first().copied().unwrap_or_default();
                return Some(Finding::AnyBucket(format!("s3vectors.{region}.{}", partition.dualstack)));
            }
            // An endpoint itself, or anything that ends in an endpoint's last labels.
            let below = ["", "s3.", "bucket.vpce-0.s3.", "bucket.vpce-0.", "bucket.", "mrap.", "mrap.accesspoint."];
            below
                .into_iter()
                .find_map(|middle| open(format!("{PROBE}.{middle}{name}")))
                .or_else(|| open(name.to_owned()))
                .or_else(|| {
                    (name.starts_with("vpce."))
                        .then(|| format!("{PROBE}.bucket.vpce-0.s3.us-east-1.{name}"))
                        .and_then(open)
                })
                .map(Finding::AnyBucket)
        }
    }
}
