//! What was learned, as plain values: rules, and what is in none of them.

use std::net::IpAddr;

use ipnet::IpNet;
use sekisho_name::Name;
use sekisho_policy::{Decision, Policy, Protocol, Request};
use serde::Serialize;

use crate::learn::yaml;
use crate::tally::Seen;

/// Rules to review.
#[derive(Debug, Serialize)]
pub struct Learned {
    /// The connections that were looked at, those that were simply allowed included. Without any, that there are no rules
    /// says nothing.
    pub looked_at: Seen,
    /// In the order of what they list first.
    pub rules: Vec<LearnedRule>,
    /// What no rule lists, most often asked for first.
    pub aside: Vec<SetAside>,
    /// Connections that the policy given allows already.
    pub allowed_already: u64,
    /// Connections that were not looked at because a cap on names or clients was reached: more than nothing here means that
    /// the rules are incomplete.
    pub beyond: u64,
    /// Whether client ranges are wider than what was seen, because that was asked for.
    pub rounded: bool,
    /// What the rules list, pair by pair.
    #[serde(skip)]
    pub(super) listed: Vec<ListedPairs>,
}

/// A name with the clients that are to reach it.
#[derive(Debug)]
pub(super) struct ListedPairs {
    pub(super) name: Name,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    pub(super) clients: Vec<IpAddr>,
}

/// A rule: everything that exactly these clients asked for in this way.
#[derive(Debug, Serialize)]
pub struct LearnedRule {
    /// Made of what it lists first.
    pub name: String,
    /// `tls` or `http`.
    pub protocol: &'static str,
    /// The port.
    pub port: u16,
    /// The fewest networks that hold the clients.
    pub clients: Vec<IpNet>,
    /// How many clients were seen.
    pub clients_seen: usize,
    /// Which addresses have to be dialled.
    pub upstream: Upstreams,
    /// Buckets, by name and region.
    pub buckets: Vec<LearnedBucket>,
    /// Other names.
    pub hosts: Vec<LearnedHost>,
    /// How often.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A bucket with the forms of name by which it was asked for.
#[derive(Debug, Serialize)]
pub struct LearnedBucket {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Words of `endpoints:`.
    pub endpoints: Vec<&'static str>,
    /// How often.
    #[serde(flatten)]
    pub seen: Seen,
    /// The rule that allowed it until it expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
}

/// A host name.
#[derive(Debug, Serialize)]
pub struct LearnedHost {
    /// The name.
    pub host: String,
    /// How often.
    #[serde(flatten)]
    pub seen: Seen,
    /// The rule that allowed it until it expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
    /// What to know about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Which addresses the names led to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstreams {
    /// Public ones, as is the default.
    Public,
    /// These private ones.
    Only(Vec<IpNet>),
    /// Private and public ones, or more private ones than are kept.
    Any,
}

/// What no rule lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// The name, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The reason's label, or what is wrong with the name.
    pub why: String,
    /// The rule that it met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What to change, usually at the client.
    pub change: String,
    /// How many clients.
    pub clients: usize,
    /// How often.
    #[serde(flatten)]
    pub seen: Seen,
}

impl Learned {
    /// The rules as a policy, with comments; `heading` goes before it, as comments too.
    pub fn yaml(&self, heading: &str) -> String {
        yaml::yaml(self, heading)
    }

    /// Loads the rules and asks them about everything that they list.
    ///
    /// # Errors
    /// What a policy of them would refuse, or why it is none: more than a policy may hold, for one.
    pub fn prove(&self, now: i64) -> Result<(), String> {
        let loaded = Policy::parse("learned.yaml", &self.yaml(""), now).map_err(|faults| faults.human())?;
        for ListedPairs { name, protocol, port, clients } in &self.listed {
            for &client in clients {
                let request = Request { name, client, port: *port, protocol: *protocol, now, vpce: None, ech: false };
                if !matches!(loaded.policy.decide(&request), Decision::Allow { .. }) {
                    return Err(format!("{name}:{port} would be refused to {client}"));
                }
            }
        }
        Ok(())
    }

    /// How many different names the rules were made of.
    pub fn names(&self) -> usize {
        self.listed.len()
    }
}
