//! Packet rules that send connections to the gate: the files of `deploy/`, with this policy's clients and ports in them.
//!
//! There is one text of each: what an example deployment ships, an export fills in, and the end-to-end tests load.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::{Export, comments, header};
use crate::policy::Policy;
use crate::rule::{Action, Protocol};

/// Which program reads the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A file for `nft -f`.
    Nftables,
    /// A shell script around `iptables-restore` and `ip6tables-restore`.
    Iptables,
}

/// By which means a connection comes to the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Means {
    /// The kernel's NAT gives it the gate's address.
    #[default]
    Redirect,
    /// It keeps the address that was dialled, and a transparent socket takes it.
    Tproxy,
}

/// Where they are loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a box that clients' networks are routed through.
    Router {
        /// Those networks; empty: every network that the rules of the policy name.
        clients: Vec<IpNet>,
        /// What they may send through besides, as protocol (`tcp`, `udp`) and port.
        pass: Vec<(&'static str, u16)>,
    },
    /// On a host whose own programs are the clients.
    Host {
        /// The user that the gate runs as, by name or number.
        user: String,
    },
}

/// What to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packets {
    /// Which program reads the rules.
    pub filter: Filter,
    /// Where they are loaded.
    pub place: Place,
    /// How connections come to the gate.
    pub means: Means,
    /// The gate's own port for TLS.
    pub gate: u16,
    /// Its port for plain HTTP, if it is to have that as well.
    pub http: Option<u16>,
}

/// Why there are no rules to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketsError {
    /// The policy opens nothing by TLS.
    NoPorts,
    /// A rule is for anybody, so the policy does not say which networks to redirect.
    AnyClient,
    /// The gate's port is one of those that are redirected.
    GatePort(u16),
    /// A port is to be redirected to two of the gate's, or two of the gate's are one.
    SharedPort(u16),
    /// The user's name has a character that no user's name has.
    User,
}

impl std::fmt::Display for PacketsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPorts => f.write_str("no rule of the policy opens a port by TLS, so there is nothing to redirect"),
            Self::AnyClient => f.write_str(
                "a rule of the policy is for any client, so the policy does not say which networks to redirect: name them with --clients",
            ),
            Self::GatePort(port) => write!(f, "the gate's own port {port} is among those that are redirected to it"),
            Self::SharedPort(port) => write!(f, "port {port} is for TLS and for plain HTTP, and can be for one only"),
            Self::User => f.write_str("a user's name has letters, digits, `_`, `-` and `.` only"),
        }
    }
}

impl std::error::Error for PacketsError {}

impl Policy {
    /// The packet rules for this policy.
    ///
    /// # Errors
    /// [`PacketsError`] says what the policy leaves open.
    pub fn packets(&self, packets: &Packets) -> Result<Export, PacketsError> {
        let ports = self.opened(Protocol::Tls);
        if ports.is_empty() {
            return Err(PacketsError::NoPorts);
        }
        let mut pairs = vec![(ports, packets.gate)];
        if let Some(gate) = packets.http {
            // Also where no rule opens one: what the gate refuses, it records.
            let ports = Some(self.opened(Protocol::Http)).filter(|ports| !ports.is_empty());
            pairs.push((ports.unwrap_or_else(|| vec![80]), gate));
        }
        refuse_shared(&pairs)?;
        let (what, template) = template(packets);
        let mut settings = vec![];
        let nft = packets.filter == Filter::Nftables;
        let listed = |items: Vec<String>| if nft { format!("{{ {} }}", items.join(", ")) } else { items.join(" ") };
        match &packets.place {
            Place::Router { clients, pass } => {
                let clients = if clients.is_empty() { self.all_clients()? } else { clients.clone() };
                let family = |v6: bool| {
                    clients
                        .iter()
                        .filter(|net| matches!(net, IpNet::V6(_)) == v6)
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                };
                for (v6, name) in [(false, "4"), (true, "6")] {
                    let (nets, nobody) = (family(v6), if v6 { NOBODY6 } else { NOBODY4 });
                    // An empty set is none to nft; an address of nobody's keeps the family's port shut.
                    let nets = if nets.is_empty() && nft { vec![nobody.to_owned()] } else { nets };
                    settings.push(if nft {
                        (format!("define clients{name} = "), listed(nets))
                    } else {
                        (format!("CLIENTS{name}="), format!("\"{}\"", listed(nets)))
                    });
                }
                if !pass.is_empty() {
                    let with = |join: &str| pass.iter().map(|(proto, port)| format!("{proto}{join}{port}")).collect();
                    settings.push(if nft {
                        ("        # elements = ".to_owned(), listed(with(" . ")))
                    } else {
                        ("PASSED=".to_owned(), format!("\"{}\"", listed(with(":"))))
                    });
                }
            }
            Place::Host { user } => {
                if !is_user(user) {
                    return Err(PacketsError::User);
                }
                settings.push(if nft {
                    ("define gate_user = ".to_owned(), user.clone())
                } else {
                    ("GATE_USER=".to_owned(), format!("\"{user}\""))
                });
            }
        }
        if nft {
            let names = [("https", "gate"), ("http", "gate_http")];
            let lines = |(name, gate_name): (&str, &str), (ports, gate): &(Vec<u16>, u16)| {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                let ports = if let [one] = &ports[..] { one.clone() } else { listed(ports) };
                [format!("define {name} = {ports}"), format!("define {gate_name} = {gate}")]
            };
            let lines: Vec<_> = names.into_iter().zip(&pairs).map(|(names, pair)| lines(names, pair)).collect();
            for (at, prefix) in ["define https = ", "define gate = "].into_iter().enumerate() {
                let all: Vec<_> = lines.iter().filter_map(|lines| lines.get(at)).map(String::as_str).collect();
                settings.push((prefix.to_owned(), all.join("\n").replacen(prefix, "", 1)));
            }
        } else {
            let each = pairs.iter().flat_map(|(ports, gate)| ports.iter().map(move |port| format!("{port}:{gate}")));
            settings.push(("GATES=".to_owned(), format!("\"{}\"", each.collect::<Vec<_>>().join(" "))));
        }
        let twins = nft && packets.http.is_some();
        let text = fill(template, &header(self, what), &settings, twins);
        Ok(Export { text, notes: Vec::new() })
    }

