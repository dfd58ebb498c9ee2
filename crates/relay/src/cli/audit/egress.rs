//! `sekisho audit egress`: which ways out of this host are open.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sekisho_name::Name;
use serde_json::json;

use super::attempt::{Found, Manner, Way, attempt};
use super::wire::Says;
use super::{TCP, UDP};
use crate::cli::{Done, Format, complain, print};

/// Addresses that are tried, whatever their names resolve to.
const MOST_TARGETS: usize = 16;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Hosts of your own outside, by address or by a name that this host resolves; each runs `sekisho audit answer`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// The name that is asked for by TLS and HTTP: one that no rule of the policy lists
    #[arg(long, value_name = "HOST", default_value = "egress-audit.invalid", value_parser = name)]
    name: Name,
    /// The TCP ports
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = TCP, value_parser = port())]
    tcp: Vec<u16>,
    /// The UDP ports
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = UDP, value_parser = port())]
    udp: Vec<u16>,
    /// Leave out echoes, which not every user may send
    #[arg(long)]
    no_icmp: bool,
    /// How many seconds each try may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    wait: u64,
    /// The `refusal_alert` of the gate's configuration, by which its refusals are known from a server's
    #[arg(long, value_enum, default_value_t)]
    refusal_alert: Alert,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Alert {
    /// Alert 49
    #[default]
    AccessDenied,
    /// Alert 112, which servers send as well
    UnrecognizedName,
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|why| why.to_string())
}

/// A port that can be dialled.
pub(super) fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// A way to a target, and what became of it.
struct Tried {
    target: IpAddr,
    way: Way,
    found: Found,
    detail: String,
}

pub(super) fn egress(arguments: &Arguments) -> io::Result<Done> {
    let targets = match resolve(&arguments.targets) {
        Ok(targets) => targets,
        Err(why) => {
            complain(&format!("error: {why}"));
            return Ok(Done::Wrong);
        }
    };
    let manner = Manner {
        name: arguments.name.clone(),
        wait: Duration::from_secs(arguments.wait),
        unrecognized_name: arguments.refusal_alert == Alert::UnrecognizedName,
    };
    let ways = ways(arguments);
    // One target after another: a router that rejects says so a few times a second only, to one client.
    let tried: Vec<_> = targets.into_iter().flat_map(|target| all(&ways, target, &manner)).collect();
    let bad = |tried: &Tried| matches!(tried.found, Found::Open | Found::Untried);
    match arguments.format {
        Format::Human => print(human(&tried).as_bytes())?,
        Format::Json => print(format!("{:#}\n", machine(&tried)).as_bytes())?,
    };
    Ok(if tried.iter().any(bad) { Done::Wrong } else { Done::Right })
}

/// The addresses of what was named, each once.
fn resolve(targets: &[String]) -> Result<BTreeSet<IpAddr>, String> {
    let mut all = BTreeSet::new();
    for target in targets {
        let found: Vec<IpAddr> = match target.parse() {
            Ok(address) => vec![address],
            Err(_) => (target.as_str(), 0)
                .to_socket_addrs()
                .map_err(|error| format!("{target} does not resolve here ({error}): give its addresses"))?
                .map(|address| address.ip())
                .collect(),
        };
        if let Some(bad) = found.iter().find(|address| address.is_unspecified() || address.is_multicast()) {
            return Err(format!("{bad} is no host's address"));
        }
        all.extend(found);
    }
    if all.len() > MOST_TARGETS {
        return Err(format!("{} addresses, and no more than {MOST_TARGETS} are tried at once", all.len()));
    }
    Ok(all)
}

