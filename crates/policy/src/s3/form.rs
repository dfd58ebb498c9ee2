//! What can be in S3, and the forms of the names that pin it.

use crate::s3::regions::{self, Partition};

/// What a name pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A bucket, or an alias that stands in a bucket's place.
    Bucket,
    AccessPoint,
    ObjectLambda,
    MultiRegion,
    /// A directory bucket (S3 Express One Zone), or an access point of one.
    Directory,
    Outposts,
}

impl Kind {
    /// In words that follow "there is no … endpoint for".
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Bucket => "buckets",
            Self::AccessPoint => "access points",
            Self::ObjectLambda => "Object Lambda access points",
            Self::MultiRegion => "multi-region access points",
            Self::Directory => "directory buckets",
            Self::Outposts => "access points on Outposts",
        }
    }

    /// What an item without `endpoints:` means. Forms that its partition does not have are left out.
    pub(crate) const fn usual(self) -> &'static [Form] {
        match self {
            Self::Bucket => &[Form::Regional, Form::Dualstack, Form::Legacy, Form::Global],
            Self::AccessPoint | Self::Directory => &[Form::Regional, Form::Dualstack],
            Self::ObjectLambda | Self::Outposts => &[Form::Regional],
            Self::MultiRegion => &[Form::Global],
        }
    }
}

/// One of the names that S3 gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Form {
    Regional,
    Dualstack,
    Legacy,
    Global,
    Fips,
    FipsDualstack,
    Accelerate,
    AccelerateDualstack,
    External1,
    Website,
    /// Through an interface endpoint, which `vpce:` names.
    PrivateLink,
}

impl Form {
    /// The forms that `endpoints:` may list, with their words.
    pub(crate) const WORDS: &[(&'static str, Self)] = &[
        ("regional", Self::Regional),
        ("dualstack", Self::Dualstack),
        ("legacy", Self::Legacy),
        ("global", Self::Global),
        ("fips", Self::Fips),
        ("fips-dualstack", Self::FipsDualstack),
        ("accelerate", Self::Accelerate),
        ("accelerate-dualstack", Self::AccelerateDualstack),
        ("external-1", Self::External1),
        ("website", Self::Website),
    ];

    /// Its word, if it has one.
    pub(crate) fn word(self) -> Option<&'static str> {
        Self::WORDS.iter().find(|(_, form)| *form == self).map(|(word, _)| *word)
    }

    const fn is_fips(self) -> bool {
        matches!(self, Self::Fips | Self::FipsDualstack)
    }
}

/// Whether S3 is known to have no name of this form in a region. Of a region that is not known nothing is.
pub(crate) fn is_absent(kind: Kind, form: Form, region: &str) -> bool {
    // An interface endpoint is somebody's own, wherever it is.
    form != Form::PrivateLink
        && regions::partition_of(region)
            .is_some_and(|partition| Place { partition, region, zone: "", outpost: "" }.lacks(kind, form).is_some())
}

/// Where a subject is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) partition: &'static Partition,
    pub(crate) region: &'a str,
    /// The zone of a directory bucket.
    pub(crate) zone: &'a str,
    /// The outpost of an access point.
    pub(crate) outpost: &'a str,
}

/// Why there is no such name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Nowhere in the partition.
    Partition,
    /// Not in this region, but in these of its partition.
    Region(&'static [&'static str]),
}

impl Place<'_> {
    /// What follows the subject in its names of this form, from the dot on. The website exists in two spellings, by region.
    pub(crate) fn tails(&self, kind: Kind, form: Form) -> Vec<String> {
        let Self { partition, region, zone, outpost } = *self;
        let fill = |tail: &str| {
            let tail = tail.replace("{region}", region).replace("{suffix}", partition.suffix);
            tail.replace("{zone}", zone).replace("{outpost}", outpost)
        };
        // What botocore does not ask for. Sources: the S3 User Guide, "Backward compatibility" and "Website endpoints", and
        // `s3-external-1` of botocore's endpoints.json; as of 2026-11-24.
        match (kind, form) {
            (Kind::Bucket, Form::Legacy) => vec![fill(".s3-{region}.{suffix}")],
            (Kind::Bucket, Form::Website) => {
                vec![fill(".s3-website-{region}.{suffix}"), fill(".s3-website.{region}.{suffix}")]
            }
            (Kind::Bucket, Form::External1) if !partition.external.is_empty() => vec![fill(".s3-external-1.{suffix}")],
            _ => {
                let known = partition.tails.iter().filter(|(k, f, _)| (*k, *f) == (kind, form));
                known.map(|(_, _, tail)| fill(tail)).collect()
            }
        }
    }

    /// Why a subject of this kind has no name of this form here; `None` when it has.
    pub(crate) fn lacks(&self, kind: Kind, form: Form) -> Option<Absent> {
        if self.tails(kind, form).is_empty() {
            return Some(Absent::Partition);
        }
        let regions = match form {
            Form::External1 => self.partition.external,
            form if form.is_fips() => self.partition.fips,
            _ => return None,
        };
        (!regions.contains(&self.region)).then_some(Absent::Region(regions))
    }

    /// What follows the subject in its name at an interface endpoint, given as the first label of that endpoint's names.
    /// Source: the S3 User Guide, "Private endpoints".
    pub(crate) fn private_link(&self, kind: Kind, endpoint: &str) -> Option<String> {
        let part = match kind {
            Kind::Bucket => "bucket",
            Kind::AccessPoint => "accesspoint",
            _ => return None,
        };
        Some(format!(".{part}.{endpoint}.s3.{}.vpce.{}", self.region, self.partition.suffix))
    }
}
