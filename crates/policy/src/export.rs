//! A policy written for other programs that stand on the same way: packet filters, proxies, resolvers.
//!
//! Each is text, the same for the same policy at the same time, and says in its first lines from which digest it comes.
//! What another program cannot say is left out where leaving it out shuts something, and named either way: an export
//! never opens more than the policy without saying so.

pub mod aws;
mod domains;
mod network_firewall;
mod packets;
mod rest;
mod squid;
#[cfg(test)]
mod tests;
mod unbound;

use crate::diagnostic::visible;
use crate::policy::Policy;
use crate::rule::{Action, Ech, Mode, OnMismatch, Protocol, RuleInfo, Upstream};

pub use domains::{Domains, LeftOut};
pub use network_firewall::NetworkFirewallError;
pub use packets::{Filter, Means, Packets, PacketsError, Place};

/// Text for another program, and what was lost on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The whole file.
    pub text: String,
    /// What the other program cannot say, a sentence each. Where the form has comments they are in the text already.
    pub notes: Vec<String>,
}

/// The first lines of every export, without the marks of a comment.
fn header(policy: &Policy, what: &str) -> [String; 2] {
    [
        format!("sekisho export {what}, from the policy with digest {}", policy.digest()),
        "Made by a program: change the policy and export again, not this file.".to_owned(),
    ]
}

/// Lines as comments of the `#` kind.
fn comments(out: &mut String, lines: impl IntoIterator<Item = impl AsRef<str>>) {
    for line in lines {
        let line = line.as_ref();
        out.push_str(if line.is_empty() { "#" } else { "# " });
        out.push_str(line);
        out.push('\n');
    }
}

/// A rule's name as it may stand in a comment.
fn named(rule: &RuleInfo) -> String {
    format!("`{}`", visible(&rule.name))
}

impl RuleInfo {
    /// Whether it lets through at `now` what it matches: an allow rule, or a deny rule that is only watched.
    fn opens(&self, now: i64) -> bool {
        match self.action {
            Action::Allow => !self.expired(now),
            Action::Deny => self.mode == Mode::Audit,
        }
    }

    /// Whether it refuses whoever it matches, whatever their address.
    fn shuts(&self) -> bool {
        self.action == Action::Deny && self.mode == Mode::Enforce
    }

    /// The ports that it covers by a protocol.
    fn ports_of(&self, protocol: Protocol) -> Vec<u16> {
        if !self.protocols.contains(&protocol) {
            return Vec::new();
        }
        self.ports.as_deref().map_or_else(|| vec![protocol.default_port()], <[u16]>::to_vec)
    }
}

/// What no other program keeps of a policy, as far as this one has it.
fn lost(policy: &Policy, now: i64) -> Vec<String> {
    let mut notes = Vec::new();
    if policy.mode == Mode::Audit {
        notes.push("the policy is in audit mode, which lets everything through; here it is enforced".to_owned());
    }
    for rule in &policy.rules {
        let name = named(rule);
        if rule.expired(now) {
            notes.push(format!("the rule {name} has expired and is left out"));
        } else if rule.expires.is_some() {
            notes.push(format!("the rule {name} expires, which this file does not know: export again then"));
        }
        if rule.mode == Mode::Audit {
            notes.push(format!("the rule {name} is under audit: it lets through, and nothing here records that"));
        }
        if rule.opens(now) && rule.ech != Ech::Allow {
            let does = if rule.ech == Ech::Deny { "refuses" } else { "records" };
            notes.push(format!("the rule {name} {does} hellos with ECH, and nothing here looks at that"));
        }
        if rule.opens(now) && rule.on_mismatch == OnMismatch::Refuse {
            notes.push(format!(
                "the rule {name} refuses clients that dialled none of the name's addresses, and nothing here compares them"
            ));
        }
        if rule.opens(now) && rule.upstream != Upstream::Any {
            let which = if rule.upstream == Upstream::Public { "public addresses" } else { "its `upstream`" };
            notes.push(format!("the rule {name} permits {which} only, and nothing here looks at addresses"));
        }
    }
    notes
}
