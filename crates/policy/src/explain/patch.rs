//! The shortest edit of the policy that lets a request through and nothing else, or why there is none.
//!
//! Edits are made as text and believed only as far as they go: each is loaded, as `check` does, asked for the request, and
//! compared with the policy before it. One that opens more than it must is not shown.

#[cfg(test)]
mod tests;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::covers;
use super::edit::{Lines, unified};
use crate::diagnostic::{Diagnostics, Severity};
use crate::diff::{Change, Diff, Effect, Set};
use crate::document::{self, Entry, Limits, Node, Source, Value};
use crate::files::{FileError, Files};
use crate::policy::Policy;
use crate::rule::{Action, Decision, Mode, Protocol, Reason, Request, RuleId, RuleInfo};
use crate::s3::{Class, classify};

/// An edit of the policy's own file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// What it does, in a few words.
    pub about: String,
    /// A unified diff, for `patch -p1` in the policy's directory.
    pub diff: String,
    /// What it opens, in one line each, as `sekisho diff` finds it.
    pub opens: Vec<String>,
}

impl Policy {
    /// Looks for the shortest edit of the policy at `path` that allows a request which it does not simply allow, passes
    /// `check`, and by [`Policy::diff`] opens nothing but the request's name (or, where a rule holds one bucket, that
    /// bucket) on its port and protocol. With `anybody` the request's client stands for all, and a new rule has no `clients`.
    ///
    /// `Ok(None)` when the request is allowed.
    ///
    /// # Errors
    /// Why no edit is safe, in a sentence.
    pub fn patch(
        path: &Path,
        files: &dyn Files,
        request: &Request<'_>,
        anybody: bool,
    ) -> Result<Option<Patch>, String> {
        let faulty = |_| "the policy has faults: see `sekisho check`".to_owned();
        let old = Self::load_from(path, files, request.now).map_err(faulty)?.policy;
        let decision = old.decide(request);
        if matches!(decision, Decision::Allow { .. }) {
            return Ok(None);
        }
        refused_by_design(request, &old, decision)?;
        // A rule for everybody would be wider than what there is.
        if anybody && old.rules.iter().any(|rule| rule.clients.is_some()) {
            return Err("this policy tells clients apart: say whose request it is (`--from`) to get an edit".to_owned());
        }
        let limits = Limits::default();
        let mut out = Diagnostics::new();
        let text = files.read(path, limits.bytes).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).map_err(|_| "the policy is not UTF-8".to_owned())?;
        let source = Source::open(path, files, &limits, &mut out).and_then(|source| {
            let root = document::parse(&source, &limits, &mut out)?;
            Some((source, root))
        });
        let Some((_, root)) = source else { return Err("the policy has faults: see `sekisho check`".to_owned()) };
        let author = Author { old: &old, text: &text, root: &root, request, anybody, lapsed: lapsed(&old, request) };
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut edits: Vec<(String, usize, String, String)> = author
            .edits()
            .into_iter()
            .map(|(about, text)| {
                let (diff, lines) = unified(&name, author.text, &text);
                (about, lines, diff, text)
            })
            .collect();
        // Of equally short ones the first, which is nearest to what there is.
        edits.sort_by_key(|(_, lines, ..)| *lines);
        let mut why = "no edit that was tried lets this request through alone; write a rule by hand".to_owned();
        for (about, _, diff, text) in edits {
            match author.judged(path, files, &text) {
                Ok(opens) => return Ok(Some(Patch { about, diff, opens })),
                Err(Some(fault)) => why = format!("`check` refuses the edit: {fault}"),
                Err(None) => {}
            }
        }
        Err(why)
    }
}

