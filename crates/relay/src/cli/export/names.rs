//! `sekisho export squid`, `aws-network-firewall` and `unbound`: who may ask for which names.

use std::io;
use std::net::{IpAddr, SocketAddr};

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use sekisho_policy::export::Export;
use sekisho_policy::{Diagnostics, Policy};
use serde_json::json;

use super::From;
use crate::cli::check::unix_now;
use crate::cli::explain::instant;
use crate::cli::{Done, complain, complain_of, print};

#[derive(Debug, Args)]
pub(in crate::cli) struct Squid {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    output: Output,
    /// Which file of the two
    #[arg(long, value_enum, default_value_t)]
    part: Part,
    /// For a list: the networks that it is for; each name must be open to all of them [default: anybody]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network)]
    clients: Vec<IpNet>,
    /// The time to leave out expired rules at [default: now]
    #[arg(long, value_name = "DATE", value_parser = instant)]
    at: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A fragment of squid.conf with every rule
    #[default]
    Conf,
    /// A flat list for `acl … dstdomain "FILE"`
    List,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NetworkFirewall {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    output: Output,
    /// The networks that the list is for; each name must be open to all of them [default: anybody]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network)]
    clients: Vec<IpNet>,
    /// The time to leave out expired rules at [default: now]
    #[arg(long, value_name = "DATE", value_parser = instant)]
    at: Option<i64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Unbound {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    output: Output,
    /// Name servers to ask for listed names [default: from the root down]
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', value_parser = server)]
    forward: Vec<SocketAddr>,
    /// The time to leave out expired rules at [default: now]
    #[arg(long, value_name = "DATE", value_parser = instant)]
    at: Option<i64>,
}

/// How the result is printed.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Form {
    /// The file itself
    #[default]
    Text,
    /// One JSON object: `digest`, `text` and `notes`
    Json,
}

impl Output {
    pub(super) fn write(&self, policy: &Policy, export: &Export) -> io::Result<Done> {
        match self.format {
            Form::Text => print(export.text.as_bytes()),
            Form::Json => {
                let object = json!({ "digest": policy.digest(), "text": export.text, "notes": export.notes });
                print(format!("{object:#}\n").as_bytes())
            }
        }
    }
}

/// An address with its network's length; an address alone is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let net = text.parse().or_else(|_| address()).map_err(|_| "not a network".to_owned())?;
    if IpNet::trunc(&net) == net {
        Ok(net)
    } else {
        Err(format!("it has address bits beyond its length: write {}", net.trunc()))
    }
}

/// An address with a port, which is 53 unless written.
fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().or_else(|_| text.parse().map(|ip: IpAddr| SocketAddr::new(ip, 53)));
    address.map_err(|_| "not an address".to_owned())
}

/// The policy; its faults are told.
fn load(from: &From) -> Option<Policy> {
    from.load().map_err(|faults: Diagnostics| complain_of(&faults)).ok()
}

impl Squid {
    pub(super) fn run(&self) -> io::Result<Done> {
        let Some(policy) = load(&self.from) else { return Ok(Done::Wrong) };
        let now = self.at.unwrap_or_else(unix_now);
        let export = if self.part == Part::List { policy.squid_list(&self.clients, now) } else { policy.squid(now) };
        self.output.write(&policy, &export)
    }
}

impl NetworkFirewall {
    pub(super) fn run(&self) -> io::Result<Done> {
        let Some(policy) = load(&self.from) else { return Ok(Done::Wrong) };
        // JSON has no comments.
        let tell = |notes: &[String]| notes.iter().for_each(|note| complain(&format!("note: {note}")));
        match policy.network_firewall(&self.clients, self.at.unwrap_or_else(unix_now)) {
            Ok(export) => {
                tell(&export.notes);
                self.output.write(&policy, &export)
            }
            Err((error, notes)) => {
                tell(&notes);
                complain(&format!("error: {error}"));
                Ok(Done::Wrong)
            }
        }
    }
}

impl Unbound {
    pub(super) fn run(&self) -> io::Result<Done> {
        let Some(policy) = load(&self.from) else { return Ok(Done::Wrong) };
        let export = policy.unbound(&self.forward, self.at.unwrap_or_else(unix_now));
        self.output.write(&policy, &export)
    }
}
