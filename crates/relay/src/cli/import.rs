//! `sekisho import`: another program's list as a policy.

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sekisho_policy::Disk;
use sekisho_policy::import::{self, From};
use serde_json::json;

use super::check::unix_now;
use super::{Done, complain, print};

#[derive(Debug, Subcommand)]
pub(super) enum Source {
    /// A dstdomain list, or a squid.conf with its `acl` and `http_access` lines
    Squid(File),
    /// `/etc/hosts`, or a list of host names
    Hosts(File),
    /// A rule group of AWS Network Firewall with a domain list, as describe-rule-group prints it
    AwsNetworkFirewall(File),
}

#[derive(Debug, Args)]
pub(super) struct File {
    /// The file
    file: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    /// policy.yaml
    #[default]
    Text,
    /// One JSON object: `text` and `notes`
    Json,
}

pub(super) fn import(source: &Source) -> io::Result<Done> {
    let (from, File { file, format }) = match source {
        Source::Squid(file) => (From::Squid, file),
        Source::Hosts(file) => (From::Hosts, file),
        Source::AwsNetworkFirewall(file) => (From::NetworkFirewall, file),
    };
    match import::import(from, file, &Disk, unix_now()) {
        Ok(made) => match format {
            Form::Text => print(made.text.as_bytes()),
            Form::Json => print(format!("{:#}\n", json!({ "text": made.text, "notes": made.notes })).as_bytes()),
        },
        Err(error) => {
            complain(&format!("error: {}: {error}", file.display()));
            Ok(Done::Wrong)
        }
    }
}