    /// The ports that allow rules open by a protocol, ascending.
    fn opened(&self, protocol: Protocol) -> Vec<u16> {
        let rules = self.rules.iter().filter(|rule| rule.action == Action::Allow);
        let mut ports: Vec<_> = rules.flat_map(|rule| rule.ports_of(protocol)).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Every network that an allow rule names.
    fn all_clients(&self) -> Result<Vec<IpNet>, PacketsError> {
        let mut all = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.action == Action::Allow) {
            all.extend_from_slice(rule.clients.as_deref().ok_or(PacketsError::AnyClient)?);
        }
        let mut all = IpNet::aggregate(&all);
        all.sort_unstable();
        Ok(all)
    }
}

/// What is printed, in a few words, and the file of `deploy/` that it is.
fn template(packets: &Packets) -> (&'static str, &'static str) {
    match (packets.filter, packets.means, &packets.place) {
        (Filter::Nftables, Means::Redirect, Place::Router { .. }) => ("nftables --for router", NFT_ROUTER),
        (Filter::Nftables, Means::Redirect, Place::Host { .. }) => ("nftables --for host", NFT_HOST),
        (Filter::Iptables, Means::Redirect, Place::Router { .. }) => ("iptables --for router", SH_ROUTER),
        (Filter::Iptables, Means::Redirect, Place::Host { .. }) => ("iptables --for host", SH_HOST),
        (Filter::Nftables, Means::Tproxy, Place::Router { .. }) => {
            ("nftables --for router --by tproxy", NFT_TPROXY_ROUTER)
        }
        (Filter::Nftables, Means::Tproxy, Place::Host { .. }) => ("nftables --for host --by tproxy", NFT_TPROXY_HOST),
        (Filter::Iptables, Means::Tproxy, Place::Router { .. }) => {
            ("iptables --for router --by tproxy", SH_TPROXY_ROUTER)
        }
        (Filter::Iptables, Means::Tproxy, Place::Host { .. }) => ("iptables --for host --by tproxy", SH_TPROXY_HOST),
    }
}

/// Whether that may be a user's name, or number.
pub(super) fn is_user(text: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.len() <= 64 && !text.starts_with('-') && text.chars().all(right)
}

/// Of ports and the gate's port for each: none stands twice.
fn refuse_shared(pairs: &[(Vec<u16>, u16)]) -> Result<(), PacketsError> {
    let mut seen = Vec::new();
    for (ports, gate) in pairs {
        if let Some(&(_, gate)) = pairs.iter().find(|(_, gate)| ports.contains(gate)) {
            return Err(PacketsError::GatePort(gate));
        }
        if let Some(&twice) = ports.iter().chain([gate]).find(|port| seen.contains(*port)) {
            return Err(PacketsError::SharedPort(twice));
        }
        seen.extend(ports.iter().chain([gate]));
    }
    Ok(())
}

pub(super) const NFT_ROUTER: &str = include_str!("../../../../deploy/nftables/router.nft");
pub(super) const NFT_HOST: &str = include_str!("../../../../deploy/nftables/host.nft");
pub(super) const SH_ROUTER: &str = include_str!("../../../../deploy/iptables/router.sh");
pub(super) const SH_HOST: &str = include_str!("../../../../deploy/iptables/host.sh");
pub(super) const NFT_TPROXY_ROUTER: &str = include_str!("../../../../deploy/nftables/tproxy-router.nft");
pub(super) const NFT_TPROXY_HOST: &str = include_str!("../../../../deploy/nftables/tproxy-host.nft");
pub(super) const SH_TPROXY_ROUTER: &str = include_str!("../../../../deploy/iptables/tproxy-router.sh");
pub(super) const SH_TPROXY_HOST: &str = include_str!("../../../../deploy/iptables/tproxy-host.sh");

/// Addresses for documentation (RFC 5737, RFC 3849), which belong to nobody.
const NOBODY4: &str = "192.0.2.0/24";
const NOBODY6: &str = "2001:db8::/32";

/// The template with its header behind the first line, and with each setting's line in place of its own. With `twins`,
/// each rule for TLS is followed by the same for plain HTTP.
pub(super) fn fill(template: &str, header: &[String], settings: &[(String, String)], twins: bool) -> String {
    let mut out = String::with_capacity(template.len() + 1000);
    for (number, line) in template.lines().enumerate() {
        let setting = settings.iter().find(|(prefix, _)| line.starts_with(prefix.as_str()));
        let _ = match setting {
            Some((prefix, value)) => writeln!(out, "{}{value}", prefix.replace("# ", "")),
            None => writeln!(out, "{line}"),
        };
        if twins && line.contains("$https") {
            let _ = writeln!(out, "{}", line.replace("$https", "$http").replace(":$gate", ":$gate_http"));
        }
        if number == 0 {
            out.push_str("#\n");
            comments(&mut out, header);
        }
    }
    out
}
