//! `sekisho export nftables` and `iptables`.

use std::io;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use sekisho_policy::Policy;
use sekisho_policy::export::{self, Export, Filter, Means, PacketsError, Place};

use super::From;
use super::names::{Output, network};
use crate::cli::{Done, complain, complain_of};
use crate::settings::{Destination, Listener, Protocol};

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
    /// For a router, or the rest of a host: what may pass besides, e.g. udp:53; nobody looks into it
    #[arg(long, value_name = "PROTO:PORT,…", value_delimiter = ',', value_parser = pass)]
    pass: Vec<(&'static str, u16)>,
    /// For a host: the user that the gate runs as, by name or number
    #[arg(long, value_name = "USER", default_value = "sekisho")]
    user: String,
    /// How connections come to the gate [default: as to the configuration's first such listener, else redirect]
    #[arg(long, value_enum)]
    by: Option<By>,
    /// The gate's port for TLS [default: that of the configuration's first such listener, else 8443]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    gate_port: Option<u16>,
    /// The gate's port for plain HTTP [default: that of the configuration's first such listener; port 80 is left alone where there is none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    http_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// The kernel's NAT gives them the gate's address
    Redirect,
    /// They keep the address that was dialled; needs a rule and a route besides, which stand in the comments
    Tproxy,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Where {
    /// A box that the clients' networks are routed through
    Router,
    /// A host whose own programs are the clients
    Host,
    /// Beside `host`: whatever else its ordinary users' programs send, which is refused
    HostRest,
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
            Where::HostRest => return self.write(&policy, policy.rest(filter, &self.user, &self.pass)),
            Where::Router => Place::Router { clients: self.clients.clone(), pass: self.pass.clone() },
            Where::Host => Place::Host { user: self.user.clone() },
        };
        let listeners = settings.as_ref().map_or(&[][..], |settings| &settings.listeners);
        let means = match self.by {
            Some(By::Redirect) => Means::Redirect,
            Some(By::Tproxy) => Means::Tproxy,
            None => listeners.iter().find_map(means_of).unwrap_or_default(),
        };
        let port = |tls: bool| {
            let right =
                |listener: &&Listener| means_of(listener) == Some(means) && (listener.protocol == Protocol::Tls) == tls;
            listeners.iter().find(right).map(|listener| listener.bind.port())
        };
        let without = if settings.is_some() { None } else { Some(8443) };
        let Some(gate) = self.gate_port.or_else(|| port(true)).or(without) else {
            complain(
                "error: the configuration has no listener for TLS with `destination: redirect` or `tproxy`; give --gate-port",
            );
            return Ok(Done::Wrong);
        };
        let http = self.http_port.or_else(|| port(false));
        self.write(&policy, policy.packets(&export::Packets { filter, place, means, gate, http }))
    }

    fn write(&self, policy: &Policy, made: Result<Export, PacketsError>) -> io::Result<Done> {
        match made {
            Ok(export) => self.output.write(policy, &export),
            Err(error) => {
                complain(&format!("error: {error}"));
                Ok(Done::Wrong)
            }
        }
    }
}

/// How connections come to a listener, where packet rules bring them.
fn means_of(listener: &Listener) -> Option<Means> {
    match listener.destination {
        Destination::Redirect => Some(Means::Redirect),
        Destination::Tproxy => Some(Means::Tproxy),
        Destination::None { .. } => None,
    }
}
