//! A difference as text: for a person, for a pull request, for a program.

use std::fmt::{self, Write as _};

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AccessChange, Change, Conditions, Diff, Effect, Endpoints, Names, Set};
use crate::diagnostic::visible;
use crate::rule::{Access, Ech, Mode, Request, Upstream};
use crate::space::Outcome;

/// How many names, exceptions, networks or ports a person is shown of one change. The JSON form has all.
const SHOWN: usize = 20;

/// What a change of `access` is.
const EXPORTS: &str = "the gate does not ask `access`, but the AWS policies that are exported differ";

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for (key, before, after) in self.options() {
            writeln!(f, "\n{key}: {before} -> {after}")?;
        }
        if !self.access.is_empty() {
            writeln!(f, "\nnote: {EXPORTS}")?;
        }
        for AccessChange { rule, before, after } in first(&self.access) {
            writeln!(f, "  access of the rule `{}`: {} -> {}", visible(rule), words(before), words(after))?;
        }
        more(&self.access).map_or(Ok(()), |more| writeln!(f, "  and {more} more rules"))?;
        for change in &self.changes {
            writeln!(f, "\n{}: {} -> {}", change.effect.label(), change.before, change.after)?;
            for names in first(&change.names) {
                writeln!(f, "  {}", with_exceptions(names, ""))?;
            }
            more(&change.names).map_or(Ok(()), |more| writeln!(f, "  and {more} more names"))?;
            for conditions in first(&change.when) {
                writeln!(f, "    {}", spoken(conditions, ""))?;
            }
            more(&change.when).map_or(Ok(()), |more| writeln!(f, "    and {more} more conditions"))?;
            if let Some(witness) = change.command() {
                writeln!(f, "    see: {witness}")?;
            }
        }
        Ok(())
    }
}

impl Diff {
    /// One line: how many changes open, shut and alter something.
    pub fn summary(&self) -> String {
        if self.is_empty() {
            let nothing = if self.access.is_empty() { "nothing changes" } else { "nothing changes for the gate" };
            return nothing.to_owned();
        }
        let count = |effect: &Effect| self.changes.iter().filter(|change| change.effect == *effect).count();
        let counts: Vec<_> = Effect::ALL.iter().map(|effect| format!("{} {}", effect.label(), count(effect))).collect();
        counts.join(", ")
    }

    /// For the text of a pull request: GitHub's Markdown.
    pub fn markdown(&self) -> String {
        let verdict = match (self.opens(), self.is_empty()) {
            (true, _) => "This change of policy **opens** something",
            (_, true) => "This change of policy changes no decision",
            _ => "This change of policy opens nothing",
        };
        let mut out = format!("### {verdict}\n\n{}\n", self.summary());
        // Writing to a String cannot fail.
        for (key, before, after) in self.options() {
            let _ = writeln!(out, "\n`{key}`: {before} → {after}");
        }
        if !self.access.is_empty() {
            let _ = writeln!(out, "\nNote: {EXPORTS}\n");
        }
        for AccessChange { rule, before, after } in first(&self.access) {
            let rule = visible(rule).replace('`', "'");
            let _ = writeln!(out, "- `access` of the rule `{rule}`: {} → {}", words(before), words(after));
        }
        if let Some(more) = more(&self.access) {
            let _ = writeln!(out, "- and {more} more rules");
        }
        if !self.changes.is_empty() {
            out.push_str(
                "\n| | Names | For whom, where, when | Before | After | Witness |\n|---|---|---|---|---|---|\n",
            );
        }
        for change in &self.changes {
            let mut names: Vec<String> = first(&change.names).map(|names| with_exceptions(names, "`")).collect();
            names.extend(more(&change.names).map(|more| format!("and {more} more")));
            let mut when: Vec<String> = first(&change.when).map(|conditions| spoken(conditions, "`")).collect();
            when.extend(more(&change.when).map(|more| format!("and {more} more")));
            let effect = if change.effect == Effect::Opens { "**opens**" } else { change.effect.label() };
            let witness = change.command().map(|command| format!("`{command}`")).unwrap_or_default();
            let _ = writeln!(
                out,
                "| {effect} | {} | {} | {} | {} | {witness} |",
                names.join("<br>"),
                when.join("<br>"),
                change.before,
                change.after
            );
        }
        out
    }

