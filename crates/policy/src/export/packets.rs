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
    /// The gate's own port.
    pub gate: u16,
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
        let ports = self.redirected();
        if ports.is_empty() {
            return Err(PacketsError::NoPorts);
        }
        if ports.contains(&packets.gate) {
            return Err(PacketsError::GatePort(packets.gate));
        }
        let (what, template) = match (packets.filter, &packets.place) {
            (Filter::Nftables, Place::Router { .. }) => ("nftables --for router", NFT_ROUTER),
            (Filter::Nftables, Place::Host { .. }) => ("nftables --for host", NFT_HOST),
            (Filter::Iptables, Place::Router { .. }) => ("iptables --for router", SH_ROUTER),
            (Filter::Iptables, Place::Host { .. }) => ("iptables --for host", SH_HOST),
        };
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
                let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
                if user.is_empty() || user.len() > 64 || user.starts_with('-') || !user.chars().all(right) {
                    return Err(PacketsError::User);
                }
                settings.push(if nft {
                    ("define gate_user = ".to_owned(), user.clone())
                } else {
                    ("GATE_USER=".to_owned(), format!("\"{user}\""))
                });
            }
        }
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let (https, gate) = if nft { ("define https = ", "define gate = ") } else { ("HTTPS=", "GATE=") };
        let ports = match &ports[..] {
            [one] if nft => one.clone(),
            _ if nft => listed(ports),
            _ => format!("\"{}\"", listed(ports)),
        };
        settings.push((https.to_owned(), ports));
        settings.push((gate.to_owned(), packets.gate.to_string()));
        Ok(Export { text: fill(template, &header(self, what), &settings), notes: Vec::new() })
    }

    /// The ports that allow rules open by TLS, ascending.
    fn redirected(&self) -> Vec<u16> {
        let rules = self.rules.iter().filter(|rule| rule.action == Action::Allow);
        let mut ports: Vec<_> = rules.flat_map(|rule| rule.ports_of(Protocol::Tls)).collect();
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

pub(super) const NFT_ROUTER: &str = include_str!("../../../../deploy/nftables/router.nft");
pub(super) const NFT_HOST: &str = include_str!("../../../../deploy/nftables/host.nft");
pub(super) const SH_ROUTER: &str = include_str!("../../../../deploy/iptables/router.sh");
pub(super) const SH_HOST: &str = include_str!("../../../../deploy/iptables/host.sh");

/// Addresses for documentation (RFC 5737, RFC 3849), which belong to nobody.
const NOBODY4: &str = "192.0.2.0/24";
const NOBODY6: &str = "2001:db8::/32";

/// The template with its header behind the first line, and with each setting's line in place of its own.
fn fill(template: &str, header: &[String], settings: &[(String, String)]) -> String {
    let mut out = String::with_capacity(template.len() + 400);
    for (number, line) in template.lines().enumerate() {
        let setting = settings.iter().find(|(prefix, _)| line.starts_with(prefix.as_str()));
        let _ = match setting {
            Some((prefix, value)) => writeln!(out, "{}{value}", prefix.replace("# ", "")),
            None => writeln!(out, "{line}"),
        };
        if number == 0 {
            out.push_str("#\n");
            comments(&mut out, header);
        }
    }
    out
}
