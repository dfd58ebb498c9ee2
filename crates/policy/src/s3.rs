//! S3's host names: which pin a bucket, an access point or an object, and which leave the choice to what is inside TLS.

pub(crate) mod bucket;
pub(crate) mod lint;
pub(crate) mod regions;
#[cfg(test)]
mod tests;

/// One of the names that S3 gives a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// Pins something, but by a name that a bucket and a region do not make: access points, directory buckets, private
    /// endpoints.
    Other,
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
    /// What a bucket without `endpoints:` means.
    pub(crate) const DEFAULT: &[Self] = &[Self::Regional, Self::Dualstack, Self::Legacy, Self::Global];

    /// Its word, if it has one.
    pub(crate) fn word(self) -> Option<&'static str> {
        Self::WORDS.iter().find(|(_, form)| *form == self).map(|(word, _)| *word)
    }

    /// What follows the bucket's name, from its dot on. The website exists in two spellings, by region.
    pub(crate) fn tails(self, region: &str, suffix: &str) -> Vec<String> {
        match self {
            Self::Regional => vec![format!(".s3.{region}.{suffix}")],
            Self::Dualstack => vec![format!(".s3.dualstack.{region}.{suffix}")],
            Self::Legacy => vec![format!(".s3-{region}.{suffix}")],
            Self::Global => vec![format!(".s3.{suffix}")],
            Self::Fips => vec![format!(".s3-fips.{region}.{suffix}")],
            Self::FipsDualstack => vec![format!(".s3-fips.dualstack.{region}.{suffix}")],
            Self::Accelerate => vec![format!(".s3-accelerate.{suffix}")],
            Self::AccelerateDualstack => vec![format!(".s3-accelerate.dualstack.{suffix}")],
            Self::External1 => vec![format!(".s3-external-1.{suffix}")],
            Self::Website => vec![format!(".s3-website-{region}.{suffix}"), format!(".s3-website.{region}.{suffix}")],
            Self::Other => Vec::new(),
        }
    }
}

/// What a host name is to S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class<'a> {
    /// No name of S3's.
    Foreign,
    /// Pins `subject`, a bucket or the like.
    Pins { subject: &'a str, form: Form, region: Option<&'a str>, suffix: &'static str },
    /// Pins a bucket with a dot in its name, which SDKs reach by path over TLS.
    Dotted { bucket: &'a str },
    /// Path-style, control plane, or an unknown form: the bucket is said inside TLS only.
    Open,
}

/// Classifies a lowercase host name.
pub(crate) fn classify(name: &str) -> Class<'_> {
    if regions::PARTITIONS.iter().any(|partition| at_or_below(name, partition.dualstack)) {
        // No bucket has a name here, but a bucket's data has: S3 Vectors and S3 Files answer nowhere else.
        return if name.split('.').any(is_service) { Class::Open } else { Class::Foreign };
    }
    let Some((rest, suffix)) = regions::PARTITIONS.iter().find_map(|partition| {
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
        Class::Pins { subject, form, region, .. } if form != Form::Other => {
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
            return alias.map_or(Class::Open, |subject| Class::Pins {
                subject,
                form: Form::Other,
                region: None,
                suffix,
            });
        }
        ("s3-accesspoint" | "s3-accesspoint-fips", [r] | ["dualstack", r])
        | ("s3-object-lambda" | "s3-object-lambda-fips", [r])
            if regions::shaped(r) =>
        {
            return if one_label(prefix) { other(prefix, Some(r), suffix) } else { Class::Open };
        }
        ("s3-outposts", [r]) if regions::shaped(r) => {
            return if prefix.split('.').count() == 2 { other(prefix, Some(r), suffix) } else { Class::Open };
        }
        (label, [r] | ["dualstack", r]) if label.starts_with("s3express-") && regions::shaped(r) => {
            let directory = one_label(prefix) && prefix.ends_with("--x-s3") && !label.starts_with("s3express-control");
            return if directory { other(prefix, Some(r), suffix) } else { Class::Open };
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
        bucket if one_label(bucket) => Class::Pins { subject: bucket, form, region: place, suffix },
        bucket => Class::Dotted { bucket },
    }
}

/// `b.bucket.vpce-…` and `ap.accesspoint.vpce-…`; everything else of an endpoint leaves the bucket open.
fn private_link<'a>(prefix: &'a str, region: &'a str, suffix: &'static str) -> Class<'a> {
    let Some((rest, endpoint)) = prefix.rsplit_once('.') else { return Class::Open };
    let subject = rest.strip_suffix(".bucket").or_else(|| rest.strip_suffix(".accesspoint"));
    match subject.filter(|_| endpoint.starts_with("vpce-")) {
        Some(subject) if one_label(subject) => other(subject, Some(region), suffix),
        Some(bucket) => Class::Dotted { bucket },
        None => Class::Open,
    }
}

fn other<'a>(subject: &'a str, region: Option<&'a str>, suffix: &'static str) -> Class<'a> {
    Class::Pins { subject, form: Form::Other, region, suffix }
}

fn one_label(text: &str) -> bool {
    !text.is_empty() && !text.contains('.')
}