    /// For a program: all of it, nothing cut.
    pub fn json(&self) -> Value {
        let mut out = json!({
            "empty": self.is_empty(),
            "opens": self.opens(),
            "changes": self.changes.iter().map(Change::json).collect::<Vec<_>>(),
        });
        if let Some(out) = out.as_object_mut() {
            for (key, before, after) in self.options() {
                out.insert(key.to_owned(), json!({ "before": before, "after": after }));
            }
            let labels = |all: &[Access]| all.iter().map(|access| access.label()).collect::<Vec<_>>();
            let access = self.access.iter().map(|AccessChange { rule, before, after }| {
                json!({ "rule": rule, "before": labels(before), "after": labels(after) })
            });
            if !self.access.is_empty() {
                out.insert("access".to_owned(), access.collect());
            }
        }
        out
    }

    /// Words of the whole policy that change.
    fn options(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        let mode = self.mode.map(|(before, after)| ("mode", before.label(), after.label()));
        let on_revoke = self.on_revoke.map(|(before, after)| ("on_revoke", before.label(), after.label()));
        mode.into_iter().chain(on_revoke)
    }
}

impl Change {
    /// A line for each of its names under each of its conditions.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.names.iter().flat_map(|names| {
            let names = with_exceptions(names, "");
            self.when.iter().map(move |conditions| format!("{names}: {}", spoken(conditions, "")))
        })
    }

    /// The command that shows one request of it.
    fn command(&self) -> Option<String> {
        let (name, conditions) = self.witnesses().next()?;
        let Request { client, port, protocol, now, vpce, .. } = conditions.witness(&name)?;
        let mut command = format!("sekisho explain {name}");
        if conditions.networks().is_some() {
            let _ = write!(command, " --from {client}");
        }
        if let Some(vpce) = vpce {
            let _ = write!(command, " --vpce {vpce}");
        }
        if port != protocol.default_port() {
            let _ = write!(command, " --port {port}");
        }
        if protocol.label() != "tls" {
            let _ = write!(command, " --protocol {}", protocol.label());
        }
        if conditions.from.is_some() || conditions.until.is_some() {
            let _ = write!(command, " --at {}", time(now));
        }
        Some(command)
    }

    fn json(&self) -> Value {
        let set = |set: &Set| match set {
            Set::Every => json!({ "every": true }),
            Set::Pattern(pattern) => json!({ "pattern": pattern }),
            Set::Below(domain) => json!({ "below": domain }),
        };
        let names = self.names.iter().map(|names| {
            let mut of = set(&names.of);
            if let Some(of) = of.as_object_mut() {
                of.insert("witness".to_owned(), json!(names.witness));
                if !names.except.is_empty() {
                    of.insert("except".to_owned(), names.except.iter().map(set).collect());
                }
            }
            of
        });
        let when = self.when.iter().map(|conditions| {
            let ports = conditions
                .ports
                .iter()
                .map(|(protocol, from, to)| json!({ "protocol": protocol.label(), "from": from, "to": to }));
            let mut when = serde_json::Map::new();
            when.insert("ports".to_owned(), ports.collect());
            // What is absent bounds nothing.
            if let Some(networks) = conditions.networks() {
                when.insert("clients".to_owned(), networks.iter().map(ToString::to_string).collect());
            }
            if let Some(from) = conditions.from {
                when.insert("from".to_owned(), json!(time(from)));
            }
            if let Some(until) = conditions.until {
                when.insert("until".to_owned(), json!(time(until)));
            }
            match &conditions.endpoints {
                Endpoints::Any => {}
                Endpoints::Only(ids) => drop(when.insert("vpc_endpoints".to_owned(), json!(ids))),
                Endpoints::Except(ids) => drop(when.insert("vpc_endpoints_except".to_owned(), json!(ids))),
            }
            let client = conditions.clients.first().map(|(from, _)| from.to_string());
            let (protocol, port) = conditions.ports.first().map(|(protocol, port, _)| (protocol.label(), port)).unzip();
            let at = conditions.from.or(conditions.until).unwrap_or(0);
            let mut witness = json!({ "client": client, "port": port, "protocol": protocol, "at": time(at) });
            if let (Some(vpce), Some(witness)) = (conditions.endpoints.witness(), witness.as_object_mut()) {
                witness.insert("vpce".to_owned(), json!(vpce));
            }
            when.insert("witness".to_owned(), witness);
            Value::Object(when)
        });
        json!({
            "effect": self.effect.label(),
            "before": outcome(&self.before),
            "after": outcome(&self.after),
            "names": names.collect::<Vec<_>>(),
            "when": when.collect::<Vec<_>>(),
        })
    }
}

