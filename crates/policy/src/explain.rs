//! Why a request is decided as it is, and what nearly matched.

mod edit;
mod near;
mod patch;
#[cfg(test)]
mod tests;

pub use patch::Patch;

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::diagnostic::visible;
use crate::index::Shape;
use crate::pattern;
use crate::policy::{Listed, Policy};
use crate::rule::{Decision, Protocol, Reason, Request, RuleId};
use crate::s3::{self, Class, Form, classify, is_absent};

/// An answer for a person (`Display`) or a program (serde).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The name that was asked about.
    pub host: String,
    /// The client.
    pub client: IpAddr,
    /// The port.
    pub port: u16,
    /// `tls` or `http`.
    pub protocol: &'static str,
    /// The VPC endpoint that it came through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpce: Option<String>,
    /// Whether its hello has an `encrypted_client_hello` extension; left out where it has none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ech: bool,
    /// The time that it was asked about, RFC 3339 in UTC.
    pub at: String,
    /// `allowed`, `audited` or `refused`.
    pub verdict: &'static str,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Match>,
    /// Why it is not simply allowed, as in log and metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What nearly matched, nearest first; empty when the request is simply allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Miss>,
    /// What to do about it at the client or in the policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

/// A rule that lists a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The rule's name.
    pub name: String,
    /// The rule's place, `file:line`.
    pub place: String,
    /// What it lists, as written.
    pub listed: String,
    /// Where that stands, `file:line`.
    pub listed_at: String,
}

/// A rule that nearly matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// The rule.
    pub rule: Match,
    /// By what it missed.
    pub by: Vec<String>,
}

impl Policy {
    /// Explains a decision. Unlike [`Policy::decide`] it looks at every listed name, and allocates.
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        let decision = self.decide(request);
        let verdict = match decision {
            Decision::Allow { .. } => "allowed",
            Decision::Audit { .. } => "audited",
            Decision::Refuse { .. } => "refused",
        };
        let simply = matches!(decision, Decision::Allow { .. });
        let near = if simply { Vec::new() } else { near::misses(self, request, decision.rule()) };
        let mut hints = if simply { Vec::new() } else { hints(request) };
        if decision.reason() == Some(Reason::EchDenied) {
            hints.push(
                "the rule says `ech: deny` or `ech: log`. Browsers send the extension in every hello, whether they use it or not: \
                 switch ECH off at the client, or leave `ech` out of the rule"
                    .to_owned(),
            );
        }
        if near.is_empty() && hints.is_empty() && decision.reason() == Some(Reason::NoRule) {
            hints.push(to_open(request.name.as_str()));
        }
        Explanation {
            host: request.name.as_str().to_owned(),
            client: request.client.to_canonical(),
            port: request.port,
            protocol: request.protocol.label(),
            vpce: request.vpce.map(str::to_owned),
            ech: request.ech,
            at: Timestamp::from_second(request.now).map(|at| at.to_string()).unwrap_or_default(),
            verdict,
            rule: decision.rule().and_then(|id| self.matched(id, request.name.as_str())),
            reason: decision.reason().map(Reason::label),
            near,
            hints,
        }
    }

    /// A rule that matched, with the name of its list that did.
    fn matched(&self, id: RuleId, name: &str) -> Option<Match> {
        let all = self.listed.get(id.0 as usize)?;
        let listed = all.iter().find(|listed| {
            let (shape, text) = self.index.entry(listed.entry);
            covers(shape, text, name)
        })?;
        self.described(id, listed)
    }

    fn described(&self, id: RuleId, listed: &Listed) -> Option<Match> {
        let rule = self.rule(id)?;
        let (shape, text) = self.index.entry(listed.entry);
        let file = self.files.get(usize::from(listed.file)).map(|file| visible(file)).unwrap_or_default();
        Some(Match {
            name: rule.name.to_string(),
            place: rule.place.to_string(),
            listed: pattern::spell(shape, text),
            listed_at: format!("{file}:{}", listed.line),
        })
    }
}

