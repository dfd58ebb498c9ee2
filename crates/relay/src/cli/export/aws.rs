//! The policies for AWS.

use std::io;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};
use sekisho_policy::export::Export;
use sekisho_policy::export::aws::{
    self, Account, BucketName, ExportError, Extra, Partition, Principal, Scope, Source, Stage, VpcEndpoint,
};
use sekisho_policy::{Access, Policy};

use super::From;
use crate::cli::check::unix_now;
use crate::cli::explain::instant;
use crate::cli::{Cli, Done, complain, complain_of, print};

/// What every policy for AWS is asked with.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    from: From,
    /// Only the rule of this name; may be given several times
    #[arg(long = "rule", value_name = "NAME")]
    rules: Vec<String>,
    /// The partition, where the rules list buckets of several
    #[arg(long, value_name = "PARTITION", value_parser = partition)]
    partition: Option<Partition>,
    /// The time to leave out expired rules at [default: now]
    #[arg(long, value_name = "DATE", value_parser = instant)]
    at: Option<i64>,
}

#[derive(Debug, Args)]
struct Resources {
    /// The account that owns the buckets: one of the same name in any other is refused; may be given several times
    #[arg(long = "account", value_name = "ID")]
    accounts: Vec<Account>,
    /// A bucket that no rule names, such as the one behind an access point; may be given several times
    #[arg(long, value_name = "BUCKET[:ACCESS,…]", value_parser = extra)]
    also: Vec<Extra>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EndpointPolicy {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    resources: Resources,
    /// A principal that reaches every bucket through the endpoint; may be given several times
    #[arg(long, value_name = "ARN")]
    exempt: Vec<Principal>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BucketPolicy {
    /// The bucket, which an allow rule must list
    bucket: BucketName,
    #[command(flatten)]
    common: Common,
    /// An endpoint through which it is reached; may be given several times
    #[arg(long = "vpce", value_name = "ID", required = true)]
    endpoints: Vec<VpcEndpoint>,
    /// The stage of the cut-over
    #[arg(long, value_enum)]
    stage: StageName,
    /// A public network from which it is reached at the first stage; may be given several times
    #[arg(long = "source", value_name = "CIDR", required_if_eq("stage", "source"))]
    sources: Vec<Source>,
    /// A principal that reaches it from anywhere, for when all else fails; may be given several times
    #[arg(long, value_name = "ARN")]
    exempt: Vec<Principal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StageName {
    /// Through an endpoint, or from a source address
    Source,
    /// Through an endpoint only
    Vpce,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IamPolicy {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    resources: Resources,
    /// An endpoint through which S3 is reached; may be given several times
    #[arg(long = "vpce", value_name = "ID", required = true)]
    endpoints: Vec<VpcEndpoint>,
}

impl EndpointPolicy {
    pub(super) fn run(&self) -> io::Result<Done> {
        let make =
            |policy: &Policy| aws::endpoint_policy(policy, &self.common.scope(Some(&self.resources)), &self.exempt);
        self.common.show(make)
    }
}

impl BucketPolicy {
    pub(super) fn run(&self) -> io::Result<Done> {
        let stage = match self.stage {
            StageName::Source => Stage::Source(self.sources.clone()),
            StageName::Vpce if self.sources.is_empty() => Stage::Endpoint,
            StageName::Vpce => Cli::command()
                .error(ErrorKind::ArgumentConflict, "`--source` belongs to `--stage source`: leave it out")
                .exit(),
        };
        let wanted = aws::BucketPolicy {
            bucket: self.bucket.clone(),
            endpoints: self.endpoints.clone(),
            stage,
            exempt: self.exempt.clone(),
        };
        self.common.show(|policy| aws::bucket_policy(policy, &self.common.scope(None), &wanted))
    }
}

impl IamPolicy {
    pub(super) fn run(&self) -> io::Result<Done> {
        let make =
            |policy: &Policy| aws::identity_policy(policy, &self.common.scope(Some(&self.resources)), &self.endpoints);
        self.common.show(make)
    }
}

impl Common {
    fn scope(&self, resources: Option<&Resources>) -> Scope {
        Scope {
            now: self.at.unwrap_or_else(unix_now),
            rules: self.rules.clone(),
            partition: self.partition,
            accounts: resources.map(|resources| resources.accounts.clone()).unwrap_or_default(),
            also: resources.map(|resources| resources.also.clone()).unwrap_or_default(),
        }
    }

    /// Prints what comes of the policy: the document on stdout, what to know about it on stderr.
    fn show(&self, make: impl FnOnce(&Policy) -> Result<Export, ExportError>) -> io::Result<Done> {
        let policy = match self.from.load() {
            Ok(policy) => policy,
            Err(faults) => return Ok(complain_of(&faults)),
        };
        match make(&policy) {
            Ok(export) => {
                for note in &export.notes {
                    complain(&format!("note: {note}"));
                }
                print(export.text.as_bytes())
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                Ok(Done::Wrong)
            }
        }
    }
}

fn partition(text: &str) -> Result<Partition, String> {
    let known = Partition::ALL.iter().find(|partition| partition.label() == text);
    let all = || Partition::ALL.iter().map(|partition| partition.label()).collect::<Vec<_>>().join(", ");
    known.copied().ok_or_else(|| format!("the partitions are {}", all()))
}

/// `BUCKET`, or `BUCKET:read,list`.
fn extra(text: &str) -> Result<Extra, String> {
    let (bucket, words) = text.split_once(':').unwrap_or((text, "read,write,list"));
    let bucket = bucket.parse().map_err(|why: aws::BadWord| why.to_string())?;
    let access = words.split(',').map(|word| {
        let known = Access::ALL.iter().find(|access| access.label() == word);
        known.copied().ok_or_else(|| format!("`{word}` is no access: write read, write or list, with commas between"))
    });
    Ok(Extra { bucket, access: access.collect::<Result<_, _>>()?, foreign: false })
}