/// What no edit of the policy should change.
fn refused_by_design(request: &Request<'_>, policy: &Policy, decision: Decision) -> Result<(), String> {
    match classify(request.name.as_str()) {
        Class::Open => {
            return Err(
                "no edit is safe: this name pins no bucket, so allowing it allows every bucket. Change the client: \
                 `aws configure set default.s3.addressing_style virtual`, or `Config(s3={\"addressing_style\": \
                 \"virtual\"})` in boto3"
                    .to_owned(),
            );
        }
        Class::Dotted { bucket } => {
            return Err(format!(
                "no edit is safe: SDKs reach the bucket `{bucket}` by path over TLS, because of its dot, and so by a name that \
                 allows every bucket. Copy the data to a bucket without one"
            ));
        }
        Class::Pins { .. } | Class::Foreign => {}
    }
    let by = decision.rule().and_then(|id| policy.rule(id));
    match (decision.reason(), by) {
        (Some(Reason::EchDenied), Some(rule)) => Err(format!(
            "no edit is safe: the rule `{}` at {} has a word on ECH on purpose (`ech: {}`). Switch ECH off at the client, or ask \
             {} whether it still has to",
            rule.name,
            rule.place,
            rule.ech.label(),
            rule.owner.as_deref().unwrap_or("its author")
        )),
        (Some(Reason::DeniedByRule), Some(rule)) => Err(format!(
            "no edit is safe: the rule `{}` at {} shuts this on purpose. Ask {} whether it still has to",
            rule.name,
            rule.place,
            rule.owner.as_deref().unwrap_or("its author")
        )),
        (Some(Reason::AuditRule), Some(rule)) => Err(format!(
            "no edit is needed to let it through: the rule `{}` at {} is under audit; without its `mode: audit` all that it \
             lists is allowed",
            rule.name, rule.place
        )),
        _ => Ok(()),
    }
}

/// The expired allow rule that listed the name, one that was for this very request before others. What was allowed for a time
/// is not to become allowed for good by an edit that somebody applies without a thought.
fn lapsed<'p>(policy: &'p Policy, request: &Request<'_>) -> Option<&'p RuleInfo> {
    let listing = policy.covering(request.name).filter_map(|id| policy.rule(id).map(|rule| (id, rule)));
    listing
        .filter(|(_, rule)| rule.action == Action::Allow && rule.expired(request.now))
        .min_by_key(|(id, rule)| (!rule.admits(request), *id))
        .map(|(_, rule)| rule)
}

/// Who makes edits.
struct Author<'a> {
    old: &'a Policy,
    text: &'a str,
    root: &'a Node,
    request: &'a Request<'a>,
    anybody: bool,
    lapsed: Option<&'a RuleInfo>,
}