/// Whether a listed name covers a host: the plain reading of what the index finds by hash.
pub(crate) fn covers(shape: Shape, text: &str, name: &str) -> bool {
    let below = |text: &str| name.strip_suffix(text).and_then(|rest| rest.strip_suffix('.'));
    match shape {
        Shape::Exact => name == text,
        _ if name.contains('_') => false,
        Shape::OneLabel => below(text).is_some_and(|label| !label.is_empty() && !label.contains('.')),
        Shape::Below => name == text || below(text).is_some(),
        Shape::Ending => crate::index::ending(name) == Some(text),
    }
}

/// What no rule's nearness says: the request itself asks for what is refused by design.
fn hints(request: &Request<'_>) -> Vec<String> {
    let name = request.name.as_str();
    match classify(name) {
        Class::Open => vec![
            "this name pins no bucket (path-style or control plane): the bucket stands inside TLS, where the gate cannot see it"
                .to_owned(),
            "let the client use virtual-hosted names: `aws configure set default.s3.addressing_style virtual`, or \
             `Config(s3={\"addressing_style\": \"virtual\"})` in boto3"
                .to_owned(),
            "`aws s3 ls` without a bucket and GetBucketLocation are always path-style: name the bucket and its region".to_owned(),
        ],
        Class::Dotted { bucket } => vec![format!(
            "the bucket name `{bucket}` has a dot, so over TLS SDKs reach it by path; copy the data to a bucket without one"
        )],
        Class::Pins { .. } | Class::Foreign if request.protocol == Protocol::Http => {
            vec!["plain HTTP passes only by rules with `protocols: [http]`; prefer `https://` at the client".to_owned()]
        }
        Class::Pins { .. } | Class::Foreign => Vec::new(),
    }
}

/// What a rule would have to say, for a name that nothing comes near to.
fn to_open(name: &str) -> String {
    let entry = s3::spell::item(name).map_or_else(|| format!("hosts: [{name}]"), |item| format!("buckets: [{item}]"));
    let website = matches!(classify(name), Class::Pins { form: Form::Website, .. });
    let http = if website { " with `protocols: [http]`" } else { "" };
    if let Class::Pins { kind, form, region: Some(region), .. } = classify(name)
        && is_absent(kind, form, region)
    {
        return format!(
            "S3 is not known to have such an endpoint for {} in {region}: let the client use another; if it is newer than this \
             version, a rule has to say `{entry}` with `acknowledge: [unknown_region]`",
            kind.plural()
        );
    }
    format!("no rule lists anything like it; if it shall be reached, one has to say `{entry}`{http}")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, client, port, protocol, at, verdict, vpce, ech, .. } = self;
        let mut out = (*verdict).to_owned();
        let _ = match (self.reason, &self.rule) {
            (None, Some(rule)) => write!(out, " by {rule}"),
            (Some(reason), Some(rule)) => write!(out, " ({reason}) by {rule}"),
            (Some(reason), None) => write!(out, " ({reason})"),
            (None, None) => Ok(()),
        };
        let through = vpce.as_ref().map(|vpce| format!(" through {}", visible(vpce))).unwrap_or_default();
        let with = if *ech { " with ECH" } else { "" };
        let _ = write!(out, "\n  {protocol}{with} to {host}:{port} from {client}{through} at {at}\n");
        if !self.near.is_empty() {
            out.push_str("\nnearest rules that missed:\n");
        }
        for miss in &self.near {
            let _ = writeln!(out, "  {}", miss.rule);
            for by in &miss.by {
                let _ = writeln!(out, "    {by}");
            }
        }
        if !self.hints.is_empty() {
            out.push('\n');
        }
        for hint in &self.hints {
            let _ = writeln!(out, "hint: {hint}");
        }
        f.write_str(&out)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, place, listed, listed_at } = self;
        write!(f, "rule `{}` at {place}, which lists {listed} at {listed_at}", visible(name))
    }
}
