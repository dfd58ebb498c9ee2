//! The words that an export is asked with, each checked when it is read.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::export::aws::ExportError;
use crate::export::aws::resource::{Partition, is_account};

/// Why a word is none of the kind, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadWord(String);

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadWord {}

fn bad<T>(why: impl Into<String>) -> Result<T, BadWord> {
    Err(BadWord(why.into()))
}

/// A text newtype that is shown as it is.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

word!(
    /// An account's number: twelve digits.
    Account
);
word!(
    /// A bucket's name as S3 shows it. It may have dots: no host name is made of it.
    BucketName
);
word!(
    /// A user, a role, or an account's root user, by its ARN.
    Principal
);
word!(
    /// A VPC endpoint's id, `vpce-…`.
    VpcEndpoint
);

impl FromStr for Account {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        if is_account(text) { Ok(Self(text.to_owned())) } else { bad("an account has twelve digits") }
    }
}

impl FromStr for BucketName {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if plain && (3..=63).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            bad("write the bucket's name alone, as S3 shows it")
        }
    }
}

impl FromStr for VpcEndpoint {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let id = text.strip_prefix("vpce-").unwrap_or_default();
        let hex = id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(id.len(), 8 | 17) {
            Ok(Self(text.to_owned()))
        } else {
            bad("write the endpoint's id, like `vpce-0a1b2c3d4e5f67890`")
        }
    }
}

impl VpcEndpoint {
    pub(super) fn sorted(all: &[Self]) -> Vec<String> {
        sorted(all.iter().map(ToString::to_string))
    }
}

impl FromStr for Principal {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, service, "", account, what] = parts[..] else {
            return bad("write an ARN, like `arn:aws:iam::123456789012:role/break-glass`");
        };
        let name = what.strip_prefix("role/").or_else(|| what.strip_prefix("user/"));
        // IAM's own letters. A policy variable (`${…}`) has others, and would mean somebody else.
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_/-".contains(&b);
        let named = name.is_some_and(|name| !name.is_empty() && name.bytes().all(letter));
        if service == "sts" {
            // The key aws:PrincipalArn has the role, whatever the session is called.
            bad("write the ARN of the role, like `arn:aws:iam::123456789012:role/break-glass`, not that of a session")
        } else if text.contains(['*', '?']) {
            bad("name each principal: a pattern would exempt whoever makes a name that fits")
        } else if !Partition::ALL.iter().any(|known| known.label() == partition) {
            bad(format!("there is no partition `{partition}`"))
        } else if service == "iam" && is_account(account) && (named || what == "root") {
            Ok(Self(text.to_owned()))
        } else {
            bad(
                "write the ARN of a role, a user or an account's root, like `arn:aws:iam::123456789012:role/break-glass`",
            )
        }
    }
}

impl Principal {
    /// The ARNs, sorted, if all are of the partition.
    pub(super) fn all_of(all: &[Self], partition: Partition) -> Result<Vec<String>, ExportError> {
        match all.iter().find(|one| one.0.split(':').nth(1) != Some(partition.label())) {
            Some(other) => Err(ExportError::OtherPartition(other.clone(), partition)),
            None => Ok(sorted(all.iter().map(ToString::to_string))),
        }
    }
}

/// Public addresses from which a bucket is still reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpNet);

/// What S3 never sees as a source: through an endpoint it sees no address at all (`aws:SourceIp` is absent), and otherwise
/// a public one.
const PRIVATE: &[&str] = &[
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

impl FromStr for Source {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, BadWord> {
        let Ok(net) = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) else {
            return bad("write a network like `203.0.113.0/24`");
        };
        let private = PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok()).any(|wide| wide.contains(&net));
        if net.trunc() != net {
            bad(format!("it has address bits beyond its length: write `{}`", net.trunc()))
        } else if net.prefix_len() == 0 {
            bad("it is every address")
        } else if private {
            bad(
                "S3 sees public addresses only: write those of the NAT or proxy; what comes through the endpoint needs none",
            )
        } else {
            Ok(Self(net))
        }
    }
}

impl Source {
    pub(super) fn sorted(all: &[Self]) -> Vec<String> {
        let nets: Vec<IpNet> = all.iter().map(|source| source.0).collect();
        let mut nets = IpNet::aggregate(&nets);
        nets.sort();
        nets.iter().map(ToString::to_string).collect()
    }
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}
