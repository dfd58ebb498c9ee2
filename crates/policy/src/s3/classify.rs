//! What a host name is to S3.

use crate::s3::form::{Form, Kind};
use crate::s3::{bucket, data, regions};

/// What a host name is to S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class<'a> {
    /// No name of S3's.
    Foreign,
    /// Pins `subject`, a bucket or the like.
    Pins { kind: Kind, subject: &'a str, form: Form, region: Option<&'a str>, suffix: &'static str },
    /// Pins a bucket with a dot in its name, which SDKs reach by path over TLS.
    Dotted { bucket: &'a str },
    /// Path-style, control plane, or an unknown form: the bucket is said inside TLS only.
    Open,
}

/// Classifies a lowercase host name.
pub(crate) fn classify(name: &str) -> Class<'_> {
    if data::PARTITIONS.iter().any(|partition| at_or_below(name, partition.dualstack)) {
        // No bucket has a name here, but a bucket's data has: S3 Vectors and S3 Files answer nowhere else.
        return if name.split('.').any(is_service) { Class::Open } else { Class::Foreign };
    }
    let Some((rest, suffix)) = data::PARTITIONS.iter().find_map(|partition| {
        name.strip_suffix(partition.suffix).and_then(|rest| rest.strip_suffix('.')).map(|rest| (rest, partition.suffix))
    }) else {
        return Class::Foreign;
    };
    // The service's own label is the rightmost: a bucket may be called `s3-x` too.
    let mut end = rest.len();
    while let Some(head) = rest.get(..end) {
        let start = head.rfind('.').map_or(0, |dot| dot + 1);
        let label = head.get(start..).unwrap_or_default();
        if is_service(label) {
            let prefix = rest.get(..start.saturating_sub(1)).unwrap_or_default();
            let tail: Vec<&str> = rest.get(end..).unwrap_or_default().split('.').skip(1).collect();
            return service(prefix, label, &tail, suffix);
        }
        if start == 0 {
            break;
        }
        end = start - 1;
    }
    Class::Foreign
}

/// Whether a host name is that of an account-regional bucket, in a region that does not contradict the bucket's own.
/// Only one account can make such a bucket, so a wildcard over the first part of its name stays within that account.
pub(crate) fn of_one_account(name: &str) -> bool {
    match classify(name) {
        Class::Pins { kind: Kind::Bucket, subject, region, .. } => {
            bucket::account_regional(subject).is_some_and(|own| region.is_none_or(|region| region == own))
        }
        _ => false,
    }
}

