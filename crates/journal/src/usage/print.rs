//! The report for a person.

use std::fmt;

use sekisho_policy::diagnostic::visible;

use crate::tally::plural;
use crate::usage::{Expiring, PatternUse, Refusal, Report, RuleUse};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.looked_at.ever() {
            let since = self.since.as_deref().map(|since| format!(" since {since}")).unwrap_or_default();
            return writeln!(f, "no connection in the logs{since}: nothing can be said of use");
        }
        let (first, last) = (self.looked_at.first(), self.looked_at.last());
        writeln!(f, "{}, {first} to {last}", plural(self.looked_at.connections(), "connection"))?;
        if self.beyond > 0 {
            let beyond = plural(self.beyond, "connection");
            writeln!(f, "INCOMPLETE: {beyond} came after the cap on names or clients was reached")?;
        }
        let (used, unused): (Vec<_>, Vec<_>) = self.rules.iter().partition(|rule| rule.seen.ever());
        heading(f, &format!("Rules that nothing has used since {first}"), unused.is_empty())?;
        for rule in unused {
            writeln!(f, "  {}{}", title(rule), owner(rule))?;
        }
        heading(f, "Rules by last use, the longest ago first", used.is_empty())?;
        let mut used = used;
        used.sort_by(|a, b| a.seen.last().cmp(&b.seen.last()).then_with(|| a.rule.cmp(&b.rule)));
        for rule in used {
            let (count, names) = (plural(rule.seen.connections(), "connection"), plural(rule.names as u64, "name"));
            writeln!(f, "  {}: last {}; {count}, {names}{}", title(rule), rule.seen.last(), owner(rule))?;
        }
        heading(f, "Patterns that could be narrower", self.patterns.is_empty())?;
        for PatternUse { rule, pattern, place, names } in &self.patterns {
            writeln!(
                f,
                "  {pattern} at {place}, rule `{}`: matched {}",
                visible(rule),
                plural(names.len() as u64, "name")
            )?;
            if names.is_empty() {
                writeln!(f, "    remove it")?;
            } else {
                writeln!(f, "    instead of it write:")?;
            }
            for name in names {
                writeln!(f, "      - {name}")?;
            }
        }
        heading(f, "Rules that have expired or soon will", self.expiring.is_empty())?;
        for Expiring { rule, place, expires, expired, connections, after } in &self.expiring {
            let word = if *expired { "expired" } else { "expires" };
            let used = plural(*connections, "connection");
            write!(f, "  `{}` at {place}: {word} {expires}; {used} in the log", visible(rule))?;
            if *after > 0 {
                write!(f, ", {after} after its end")?;
            }
            writeln!(f)?;
        }
        heading(f, "Refused most often (or audited), by client and host", self.refused.is_empty())?;
        for Refusal { client, host, reason, seen } in &self.refused {
            let host = host.as_deref().unwrap_or("(no name)");
            writeln!(f, "  {:>8}  {client}  {host}  {reason}, last {}", seen.connections(), seen.last())?;
        }
        if self.refused_more > 0 {
            writeln!(f, "  {:>8}  others", self.refused_more)?;
        }
        Ok(())
    }
}

fn heading(f: &mut fmt::Formatter<'_>, text: &str, none: bool) -> fmt::Result {
    if none { writeln!(f, "\n{text}: none") } else { writeln!(f, "\n{text}:") }
}

fn title(rule: &RuleUse) -> String {
    let deny = if rule.action == "deny" { " (deny)" } else { "" };
    format!("`{}` at {}{deny}", visible(&rule.rule), rule.place)
}

fn owner(rule: &RuleUse) -> String {
    rule.owner.as_deref().map(|owner| format!("; owner {}", visible(owner))).unwrap_or_default()
}
