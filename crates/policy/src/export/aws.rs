//! The policy in AWS's own policy language, which sees what the gate cannot: the bucket that a request inside TLS names.
//!
//! Three places enforce it: the VPC endpoint (which buckets are reached through it), the bucket (from where it is reached)
//! and the identity (by which way it goes to S3 at all). docs/aws-policies.md says how they fit.

mod actions;
mod bucket;
mod document;
mod endpoint;
mod grants;
mod identity;
mod resource;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

pub use bucket::{BucketPolicy, Stage, bucket_policy};
pub use document::TooLarge;
pub use endpoint::endpoint_policy;
pub use grants::Extra;
pub use identity::identity_policy;
pub use resource::Partition;
pub(crate) use resource::is_exported;
pub use words::{Account, BadWord, BucketName, Principal, Source, VpcEndpoint};

/// What of the policy is exported, and what besides.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Now, in Unix seconds: rules that have expired are left out.
    pub now: i64,
    /// The names of the rules to export; empty for all. It is the way to split what is too large.
    pub rules: Vec<String>,
    /// The partition to export; without it, the one of all that the rules list.
    pub partition: Option<Partition>,
    /// Who owns the buckets. Not empty: a bucket of the same name in any other account is not meant.
    pub accounts: Vec<Account>,
    /// Buckets that no rule names, such as those behind access points or those that a built-in set needs.
    pub also: Vec<Extra>,
}

/// Why there is no policy for AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportError {
    /// No rule has this name; the nearest that one has.
    UnknownRule(String, Option<String>),
    /// No rule that is in force lists anything that AWS's policies can name.
    Nothing,
    /// The rules list names of several partitions, and a policy of AWS's belongs to one.
    SeveralPartitions(Vec<Partition>),
    /// No rule that is in force lists the bucket; the nearest that one lists.
    UnknownBucket(String, Option<String>),
    /// A principal of another partition than the buckets'.
    OtherPartition(Principal, Partition),
    /// AWS takes no policy of this size.
    TooLarge(TooLarge),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = |f: &mut fmt::Formatter<'_>, near: &Option<String>| match near {
            Some(near) => write!(f, "; did you mean `{}`?", near.escape_debug()),
            None => Ok(()),
        };
        match self {
            Self::UnknownRule(name, nearest) => {
                write!(f, "no rule is named `{}`", name.escape_debug())?;
                near(f, nearest)
            }
            Self::Nothing => f.write_str("no allow rule that is in force lists a bucket, so nothing is left to permit"),
            Self::SeveralPartitions(all) => {
                let all: Vec<_> = all.iter().map(|partition| partition.label()).collect();
                write!(
                    f,
                    "the rules list buckets of several partitions ({}), and a policy of AWS's belongs to one: choose with --partition",
                    all.join(", ")
                )
            }
            Self::UnknownBucket(name, nearest) => {
                write!(f, "no allow rule that is in force lists the bucket `{name}`")?;
                near(f, nearest)
            }
            Self::OtherPartition(principal, partition) => {
                write!(f, "`{principal}` is of another partition than the buckets, which are in {}", partition.label())
            }
            Self::TooLarge(too_large) => too_large.fmt(f),
        }
    }
}

impl std::error::Error for ExportError {}