pub(crate) fn at_or_below(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

fn is_service(label: &str) -> bool {
    matches!(label, "s3" | "s3files" | "s3tables" | "s3vectors")
        || ["s3-", "s3express-", "s3files-", "s3tables-", "s3vectors-"].iter().any(|start| label.starts_with(start))
}

/// A name taken apart as `prefix.label.tail….suffix`.
fn service<'a>(prefix: &'a str, label: &'a str, tail: &[&'a str], suffix: &'static str) -> Class<'a> {
    let region = |text: &'a str| regions::shaped(text).then_some(text);
    let pins = |kind, subject, form, region| Class::Pins { kind, subject, form, region, suffix };
    let (form, place) = match (label, tail) {
        ("s3", []) => (Form::Global, None),
        ("s3", [r]) if regions::shaped(r) => (Form::Regional, Some(*r)),
        ("s3", ["dualstack", r]) if regions::shaped(r) => (Form::Dualstack, Some(*r)),
        ("s3", [r, "vpce"]) if regions::shaped(r) => return private_link(prefix, r, suffix),
        // Another service's name that happens to have this label.
        ("s3", [first, _, ..]) if !matches!(tail, [.., "vpce"]) && *first != "dualstack" => return Class::Foreign,
        ("s3-fips", [r]) if regions::shaped(r) => (Form::Fips, Some(*r)),
        ("s3-fips", ["dualstack", r]) if regions::shaped(r) => (Form::FipsDualstack, Some(*r)),
        ("s3-accelerate", []) => (Form::Accelerate, None),
        ("s3-accelerate", ["dualstack"]) => (Form::AccelerateDualstack, None),
        ("s3-external-1", []) => (Form::External1, None),
        ("s3-website", [r]) if regions::shaped(r) => (Form::Website, Some(*r)),
        ("s3-global", []) => {
            let alias = prefix.strip_suffix(".mrap.accesspoint").filter(|alias| one_label(alias));
            return alias.map_or(Class::Open, |alias| pins(Kind::MultiRegion, alias, Form::Global, None));
        }
        (label @ ("s3-accesspoint" | "s3-accesspoint-fips"), [r] | ["dualstack", r])
        | (label @ ("s3-object-lambda" | "s3-object-lambda-fips"), [r])
            if regions::shaped(r) =>
        {
            let kind = if label.starts_with("s3-accesspoint") { Kind::AccessPoint } else { Kind::ObjectLambda };
            let form = usual(label.ends_with("-fips"), tail.len() > 1);
            return if one_label(prefix) { pins(kind, prefix, form, Some(r)) } else { Class::Open };
        }
        ("s3-outposts", [r]) if regions::shaped(r) => {
            // The outpost is part of what is pinned: an access point's name is unique only there.
            let whole = prefix
                .split_once('.')
                .is_some_and(|(point, outpost)| one_label(point) && one_label(outpost) && outpost.starts_with("op-"));
            return if whole { pins(Kind::Outposts, prefix, Form::Regional, Some(r)) } else { Class::Open };
        }
        (label, [r] | ["dualstack", r]) if label.starts_with("s3express-") && regions::shaped(r) => {
            let directory = one_label(prefix)
                && (prefix.ends_with("--x-s3") || prefix.ends_with("--xa-s3"))
                && !label.starts_with("s3express-control");
            let form = usual(label.starts_with("s3express-fips-"), tail.len() > 1);
            return if directory { pins(Kind::Directory, prefix, form, Some(r)) } else { Class::Open };
        }
        (label, []) => match label.strip_prefix("s3-website-").and_then(region) {
            Some(r) => (Form::Website, Some(r)),
            None => match label.strip_prefix("s3-").and_then(region) {
                Some(r) => (Form::Legacy, Some(r)),
                None => return Class::Open,
            },
        },
        _ => return Class::Open,
    };
    match prefix {
        "" => Class::Open,
        bucket if one_label(bucket) => pins(Kind::Bucket, bucket, form, place),
        bucket => Class::Dotted { bucket },
    }
}

const fn usual(fips: bool, dualstack: bool) -> Form {
    match (fips, dualstack) {
        (false, false) => Form::Regional,
        (false, true) => Form::Dualstack,
        (true, false) => Form::Fips,
        (true, true) => Form::FipsDualstack,
    }
}

/// `b.bucket.vpce-…` and `ap.accesspoint.vpce-…`; everything else of an endpoint leaves the bucket open.
fn private_link<'a>(prefix: &'a str, region: &'a str, suffix: &'static str) -> Class<'a> {
    let Some((rest, endpoint)) = prefix.rsplit_once('.') else { return Class::Open };
    let bucket = rest.strip_suffix(".bucket").map(|subject| (Kind::Bucket, subject));
    let subject = bucket.or_else(|| rest.strip_suffix(".accesspoint").map(|subject| (Kind::AccessPoint, subject)));
    match subject.filter(|_| endpoint.starts_with("vpce-")) {
        Some((kind, subject)) if one_label(subject) => {
            Class::Pins { kind, subject, form: Form::PrivateLink, region: Some(region), suffix }
        }
        Some((_, bucket)) => Class::Dotted { bucket },
        None => Class::Open,
    }
}

fn one_label(text: &str) -> bool {
    !text.is_empty() && !text.contains('.')
}
