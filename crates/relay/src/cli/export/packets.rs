//! `sekisho export nftables` and `iptables`.

use std::io;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use sekisho_policy::export::{self, Filter, Place};

use super::From;
use super::names::{Output, network};
use crate::cli::{Done, complain, complain_of};
use crate::settings::{Destination, Settings};

#[derive(Debug, Args)]
pub(in crate::cli) struct Packets {
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    output: Output,
    /// Where the rules are loaded
    #[arg(long = "for", value_enum)]
    place: Where,
    /// For a router: the clients' networks [default: those that the rules name]
    #[arg(long, value_name = "CIDR,…", value_delimiter = ',', value_parser = network)]
    clients: Vec<IpNet>,
    /// For a router: what may pass besides, e.g. udp:53; nobody looks into it
    #[arg(long, value_name = "PROTO:PORT,…", value_delimiter = ',', value_parser = pass)]
    pass: Vec<(&'static str, u16)>,
    /// For a host: the user that the gate runs as, by name or number
    #[arg(long, value_name = "USER", default_value = "sekisho")]
    user: String,
    /// The gate's port [default: that of the configuration's first redirect listener, else 8443]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    gate_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// A box that the clients' networks are routed through
    Router,
    /// A host whose own programs are the clients
    Host,
}

/// `udp:53`.
fn pass(text: &str) -> Result<(&'static str, u16), String> {
    let (protocol, port) = text.split_once(':').ok_or("write it like udp:53")?;
    let protocol = ["tcp", "udp"].into_iter().find(|known| *known == protocol).ok_or("the protocol is tcp or udp")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("the port is a number up to 65535")?;
    Ok((protocol, port))
}

impl Packets {
    pub(super) fn run(&self, filter: Filter) -> io::Result<Done> {
        let (policy, settings) = match self.from.load_all() {
            Ok(loaded) => loaded,
            Err(faults) => return Ok(complain_of(&faults)),
        };
        let place = match self.place {
            Where::Router => Place::Router { clients: self.clients.clone(), pass: self.pass.clone() },
            Where::Host => Place::Host { user: self.user.clone() },
        };
        let gate = self.gate_port.or_else(|| settings.as_ref().map_or(Some(8443), redirected));
        let Some(gate) = gate else {
            complain("error: the configuration has no listener with `destination: redirect`; give --gate-port");
            return Ok(Done::Wrong);
        };
        match policy.packets(&export::Packets { filter, place, gate }) {
            Ok(export) => self.output.write(&policy, &export),
            Err(error) => {
                complain(&format!("error: {error}"));
                Ok(Done::Wrong)
            }
        }
    }
}

/// The port that redirected connections arrive on.
fn redirected(settings: &Settings) -> Option<u16> {
    let listener = settings.listeners.iter().find(|listener| listener.destination == Destination::Redirect);
    listener.map(|listener| listener.bind.port())
}
