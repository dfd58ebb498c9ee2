//! The item of `buckets:` that lists a given name.

use crate::s3::data::PARTITIONS;
use crate::s3::{Class, Form, Kind, classify};

/// How an item is written that lists this name and, beside it, only other names of the same thing. `None` when the name pins
/// nothing, or does not say enough: a bucket's global name has no region.
pub(crate) fn item(name: &str) -> Option<String> {
    let Class::Pins { kind, subject, form, region, suffix } = classify(name) else { return None };
    let subject_keys = match kind {
        Kind::Bucket if subject.ends_with("-s3alias") => format!("access_point: {subject}"),
        Kind::Bucket if subject.ends_with("--ol-s3") => format!("object_lambda: {subject}"),
        Kind::Bucket => format!("name: {subject}"),
        Kind::AccessPoint => owned("access_point", subject)?,
        Kind::ObjectLambda => owned("object_lambda", subject)?,
        Kind::MultiRegion => format!("multi_region_access_point: {subject}.mrap"),
        Kind::Directory if subject.ends_with("--xa-s3") => format!("access_point: {subject}"),
        Kind::Directory => format!("directory_bucket: {subject}"),
        Kind::Outposts => {
            let (point, outpost) = subject.split_once('.')?;
            if point.ends_with("--op-s3") {
                format!("access_point: {point}")
            } else {
                format!("{}, outpost: {outpost}", owned("access_point", point)?)
            }
        }
    };
    let place = match (kind, region) {
        // Any region of its partition will do, and the usual one need not be said.
        (Kind::MultiRegion, _) => match PARTITIONS.iter().find(|p| p.suffix == suffix).filter(|p| p.id != "aws") {
            Some(partition) => format!(", region: {}", partition.regions.first()?),
            None => String::new(),
        },
        (_, region) => format!(", region: {}", region?),
    };
    let endpoints = match form {
        Form::PrivateLink => {
            // The subject is one label here, and so is what says that it is a bucket or an access point.
            let interface = name.split('.').nth(2)?;
            format!(", vpce: [{interface}]")
        }
        form if kind.usual().contains(&form) => String::new(),
        form => format!(", endpoints: [{}]", form.word()?),
    };
    Some(format!("{{ {subject_keys}{place}{endpoints} }}"))
}

/// An access point's own name and its account's number, which its host names join by a hyphen.
fn owned(key: &str, subject: &str) -> Option<String> {
    let (name, account) = subject.rsplit_once('-')?;
    Some(format!("{key}: {name}, account: \"{account}\""))
}
