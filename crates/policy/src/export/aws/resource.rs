//! What a listed name is to AWS's policies: an ARN, or nothing that they could name.

use crate::index::Shape;
use crate::pattern;
use crate::s3::{Class, Kind, classify};

/// Regions that share accounts and the beginning of ARNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Partition {
    /// The commercial regions.
    Aws,
    /// China.
    AwsCn,
    /// The European sovereign cloud.
    AwsEusc,
    /// The government cloud of the United States.
    AwsUsGov,
}

impl Partition {
    /// Every partition that there is.
    pub const ALL: &[Self] = &[Self::Aws, Self::AwsCn, Self::AwsEusc, Self::AwsUsGov];

    /// What its ARNs have after `arn:`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsEusc => "aws-eusc",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// The partition of a name without its first part; `None` where the name could be of two.
    fn of(rest: &str, region: bool) -> Option<Self> {
        if rest.ends_with(".amazonaws.com.cn") {
            Some(Self::AwsCn)
        } else if rest.ends_with(".amazonaws.eu") {
            Some(Self::AwsEusc)
        } else if rest.contains("us-gov-") {
            Some(Self::AwsUsGov)
        } else {
            region.then_some(Self::Aws)
        }
    }
}

/// Something that a `Resource` element can name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Resource {
    Bucket(String),
    /// The account-regional buckets of one account: `ending` begins with the hyphen before the account.
    OneAccount {
        ending: String,
        account: String,
    },
    AccessPoint {
        region: String,
        account: String,
        name: String,
    },
    /// A multi-region access point by its alias, without `.mrap`.
    MultiRegion(String),
}

impl Resource {
    /// The ARN of the thing itself, and that of all objects in it.
    pub(super) fn arns(&self, partition: Partition) -> [String; 2] {
        let start = partition.label();
        let (whole, objects) = match self {
            Self::Bucket(name) => (format!("arn:{start}:s3:::{name}"), "/*"),
            Self::OneAccount { ending, .. } => (format!("arn:{start}:s3:::*{ending}"), "/*"),
            Self::AccessPoint { region, account, name } => {
                (format!("arn:{start}:s3:{region}:{account}:accesspoint/{name}"), "/object/*")
            }
            Self::MultiRegion(alias) => (format!("arn:{start}:s3::*:accesspoint/{alias}.mrap"), "/object/*"),
        };
        let objects = format!("{whole}{objects}");
        [whole, objects]
    }

    /// The only account that may own what the ARNs cover. In an ARN `*` covers slashes too, so that without this
    /// `arn:aws:s3:::*-ACCOUNT-REGION-an/*` would cover objects in anybody's bucket whose keys have that in them.
    pub(super) fn owner(&self) -> Option<&str> {
        match self {
            Self::OneAccount { account, .. } => Some(account),
            _ => None,
        }
    }

    /// Whether a bucket of this name is covered.
    pub(super) fn covers(&self, bucket: &str) -> bool {
        match self {
            Self::Bucket(name) => name == bucket,
            Self::OneAccount { ending, .. } => crate::index::ending(bucket) == Some(ending),
            Self::AccessPoint { .. } | Self::MultiRegion(_) => false,
        }
    }
}

/// What a listed name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// No name of S3's.
    Foreign,
    Named {
        resource: Resource,
        /// `None` when the name is one of two partitions.
        partition: Option<Partition>,
        /// What else must be permitted, in words that follow the name.
        also: Option<&'static str>,
    },
    /// S3's, but nothing that a policy could name: why, in words that follow the name.
    Beyond(&'static str),
}

const BEHIND: &str = "needs the bucket behind it permitted too: name it with --also unless a rule lists it";

const OBJECT_LAMBDA: &str =
    "is an Object Lambda access point, which is not exported: it has a service and actions of its own";

/// Whether something comes of a listed name in the exports.
pub(crate) fn is_exported(shape: Shape, text: &str) -> bool {
    matches!(target(shape, text), Target::Named { .. })
}

/// Reads a listed name, one form after the other.
pub(super) fn target(shape: Shape, text: &str) -> Target {
    match shape {
        Shape::Exact => exact(text),
        Shape::Ending => one_account(text),
        Shape::OneLabel | Shape::Below => match crate::s3::lint::lint(shape, text) {
            Some(_) => Target::Beyond("covers any bucket, so no policy can be narrowed to it"),
            None => Target::Foreign,
        },
    }
}

fn exact(host: &str) -> Target {
    let (kind, subject, region) = match classify(host) {
        Class::Foreign => return Target::Foreign,
        Class::Open => return Target::Beyond("names no bucket, so no policy can be narrowed to it"),
        Class::Dotted { bucket } => (Kind::Bucket, bucket, None),
        Class::Pins { kind, subject, region, .. } => (kind, subject, region),
    };
    let rest = host.strip_prefix(subject).unwrap_or(host);
    let named = |resource, also| Target::Named { resource, partition: Partition::of(rest, region.is_some()), also };
    match kind {
        Kind::Bucket if subject.ends_with("-s3alias") => Target::Beyond(
            "is an alias, which AWS's policies do not take: list the access point by its own name as well",
        ),
        Kind::Bucket if subject.ends_with("--ol-s3") => Target::Beyond(OBJECT_LAMBDA),
        Kind::Bucket => named(Resource::Bucket(subject.to_owned()), None),
        Kind::AccessPoint => match (subject.rsplit_once('-'), region) {
            (Some((name, account)), Some(region)) if is_account(account) => {
                let (region, account, name) = (region.to_owned(), account.to_owned(), name.to_owned());
                named(Resource::AccessPoint { region, account, name }, Some(BEHIND))
            }
            _ => Target::Beyond("does not say whose access point it is"),
        },
        Kind::MultiRegion => named(Resource::MultiRegion(subject.to_owned()), Some(BEHIND)),
        Kind::ObjectLambda => Target::Beyond(OBJECT_LAMBDA),
        Kind::Directory => Target::Beyond(
            "is a directory bucket, which is not exported: it has a service, an endpoint and actions of its own",
        ),
        Kind::Outposts => {
            Target::Beyond("is on Outposts, which is not exported: it has a service and actions of its own")
        }
    }
}

/// `-ACCOUNT-REGION-an.s3…`
fn one_account(text: &str) -> Target {
    let (ending, rest) = text.split_once('.').unwrap_or((text, ""));
    let account = ending.get(1..13).unwrap_or_default();
    if !is_account(account) {
        return Target::Beyond("does not say whose buckets they are");
    }
    let resource = Resource::OneAccount { ending: ending.to_owned(), account: account.to_owned() };
    // The region stands in the bucket's name, whatever follows.
    let partition = Partition::of(&format!("{ending}.{rest}"), true);
    Target::Named { resource, partition, also: None }
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// A listed name as an author would write it.
pub(super) fn spell(shape: Shape, text: &str) -> String {
    pattern::spell(shape, text)
}