/// What is tried: on the ports that have a protocol of their own, that one, for what is said decides who answers.
fn ways(arguments: &Arguments) -> Vec<Way> {
    let tcp = arguments.tcp.iter().flat_map(|&port| {
        let says = match port {
            443 => &[Says::Named, Says::Unnamed, Says::Plain][..],
            53 => &[Says::Dns],
            80 | 8080 => &[Says::Http],
            853 | 8443 => &[Says::Named],
            _ => &[Says::Plain],
        };
        says.iter().map(move |&says| Way::Tcp(port, says))
    });
    let udp = arguments.udp.iter().map(|&port| {
        let says = match port {
            53 => Says::Dns,
            443 | 853 => Says::Quic,
            _ => Says::Plain,
        };
        Way::Udp(port, says)
    });
    let icmp = (!arguments.no_icmp).then_some(Way::Icmp);
    tcp.chain(udp).chain(icmp).collect()
}

/// Tries them beside one another.
fn all(ways: &[Way], target: IpAddr, manner: &Manner) -> Vec<Tried> {
    let mut tried = Vec::new();
    for some in ways.chunks(64) {
        thread::scope(|scope| {
            let threads: Vec<_> =
                some.iter().map(|&way| (way, scope.spawn(move || attempt(way, target, manner)))).collect();
            for (way, thread) in threads {
                let failed = |_| (Found::Untried, "this is a bug: the try ended by itself".to_owned());
                let (found, detail) = thread.join().unwrap_or_else(failed);
                tried.push(Tried { target, way, found, detail });
            }
        });
    }
    tried
}

impl Way {
    /// The protocol, the port, and what is said.
    fn parts(self) -> (&'static str, Option<u16>, &'static str) {
        match self {
            Self::Tcp(port, says) => ("tcp", Some(port), says.words()),
            Self::Udp(port, says) => ("udp", Some(port), says.words()),
            Self::Icmp => ("icmp", None, Says::Echo.words()),
        }
    }
}

impl Found {
    const ALL: [Self; 5] = [Self::Gate, Self::Shut, Self::Silent, Self::Open, Self::Untried];

    fn label(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Shut => "shut",
            Self::Silent => "silent",
            Self::Open => "OPEN",
            Self::Untried => "untried",
        }
    }

    /// What it means for whoever reads it.
    fn meaning(self) -> &'static str {
        match self {
            Self::Gate => "led to the gate, which refused",
            Self::Shut => "rejected at once, so that programs fall back or fail without delay",
            Self::Silent => "nothing came back: dropped on the way. Rejecting spares programs the wait",
            Self::Open => "led somewhere that is not the gate's refusal: a way out that nobody looks into",
            Self::Untried => "could not be tried, so nothing is known",
        }
    }
}

fn human(tried: &[Tried]) -> String {
    let mut out = String::new();
    let mut last = None;
    // Writing to a String cannot fail.
    for Tried { target, way, found, detail } in tried {
        if last.replace(*target) != Some(*target) {
            let _ = writeln!(out, "{}{target}", if out.is_empty() { "" } else { "\n" });
        }
        let (protocol, port, says) = way.parts();
        let port = port.map_or_else(String::new, |port| port.to_string());
        let _ = writeln!(out, "  {:7}  {protocol:4} {port:5}  {says:35}  {detail}", found.label());
    }
    let count = |found| tried.iter().filter(|tried| tried.found == found).count();
    out.push('\n');
    for found in Found::ALL.into_iter().filter(|found| count(*found) > 0) {
        let _ = writeln!(out, "{:7}  {:3}  {}", found.label(), count(found), found.meaning());
    }
    out
}

fn machine(tried: &[Tried]) -> serde_json::Value {
    let ways: Vec<_> = tried
        .iter()
        .map(|Tried { target, way, found, detail }| {
            let (protocol, port, says) = way.parts();
            let mut object =
                json!({ "target": target, "way": protocol, "says": says, "found": found, "detail": detail });
            if let (Some(port), Some(object)) = (port, object.as_object_mut()) {
                object.insert("port".to_owned(), port.into());
            }
            object
        })
        .collect();
    let count = |found| tried.iter().filter(|tried| tried.found == found).count();
    json!({ "open": count(Found::Open), "untried": count(Found::Untried), "ways": ways })
}
