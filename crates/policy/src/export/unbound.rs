//! Unbound: a resolver that answers for listed names and refuses every other question.
//!
//! The gate ignores the address that a client dials, so the clients' own DNS can be cut down to the names that they may
//! reach: then a question carries nothing out. Unbound decides by the longest zone that a name lies in, so a listed host
//! stands for what is below it too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::{Export, comments, header, named};
use crate::index::Shape;
use crate::pattern;
use crate::policy::Policy;
use crate::rule::{Mode, Protocol, RuleInfo};

impl Policy {
    /// A fragment of `unbound.conf`. Names of rules that let anybody through at `now` are resolved, by `forward` or, when
    /// that is empty, from the root; every other question is refused.
    pub fn unbound(&self, forward: &[SocketAddr], now: i64) -> Export {
        let mut notes = Vec::new();
        if self.mode == Mode::Audit {
            notes.push("the policy is in audit mode; here names that it does not list are refused already".to_owned());
        }
        let zones = self.zones(now, &mut notes);
        let mut text = String::new();
        comments(&mut text, header(self, "unbound"));
        comments(
            &mut text,
            [
                "",
                "For unbound.conf.d: every question is refused but those for listed names, so that DNS carries nothing out.",
                "Who may reach what is the gate's to decide: a name that is listed for one client is answered to all.",
                "What is below a listed host is answered too: Unbound has whole zones only.",
            ],
        );
        if !notes.is_empty() {
            comments(&mut text, ["", "What Unbound cannot say:"]);
            comments(&mut text, notes.iter().map(|note| format!(" - {note}")));
        }
        text.push_str("\nserver:\n");
        match self.known_clients() {
            Some(nets) => {
                for net in nets {
                    let _ = writeln!(text, "    access-control: {net} allow");
                }
            }
            None => text.push_str("    # A rule is for any client: say with `access-control` who may ask.\n"),
        }
        text.push_str("    local-zone: \".\" always_refuse\n");
        for (name, open) in &zones {
            let kind = if *open { "transparent" } else { "always_refuse" };
            let _ = writeln!(text, "    local-zone: \"{name}.\" {kind}");
        }
        if !forward.is_empty() {
            text.push_str("\nforward-zone:\n    name: \".\"\n");
            for server in forward {
                let _ = writeln!(text, "    forward-addr: {}@{}", server.ip(), server.port());
            }
        }
        Export { text, notes }
    }

    /// Zones and whether they are answered; none that says what the one around it says already.
    fn zones(&self, now: i64, notes: &mut Vec<String>) -> BTreeMap<&str, bool> {
        let mut zones = BTreeMap::new();
        for (id, (rule, listed)) in self.rules.iter().zip(&self.listed).enumerate() {
            if rule.expired(now) {
                notes.push(format!("the rule {} has expired and is left out", named(rule)));
            }
            if !rule.opens(now) {
                continue;
            }
            for item in listed {
                let (shape, name) = self.index.entry(item.entry);
                let before = |&&r: &&u32| (r as usize) < id;
                let denied = |r: &u32| self.rules.get(*r as usize).is_some_and(|deny| always_shuts(deny, rule));
                if self.index.covering(shape, name).any(|rules| rules.iter().take_while(before).any(denied)) {
                    continue;
                }
                let zone =
                    if shape == Shape::Ending { name.split_once('.').map_or(name, |(_, rest)| rest) } else { name };
                if matches!(shape, Shape::OneLabel | Shape::Ending) && zones.insert(zone, true).is_none() {
                    notes.push(format!("for `{}` all of `{zone}` is answered", pattern::spell(shape, name)));
                }
                zones.insert(zone, true);
            }
        }
        for (id, (rule, listed)) in self.rules.iter().zip(&self.listed).enumerate() {
            for item in listed.iter().filter(|_| rule.shuts()) {
                let (shape, name) = self.index.entry(item.entry);
                let opened = |r: &u32| {
                    let opener = self.rules.get(*r as usize).filter(|opener| opener.opens(now));
                    opener.is_some_and(|opener| (*r as usize) < id || !always_shuts(rule, opener))
                };
                let anybody = rule.clients.is_none() && rule.vpc_endpoints.is_none();
                let whole = shape == Shape::Below && anybody;
                // All of it, or its topmost name alone.
                let mut openers = self.index.covering(shape, name).chain(self.index.covering(Shape::Exact, name));
                if whole && !openers.any(|rules| rules.iter().any(opened)) {
                    zones.entry(name).or_insert(false);
                } else if ancestor(&zones, name) == Some(true) {
                    let spelled = pattern::spell(shape, name);
                    notes.push(format!("`{spelled}`, which the rule {} denies, is answered", named(rule)));
                }
            }
        }
        let needless: Vec<_> = zones
            .iter()
            .filter(|&(name, &open)| ancestor(&zones, name).unwrap_or(false) == open)
            .map(|(n, _)| *n)
            .collect();
        for name in needless {
            zones.remove(name);
        }
        zones
    }

    /// Every network that a rule which opens something names; `None` when one is for anybody.
    fn known_clients(&self) -> Option<Vec<IpNet>> {
        let mut all = Vec::new();
        for rule in self.rules.iter().filter(|rule| !rule.shuts()) {
            all.extend_from_slice(rule.clients.as_deref()?);
        }
        let mut all = IpNet::aggregate(&all);
        all.sort_unstable();
        Some(all)
    }
}

/// Whether a deny rule leaves nothing of what another opens, names aside.
fn always_shuts(deny: &RuleInfo, opener: &RuleInfo) -> bool {
    deny.shuts()
        && deny.clients.is_none()
        && deny.vpc_endpoints.is_none()
        && [Protocol::Tls, Protocol::Http].into_iter().all(|protocol| {
            let shut = deny.ports_of(protocol);
            opener.ports_of(protocol).iter().all(|port| shut.contains(port))
        })
}

/// What the nearest zone around a name says.
fn ancestor(zones: &BTreeMap<&str, bool>, name: &str) -> Option<bool> {
    let parent = name.split_once('.').map(|(_, rest)| rest);
    std::iter::successors(parent, |name| name.split_once('.').map(|(_, rest)| rest))
        .find_map(|name| zones.get(name).copied())
}