fn words(access: &[Access]) -> String {
    access.iter().map(|access| access.label()).collect::<Vec<_>>().join(", ")
}

fn outcome(outcome: &Outcome) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("verdict".to_owned(), json!(outcome.verdict.label()));
    if let Some(reason) = outcome.reason {
        out.insert("reason".to_owned(), json!(reason.label()));
    }
    match &outcome.upstream {
        None => {}
        Some(Upstream::Public) => drop(out.insert("upstream".to_owned(), json!("public"))),
        Some(Upstream::Any) => drop(out.insert("upstream".to_owned(), json!("any"))),
        Some(Upstream::Only(nets)) => {
            let nets = nets.iter().map(ToString::to_string).collect();
            out.insert("upstream".to_owned(), nets);
        }
    }
    if outcome.lenient {
        out.insert("private_addresses".to_owned(), json!("audited"));
    }
    if outcome.ech != Ech::Allow {
        out.insert("ech".to_owned(), json!(outcome.ech.label()));
    }
    if let Some(mode) = outcome.on_mismatch {
        out.insert("on_mismatch".to_owned(), json!(if mode == Mode::Enforce { "refuse" } else { "audited" }));
    }
    Value::Object(out)
}

fn first<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().take(SHOWN)
}

/// How many are not shown.
fn more<T>(all: &[T]) -> Option<usize> {
    all.len().checked_sub(SHOWN).filter(|more| *more > 0)
}

/// Names with their exceptions, each between marks.
fn with_exceptions(names: &Names, mark: &str) -> String {
    let shown = |set: &Set| match set {
        Set::Every => "every name".to_owned(),
        Set::Pattern(pattern) => format!("{mark}{pattern}{mark}"),
        Set::Below(domain) => format!("all below {mark}{domain}{mark}"),
    };
    let mut out = shown(&names.of);
    if !names.except.is_empty() {
        let except: Vec<String> = first(&names.except).map(shown).collect();
        let _ = write!(out, " except {}", except.join(", "));
        if let Some(more) = more(&names.except) {
            let _ = write!(out, " and {more} more");
        }
    }
    out
}

/// Conditions in a line: `tls 443, from 10.20.0.0/16, until 2027-03-31T23:59:59Z`.
fn spoken(conditions: &Conditions, mark: &str) -> String {
    let ports = first(&conditions.ports).map(|&(protocol, from, to)| match (from, to) {
        (1, u16::MAX) => format!("{} on any port", protocol.label()),
        (from, to) if from == to => format!("{} {from}", protocol.label()),
        (from, to) => format!("{} {from}-{to}", protocol.label()),
    });
    let mut out = ports.collect::<Vec<_>>().join(", ");
    if let Some(more) = more(&conditions.ports) {
        let _ = write!(out, " and {more} more ranges of ports");
    }
    if let Some(networks) = conditions.networks() {
        let bare = |net: &IpNet| {
            if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
        };
        let shown: Vec<String> = first(&networks).map(|net| format!("{mark}{}{mark}", bare(net))).collect();
        let _ = write!(out, ", from {}", shown.join(" "));
        if let Some(more) = more(&networks) {
            let _ = write!(out, " and {more} more networks");
        }
    } else {
        out.push_str(", from anybody");
    }
    let ids = |ids: &[Box<str>]| {
        let shown: Vec<String> = first(ids).map(|id| format!("{mark}{id}{mark}")).collect();
        shown.join(" ") + &more(ids).map(|more| format!(" and {more} more")).unwrap_or_default()
    };
    match &conditions.endpoints {
        Endpoints::Any => {}
        Endpoints::Only(only) => drop(write!(out, ", through {}", ids(only))),
        Endpoints::Except(except) => drop(write!(out, ", not through {}", ids(except))),
    }
    match (conditions.from, conditions.until) {
        (None, None) => {}
        (Some(from), None) => drop(write!(out, ", since {}", time(from))),
        (None, Some(until)) => drop(write!(out, ", until {}", time(until))),
        (Some(from), Some(until)) => drop(write!(out, ", between {} and {}", time(from), time(until))),
    }
    out
}

/// RFC 3339 in UTC; the number itself for a time that has no such form.
fn time(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string())
}
