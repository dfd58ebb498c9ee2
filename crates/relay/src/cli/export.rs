//! `sekisho export`: the policy as another program's rules. One file a format.

mod aws;
mod names;
mod packets;

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use sekisho_policy::export::Filter;
use sekisho_policy::{Diagnostics, Policy};

use super::check::unix_now;
use super::{ConfigFile, Done};
use crate::config::Config;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Format {
    /// For a VPC endpoint of S3, gateway or interface: which buckets are reached through it
    #[command(name = "endpoint-policy")]
    Endpoint(aws::EndpointPolicy),
    /// For one bucket: from where it is reached, in the two stages of a cut-over
    #[command(name = "bucket-policy")]
    Bucket(aws::BucketPolicy),
    /// For the identities behind the gate: what they may do with S3, and through the endpoint only
    #[command(name = "iam-policy")]
    Iam(aws::IamPolicy),
    /// Packet rules for `nft -f` that send what the policy is about to the gate
    Nftables(packets::Packets),
    /// A script with the same rules for iptables and ip6tables
    Iptables(packets::Packets),
    /// Rules for Squid: `http_access` lines, or a dstdomain list
    Squid(names::Squid),
    /// A domain list for AWS Network Firewall, as create-rule-group takes it
    AwsNetworkFirewall(names::NetworkFirewall),
    /// A configuration for Unbound that answers for listed names only
    Unbound(names::Unbound),
}

/// Which policy is exported.
#[derive(Debug, Args)]
struct From {
    #[command(flatten)]
    config: ConfigFile,
    /// The policy itself, where there is no node's configuration
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    policy: Option<PathBuf>,
}

impl From {
    /// The policy, read as it is now; its warnings are `check`'s business.
    fn load(&self) -> Result<Policy, Diagnostics> {
        self.load_all().map(|(policy, _)| policy)
    }

    /// The same, and the node's settings where there is a configuration.
    fn load_all(&self) -> Result<(Policy, Option<Settings>), Diagnostics> {
        let (path, settings) = if let Some(path) = &self.policy {
            (path.clone(), None)
        } else {
            let Config { policy, faults, settings } = Config::load(&self.config.path);
            (policy.filter(|_| faults.errors() == 0).ok_or(faults)?, settings)
        };
        Policy::load(&path, unix_now()).map(|loaded| (loaded.policy, settings))
    }
}

pub(super) fn export(format: &Format) -> io::Result<Done> {
    match format {
        Format::Endpoint(arguments) => arguments.run(),
        Format::Bucket(arguments) => arguments.run(),
        Format::Iam(arguments) => arguments.run(),
        Format::Nftables(arguments) => arguments.run(Filter::Nftables),
        Format::Iptables(arguments) => arguments.run(Filter::Iptables),
        Format::Squid(arguments) => arguments.run(),
        Format::AwsNetworkFirewall(arguments) => arguments.run(),
        Format::Unbound(arguments) => arguments.run(),
    }
}
