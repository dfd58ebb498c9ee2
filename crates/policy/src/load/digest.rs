//! What a policy means, as a hash: the same on every node, however the files are spelled, commented or split.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use ipnet::IpNet;
use sha2::{Digest as _, Sha256};

use crate::index::Index;
use crate::pattern;
use crate::policy::{Listed, Policy};
use crate::rule::{RuleInfo, Upstream};

/// The digest of a whole policy, as hex.
pub(super) fn policy(policy: &Policy, bodies: &[[u8; 32]]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("sekisho policy 1\n{}\n{}\n", policy.mode.label(), policy.on_revoke.label()));
    for (rule, body) in policy.rules.iter().zip(bodies) {
        hash.update(rule.name.as_bytes());
        hash.update(b"\n");
        hash.update(body);
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// A rule without its name: what it does, under which conditions, and what it lists, in an order of its own.
pub(super) fn body(index: &Index, rule: &RuleInfo, listed: &[Listed]) -> [u8; 32] {
    let mut text = format!("{} {}\n", rule.action.label(), rule.mode.label());
    let _ = writeln!(text, "expires {:?}", rule.expires);
    match &rule.clients {
        None => text.push_str("clients any\n"),
        Some(nets) => networks(&mut text, "clients", nets),
    }
    for &protocol in &rule.protocols {
        let own = [protocol.default_port()];
        for port in rule.ports.as_deref().unwrap_or(&own) {
            let _ = writeln!(text, "{} {port}", protocol.label());
        }
    }
    match &rule.upstream {
        Upstream::Public => text.push_str("upstream public\n"),
        Upstream::Any => text.push_str("upstream any\n"),
        Upstream::Only(nets) => networks(&mut text, "upstream", nets),
    }
    let mut hash = Sha256::new();
    hash.update(&text);
    let mut entries: Vec<_> = listed.iter().map(|listed| index.entry(listed.entry)).collect();
    entries.sort_unstable();
    for (shape, name) in entries {
        hash.update(pattern::spell(shape, name));
        hash.update(b"\n");
    }
    hash.finalize().into()
}

fn networks(text: &mut String, word: &str, nets: &[IpNet]) {
    for net in nets {
        let _ = writeln!(text, "{word} {net}");
    }
}
