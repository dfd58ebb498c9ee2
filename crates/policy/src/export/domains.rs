//! The flat list of names that every client of some networks may reach by TLS on port 443: what domain lists can say.
//!
//! A flat list has no clients, no order and no exceptions. So it holds only what the policy lets through for *all* of
//! these clients, and a pattern of which an earlier deny rule shuts a part stays out.

use std::collections::HashMap;

use ipnet::IpNet;

use super::{Export, comments, header, lost, named};
use crate::index::Shape;
use crate::pattern;
use crate::policy::Policy;
use crate::rule::{Protocol, RuleInfo, last_at};

/// Names for a flat list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    /// `host` or `.domain` (the domain and all below it), sorted, each once, none that another covers.
    pub names: Vec<String>,
    /// What the policy opens and this list does not.
    pub left_out: Vec<LeftOut>,
}

/// Something that a rule opens and a flat list cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The rule's name, or a name that it lists.
    pub what: String,
    /// Why, in words that follow.
    pub why: &'static str,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.what, self.why)
    }
}

impl Policy {
    /// What all clients of `networks` (empty: anybody at all) may reach by TLS on port 443 at `now`, in Unix seconds.
    pub fn domains(&self, networks: &[IpNet], now: i64) -> Domains {
        let shut = self.shut_within();
        let mut names = Vec::new();
        let mut left_out = Vec::new();
        for (id, (rule, listed)) in self.rules.iter().zip(&self.listed).enumerate() {
            if !rule.opens(now) {
                continue;
            }
            if !rule.ports_of(Protocol::Tls).contains(&443) {
                left_out.push(LeftOut { what: named(rule), why: "opens no TLS on port 443" });
                continue;
            }
            if !admits_all(rule, networks) {
                left_out.push(LeftOut { what: named(rule), why: "is not for all of these clients (see --clients)" });
                continue;
            }
            if rule.vpc_endpoints.is_some() {
                left_out.push(LeftOut { what: named(rule), why: "is for some VPC endpoints only" });
                continue;
            }
            for item in listed {
                let (shape, name) = self.index.entry(item.entry);
                let spelled = pattern::spell(shape, name);
                let earlier_deny = |rules: &[u32]| rules.iter().any(|&r| (r as usize) < id && self.shuts_some(r));
                if self.index.covering(shape, name).any(earlier_deny) {
                    left_out.push(LeftOut { what: spelled, why: "is shut by an earlier deny rule" });
                } else if shape != Shape::Exact
                    && (shut.get(name).is_some_and(|&first| first < id)
                        || self.index.covering(Shape::Exact, name).any(earlier_deny))
                {
                    left_out.push(LeftOut { what: spelled, why: "has an exception, by an earlier deny rule" });
                } else if matches!(shape, Shape::Exact | Shape::Below) {
                    names.push(spelled);
                } else {
                    left_out.push(LeftOut {
                        what: spelled,
                        why: "stands for one label, and a list has only whole domains",
                    });
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        let below: std::collections::HashSet<_> =
            names.iter().filter_map(|name| name.strip_prefix('.')).map(str::to_owned).collect();
        names.retain(|name| !covered(name, &below));
        Domains { names, left_out }
    }

    /// [`Policy::domains`] as a file for `acl … dstdomain "…"`.
    pub fn squid_list(&self, networks: &[IpNet], now: i64) -> Export {
        let domains = self.domains(networks, now);
        let whom = if networks.is_empty() {
            "anybody".to_owned()
        } else {
            networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let mut notes: Vec<_> =
            domains.left_out.iter().map(|left| format!("{left}, so it is not in the list")).collect();
        notes.extend(lost(self, now));
        let mut text = String::new();
        comments(&mut text, header(self, "squid --part list"));
        comments(&mut text, ["", &format!("What {whom} may reach by CONNECT to port 443, for a rule like")]);
        comments(
            &mut text,
            ["    acl allowed dstdomain -n \"/etc/squid/allowed\"", "    http_access allow CONNECT allowed"],
        );
        if !notes.is_empty() {
            comments(&mut text, ["", "What a flat list cannot say:"]);
            comments(&mut text, notes.iter().map(|note| format!(" - {note}")));
        }
        for name in &domains.names {
            text.push_str(name);
            text.push('\n');
        }
        Export { text, notes }
    }

    /// Every domain that a deny rule shuts, or shuts something below of, and the first such rule.
    fn shut_within(&self) -> HashMap<&str, usize> {
        let mut shut = HashMap::new();
        for (id, (rule, listed)) in self.rules.iter().zip(&self.listed).enumerate() {
            if !rule.shuts() {
                continue;
            }
            for item in listed {
                let (_, name) = self.index.entry(item.entry);
                for name in std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, rest)| rest)) {
                    shut.entry(name).or_insert(id);
                }
            }
        }
        shut
    }

    fn shuts_some(&self, rule: u32) -> bool {
        self.rules.get(rule as usize).is_some_and(RuleInfo::shuts)
    }
}

/// Whether a rule is for every address of these networks; without networks, for every address that there is.
fn admits_all(rule: &RuleInfo, networks: &[IpNet]) -> bool {
    rule.clients.as_ref().is_none_or(|nets| {
        !networks.is_empty()
            && networks.iter().all(|net| last_at(nets, net.network()).is_some_and(|own| own.contains(net)))
    })
}

/// Whether another entry covers this one.
pub(super) fn covered(name: &str, below: &std::collections::HashSet<String>) -> bool {
    let first = match name.strip_prefix('.') {
        Some(domain) => domain.split_once('.').map(|(_, rest)| rest),
        // No pattern matches a name with an underscore, though other programs' would.
        None => Some(name).filter(|name| !name.contains('_')),
    };
    std::iter::successors(first, |name| name.split_once('.').map(|(_, rest)| rest)).any(|name| below.contains(name))
}