impl Author<'_> {
    /// Edits that could do, each with what it is.
    fn edits(&self) -> Vec<(String, String)> {
        let Some(Value::Sequence(nodes)) = entry(self.root, "rules").map(|rules| &rules.value) else {
            return Vec::new();
        };
        let lines = Lines::of(self.text);
        let mut edits = Vec::new();
        for node in nodes {
            let rule = self.old.rules.iter().zip(0..).find(|(rule, _)| {
                rule.place.line == node.span.line
                    && *rule.place.file == *self.old.files.first().cloned().unwrap_or_default()
            });
            let Some((rule, id)) = rule.filter(|(rule, _)| rule.action == Action::Allow && rule.mode == Mode::Enforce)
            else {
                continue;
            };
            let edit =
                if self.lists(RuleId(id)) { self.widen(&lines, node, rule) } else { self.list(&lines, node, rule) };
            edits.extend(edit);
        }
        if let Some(rules) = entry(self.root, "rules") {
            // Where the policy asks for an owner or a ticket of each rule, a rule without is faulty.
            let about = self.lapsed.map_or_else(
                || "a rule of its own".to_owned(),
                |lapsed| {
                    format!(
                        "a rule of its own through the day of the request, because the rule `{}` at {} was for a time, too; \
                         write a later date if it shall last",
                        lapsed.name, lapsed.place
                    )
                },
            );
            for more in [&[][..], &["owner: TODO"], &["ticket: TODO"], &["owner: TODO", "ticket: TODO"]] {
                let text = self.rule(more).and_then(|rule| lines.append_lines(rules, &rule));
                edits.extend(text.map(|text| (about.clone(), text)));
            }
        }
        edits
    }

    /// Whether a rule lists a name or pattern that covers the request's.
    fn lists(&self, id: RuleId) -> bool {
        self.old.listed.get(id.0 as usize).is_some_and(|listed| {
            listed.iter().any(|listed| {
                let (shape, text) = self.old.index.entry(listed.entry);
                covers(shape, text, self.request.name.as_str())
            })
        })
    }

    /// A rule that lists the name, for one client more or for longer.
    fn widen(&self, lines: &Lines<'_>, node: &Node, rule: &RuleInfo) -> Option<(String, String)> {
        let Request { client, port, protocol, now, vpce, .. } = *self.request;
        if !rule.protocols.contains(&protocol) || !rule.admits_port(protocol, port) || !rule.admits_vpce(vpce) {
            return None;
        }
        match (rule.admits_client(client), rule.expired(now)) {
            // Not for good, whom an expired rule let through.
            (false, false) if !self.anybody && (self.lapsed.is_none() || rule.expires.is_some()) => {
                let text = lines.append(entry(node, "clients")?, &quoted(&client.to_canonical().to_string()))?;
                Some((format!("one client more for the rule `{}`", rule.name), text))
            }
            (true, true) => {
                let text = lines.replace(entry(node, "expires")?.span, &day(now)?)?;
                Some((
                    format!(
                        "the rule `{}` through the day of the request; write a later date if it shall last",
                        rule.name
                    ),
                    text,
                ))
            }
            _ => None,
        }
    }

    /// A rule whose conditions the request meets, with its name added, where the rule has something of the kind.
    fn list(&self, lines: &Lines<'_>, node: &Node, rule: &RuleInfo) -> Option<(String, String)> {
        if !rule.admits(self.request) || rule.expired(self.request.now) {
            return None;
        }
        if self.lapsed.is_some() && rule.expires.is_none() {
            return None;
        }
        let about = format!("one name more for the rule `{}`", rule.name);
        if let Some((bucket, item)) = self.bucket() {
            let list = entry(node, "buckets")?;
            let Value::Sequence(items) = &list.value else { return None };
            let same = |item: &Node| {
                entry(item, "name")
                    .is_some_and(|name| matches!(&name.value, Value::Scalar { text, .. } if **text == *bucket))
            };
            return items.iter().any(same).then(|| lines.append(list, &item)).flatten().map(|text| (about, text));
        }
        let list = entry(node, "hosts")?;
        let parent = self.request.name.parent()?;
        let Value::Sequence(items) = &list.value else { return None };
        // A rule about the same domain, not just any.
        let near = |item: &Node| matches!(&item.value, Value::Scalar { text, .. } if text.ends_with(parent) && parent.contains('.'));
        items
            .iter()
            .any(near)
            .then(|| lines.append(list, self.request.name.as_str()))
            .flatten()
            .map(|text| (about, text))
    }

    /// The bucket that the name pins in a region, and the item that lists just this form of its name.
    fn bucket(&self) -> Option<(String, String)> {
        let Class::Pins { subject, form, region: Some(region), .. } = classify(self.request.name.as_str()) else {
            return None;
        };
        let word = form.word()?;
        Some((subject.to_owned(), format!("{{ name: {subject}, region: {region}, endpoints: [{word}] }}")))
    }

    /// The lines of a rule for this request alone.
    fn rule(&self, more: &[&str]) -> Option<Vec<String>> {
        let Request { name, client, port, protocol, now, vpce, ech: _ } = self.request;
        let mut title = format!("{name}");
        let mut lines: Vec<String> = more.iter().map(ToString::to_string).collect();
        if !self.anybody {
            let client = client.to_canonical();
            title = format!("{name} for {client}");
            lines.push(format!("clients: [{}]", quoted(&client.to_string())));
        }
        if let Some(vpce) = vpce {
            lines.push(format!("vpc_endpoints: [{}]", quoted(vpce)));
        }
        if *protocol != Protocol::Tls {
            lines.push(format!("protocols: [{}]", protocol.label()));
        }
        if *port != protocol.default_port() {
            lines.push(format!("ports: [{port}]"));
        }
        if self.lapsed.is_some() {
            lines.push(format!("expires: {}", day(*now)?));
        }
        lines.push(match self.bucket() {
            Some((_, item)) => format!("buckets: [{item}]"),
            None => format!("hosts: [{name}]"),
        });
        let taken = |title: &str| self.old.rules.iter().any(|rule| *rule.name == *title);
        let free = (2..).map(|number| format!("{title} ({number})"));
        let title = std::iter::once(title.clone()).chain(free).find(|title| !taken(title)).unwrap_or(title);
        lines.insert(0, format!("name: {}", quoted(&title)));
        Some(lines)
    }

    /// What an edit opens, when that is the request and what belongs to it. The first fault, when it has one.
    fn judged(&self, path: &Path, files: &dyn Files, text: &str) -> Result<Vec<String>, Option<String>> {
        let edited = Edited { path, text, files };
        let new = Policy::load_from(path, &edited, self.request.now).map_err(|faults| {
            faults.iter().find(|fault| fault.severity == Severity::Error).map(|fault| fault.message.clone())
        })?;
        let diff = self.old.diff(&new.policy);
        let allowed = matches!(new.policy.decide(self.request), Decision::Allow { .. });
        let safe = diff.changes.iter().all(|change| match change.effect {
            Effect::Opens => self.belongs(change),
            Effect::Alters => true,
            Effect::Shuts => false,
        });
        if allowed && safe { Ok(opened(&diff)) } else { Err(None) }
    }

    /// Whether what a change opens is the request's name, or the bucket that it pins, on its port.
    fn belongs(&self, change: &Change) -> bool {
        let asked = self.request.name.as_str();
        let mine = |name: &str| match (classify(name), classify(asked)) {
            _ if name == asked => true,
            (Class::Pins { subject, suffix, .. }, Class::Pins { subject: asked, suffix: asked_suffix, .. }) => {
                subject == asked && suffix == asked_suffix
            }
            _ => false,
        };
        let name =
            |set: &Set| matches!(set, Set::Pattern(pattern) if !pattern.starts_with(['.', '*']) && mine(pattern));
        let port = |&(protocol, from, to): &_| {
            (protocol, from, to) == (self.request.protocol, self.request.port, self.request.port)
        };
        change.names.iter().all(|names| name(&names.of)) && change.when.iter().all(|when| when.ports.iter().all(port))
    }
}

/// The date of a time, UTC, as `expires:` takes it.
fn day(now: i64) -> Option<String> {
    Timestamp::from_second(now).ok()?.to_string().get(..10).map(str::to_owned)
}

fn opened(diff: &Diff) -> Vec<String> {
    let opens = diff.changes.iter().filter(|change| change.effect == Effect::Opens);
    opens.flat_map(Change::lines).collect()
}

/// The value of a mapping's key.
fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Mapping(entries) = &node.value else { return None };
    entries.iter().find(|entry: &&Entry| &*entry.key == key).map(|entry| &entry.value)
}

/// As YAML takes it for text in every place: an IPv6 address has colons.
fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b' ' | b'/' | b'(' | b')'));
    if plain { text.to_owned() } else { format!("'{text}'") }
}

/// The files as they would be after an edit.
struct Edited<'a> {
    path: &'a Path,
    text: &'a str,
    files: &'a dyn Files,
}

impl Files for Edited<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        match path == self.path {
            true if self.text.len() > limit => Err(FileError::TooLarge),
            true => Ok(self.text.as_bytes().to_vec()),
            false => self.files.read(path, limit),
        }
    }
}
