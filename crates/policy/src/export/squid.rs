//! Back to Squid: the rules in order as `acl` and `http_access` lines.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use super::domains::covered;
use super::{Export, comments, header, lost, named};
use crate::index::Shape;
use crate::policy::Policy;
use crate::rule::{Protocol, RuleInfo};

impl Policy {
    /// A fragment of `squid.conf` that decides as this policy does at `now`, in Unix seconds; what it cannot keep is said
    /// in it.
    pub fn squid(&self, now: i64) -> Export {
        let mut notes = lost(self, now);
        if self.rules.iter().any(|rule| rule.protocols.contains(&Protocol::Tls)) {
            notes.push("Squid looks at the name of the CONNECT request, not at the one in the TLS hello".to_owned());
        }
        for rule in self.rules.iter().filter(|rule| rule.vpc_endpoints.is_some()) {
            let what = if rule.shuts() { "shuts here whatever comes" } else { "is left out" };
            notes.push(format!(
                "the rule {} is for some VPC endpoints only, which Squid does not know: it {what}",
                named(rule)
            ));
        }
        let mut text = String::new();
        comments(&mut text, header(self, "squid"));
        let place = "For squid.conf, in the place of its http_access lines: `include /etc/squid/sekisho.conf`.";
        comments(&mut text, ["", place, "The first line that matches decides, as in the policy."]);
        if !notes.is_empty() {
            comments(&mut text, ["", "What Squid cannot say:"]);
            comments(&mut text, notes.iter().map(|note| format!(" - {note}")));
        }
        text.push_str("\nacl sekisho_connect method CONNECT\n");
        // No pattern of the policy matches a name with an underscore, and Squid's would.
        text.push_str("acl sekisho_underscore dstdom_regex -n _\n");
        for (id, rule) in self.rules.iter().enumerate() {
            // What shuts something for some endpoints shuts it for all.
            if (rule.opens(now) && rule.vpc_endpoints.is_none()) || rule.shuts() {
                self.squid_rule(&mut text, id, rule, now);
            }
        }
        text.push_str("\nhttp_access deny all\n");
        Export { text, notes }
    }

    /// One rule: an acl for each condition, and a line for each way in which a name may match.
    fn squid_rule(&self, text: &mut String, id: usize, rule: &RuleInfo, now: i64) {
        let number = id + 1;
        let prefix = format!("sekisho_{number}");
        text.push('\n');
        comments(text, [format!("rule {}", named(rule))]);
        let mut conditions = String::new();
        if let Some(nets) = &rule.clients {
            for net in nets {
                let _ = writeln!(text, "acl {prefix}_from src {net}");
            }
            let _ = write!(conditions, " {prefix}_from");
        }
        let names = self.squid_names(text, id, &prefix);
        let word = if rule.opens(now) { "allow" } else { "deny" };
        for protocol in [Protocol::Tls, Protocol::Http] {
            let ports = rule.ports_of(protocol);
            if ports.is_empty() {
                continue;
            }
            let (acl, method) = match protocol {
                Protocol::Tls => (format!("{prefix}_tls"), "sekisho_connect"),
                Protocol::Http => (format!("{prefix}_http"), "!sekisho_connect"),
            };
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            let _ = writeln!(text, "acl {acl} port {}", ports.join(" "));
            for names in &names {
                let _ = writeln!(text, "http_access {word} {method} {acl} {names}{conditions}");
            }
        }
    }

    /// Writes the acls of a rule's names; what comes back goes on an `http_access` line each.
    fn squid_names(&self, text: &mut String, id: usize, prefix: &str) -> Vec<String> {
        let listed = self.listed.get(id).map_or(&[][..], |all| all);
        let all: BTreeSet<_> = listed.iter().map(|item| self.index.entry(item.entry)).collect();
        let below: HashSet<_> =
            all.iter().filter(|(shape, _)| *shape == Shape::Below).map(|(_, n)| (*n).to_owned()).collect();
        let mut lines = Vec::new();
        for (shape, acl) in
            [(Shape::Exact, "host"), (Shape::Below, "domain"), (Shape::OneLabel, "label"), (Shape::Ending, "ending")]
        {
            let mut some = false;
            for (_, name) in all.iter().filter(|(found, _)| *found == shape) {
                let line = match shape {
                    Shape::Exact if covered(name, &below) => continue,
                    Shape::Exact => format!("dstdomain -n {name}"),
                    // Squid warns of a domain that another covers.
                    Shape::Below if covered(&format!(".{name}"), &below) => continue,
                    Shape::Below => format!("dstdomain -n .{name}"),
                    Shape::OneLabel => format!(r"dstdom_regex -n ^[^.]+\.{}$", name.replace('.', r"\.")),
                    Shape::Ending => format!(r"dstdom_regex -n ^[^.]+{}$", name.replace('.', r"\.")),
                };
                let _ = writeln!(text, "acl {prefix}_{acl} {line}");
                some = true;
            }
            if some {
                let except = if shape == Shape::Exact { "" } else { " !sekisho_underscore" };
                lines.push(format!("{prefix}_{acl}{except}"));
            }
        }
        lines
    }
}
