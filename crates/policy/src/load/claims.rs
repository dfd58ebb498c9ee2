//! `tests:`, claims of what the policy allows and refuses, proved while it is loaded.
//!
//! A claim that leaves the client or the time out is of every client, or of every time. What rules decide changes only where a
//! network begins or ends and where a rule expires, so asking once between any two of these is a proof.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sekisho_name::Name;

use crate::diagnostic::Diagnostic;
use crate::document::{Fields, Node, Reader, Span};
use crate::load::Builder;
use crate::load::conditions::last_second;
use crate::policy::Policy;
use crate::rule::{Decision, Protocol, Reason, Request, RuleInfo};

/// The keys of a claim.
pub(crate) const KEYS: &[&str] = &["allow", "refuse", "from", "vpce", "at", "port", "protocol", "reason"];

/// The reasons that a claim may name.
const REASONS: &[(&str, Reason)] =
    &[("no_rule", Reason::NoRule), ("denied_by_rule", Reason::DeniedByRule), ("rule_expired", Reason::RuleExpired)];

/// A claim as it was read.
pub(super) struct Claim {
    span: Span,
    name: Name,
    allow: bool,
    reason: Option<Reason>,
    client: Option<IpAddr>,
    vpce: Option<Box<str>>,
    at: Option<i64>,
    port: u16,
    protocol: Protocol,
}

/// What is decided where, apart from audit.
struct Word<'p> {
    client: IpAddr,
    vpce: Option<&'p str>,
    now: i64,
    decision: Decision,
}

impl Builder<'_> {
    /// Reads the claims.
    pub(super) fn claims(reader: &mut Reader<'_>, node: &Node) -> Vec<Claim> {
        let items = reader.list(node, "a list of claims").unwrap_or_default();
        items.iter().filter_map(|item| claim(reader, item)).collect()
    }
}

fn claim(reader: &mut Reader<'_>, node: &Node) -> Option<Claim> {
    let errors = reader.out.errors();
    let fields = reader.fields(node, "a claim", KEYS)?;
    let (allow, host) = match (fields.get("allow"), fields.get("refuse")) {
        (Some(host), None) => (true, host),
        (None, Some(host)) => (false, host),
        (None, None) => {
            let fault = Diagnostic::error("missing-key", "a claim needs `allow` or `refuse`");
            reader.push(fault.help("add `allow: HOST` or `refuse: HOST`"), fields.span);
            return None;
        }
        (Some(_), Some(_)) => {
            let fault = Diagnostic::error("misplaced-key", "a claim has `allow` and `refuse`");
            reader.push(fault.help("make two claims of it"), fields.span);
            return None;
        }
    };
    let name = name(reader, host);
    let protocols = [("tls", Protocol::Tls), ("http", Protocol::Http)];
    let protocol = fields.get("protocol").and_then(|node| reader.one_of(node, "a protocol", &protocols));
    let protocol = protocol.unwrap_or(Protocol::Tls);
    let port = fields.get("port").and_then(|node| reader.integer(node, "a port", 1..=65_535));
    let port = port.and_then(|port| u16::try_from(port).ok());
    let claim = Claim {
        span: host.span,
        name: name?,
        allow,
        reason: reason(reader, &fields, allow),
        client: fields
            .get("from")
            .and_then(|node| reader.parsed::<IpAddr>(node, "bad-cidr", "an address", "10.20.1.1")),
        vpce: fields.get("vpce").and_then(|node| reader.vpc_endpoint(node)).map(Box::from),
        at: fields.get("at").and_then(|node| time(reader, node)),
        port: port.unwrap_or_else(|| protocol.default_port()),
        protocol,
    };
    (reader.out.errors() == errors).then_some(claim)
}

fn name(reader: &mut Reader<'_>, node: &Node) -> Option<Name> {
    let text = reader.text(node, "a host name")?;
    let parsed = Name::parse(text);
    if let Err(why) = &parsed {
        let fault = Diagnostic::error("bad-host", format!("`{text}` {why}"));
        reader.push(fault.help("claim one host name, without a scheme, a port or a `*`"), node.span);
    }
    parsed.ok()
}

fn reason(reader: &mut Reader<'_>, fields: &Fields<'_>, allow: bool) -> Option<Reason> {
    let entry = fields.entry("reason")?;
    if allow {
        let fault = Diagnostic::error("misplaced-key", "`reason` goes with `refuse` only");
        reader.push(fault.help("remove it"), entry.key_span);
        return None;
    }
    reader.one_of(&entry.value, "a reason for which the policy refuses", REASONS)
}

/// A date means its noon, UTC.
fn time(reader: &mut Reader<'_>, node: &Node) -> Option<i64> {
    let text = reader.text(node, "a date like `2027-03-31`")?;
    let noon = || {
        let date: Date = text.parse().ok()?;
        Some(TimeZone::UTC.to_timestamp(date.at(12, 0, 0, 0)).ok()?.as_second())
    };
    let at = last_second(text).and_then(|last| if text.len() == "2027-03-31".len() { noon() } else { Some(last) });
    if at.is_none() {
        let fault = Diagnostic::error("bad-date", format!("`{text}` is neither a date nor a full time"));
        reader.push(fault.help("write a date, which means its noon in UTC: `2027-03-31`; or a full time"), node.span);
    }
    at
}

/// Holds each claim to a policy whose rules are all good.
pub(super) fn prove(claims: &[Claim], policy: &Policy, reader: &mut Reader<'_>) {
    for claim in claims {
        if let Some(word) = claim.wrong(policy) {
            let fault = claim.fault(policy, &word);
            reader.push(fault, claim.span);
        }
    }
}

impl Claim {
    /// Where it is not so, if anywhere.
    fn wrong<'p>(&'p self, policy: &'p Policy) -> Option<Word<'p>> {
        // Of each rule, as the policy enforces it: audit lets through whatever is decided.
        let rules: Vec<&RuleInfo> = policy.covering(&self.name).filter_map(|id| policy.rule(id)).collect();
        let clients = self.client.map_or_else(|| clients(&rules), |client| vec![client]);
        let endpoints = self.vpce.as_deref().map_or_else(|| endpoints(&rules), |vpce| vec![Some(vpce)]);
        // An allow rule that expires takes nothing from the claim that it allows; one that is refused is so at any time.
        let times = match self.at {
            Some(at) => vec![at],
            None if self.allow => vec![i64::MIN],
            None => times(&rules),
        };
        let pairs = clients.iter().flat_map(|&client| times.iter().map(move |&now| (client, now)));
        let all = pairs.flat_map(|(client, now)| endpoints.iter().map(move |&vpce| (client, now, vpce)));
        let mut words = all.map(|(client, now, vpce)| {
            let (port, protocol) = (self.port, self.protocol);
            let request = Request { name: &self.name, client, port, protocol, now, vpce, ech: false };
            Word { client, vpce, now, decision: policy.decide(&request) }
        });
        words.find(|word| !self.holds(word.decision))
    }

    fn holds(&self, decision: Decision) -> bool {
        match decision.reason() {
            None | Some(Reason::AuditRule) => self.allow,
            Some(reason) => !self.allow && self.reason.is_none_or(|claimed| claimed == reason),
        }
    }

    fn fault(&self, policy: &Policy, word: &Word<'_>) -> Diagnostic {
        let name = self.name.as_str();
        let allowed = matches!(word.decision.reason(), None | Some(Reason::AuditRule));
        let is = match word.decision.reason() {
            Some(reason) if !allowed => format!("refused ({})", reason.label()),
            _ => "allowed".to_owned(),
        };
        let from = if self.client.is_none() { format!(" from {}", word.client) } else { String::new() };
        let through = match word.vpce {
            Some(vpce) if self.vpce.is_none() => format!(" through {vpce}"),
            _ => String::new(),
        };
        let when = match Timestamp::from_second(word.now) {
            Ok(at) if self.at.is_none() && word.now != i64::MIN => format!(" at {at}"),
            _ => String::new(),
        };
        let claimed = match self.reason {
            Some(reason) => format!("refused ({})", reason.label()),
            None if self.allow => "allowed".to_owned(),
            None => "refused".to_owned(),
        };
        let fault = Diagnostic::error(
            "false-claim",
            format!("`{name}` is {is}{from}{through}{when}, and the claim says {claimed}"),
        );
        let fault = match word.decision.rule().and_then(|id| policy.rule(id)) {
            Some(rule) => fault.note(format!("the rule `{}` at {} decides", rule.name, rule.place)),
            None => fault.note("no rule matches"),
        };
        fault.help(match (self.allow, self.client) {
            (true, None) => "change the rules or the claim; without `from:` it is of every client",
            (false, None) => {
                "change the rules or the claim; without `from:` and `at:` it is of every client, at any time"
            }
            _ => "change the rules or the claim",
        })
    }
}

/// One client for each range in which no rule's clients change.
fn clients(rules: &[&RuleInfo]) -> Vec<IpAddr> {
    let mut all = BTreeSet::from([IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
    for net in rules.iter().filter_map(|rule| rule.clients.as_deref()).flatten() {
        all.insert(net.network());
        all.extend(after(net));
    }
    all.into_iter().collect()
}

/// The address that follows a network.
fn after(net: &IpNet) -> Option<IpAddr> {
    match net.broadcast() {
        IpAddr::V4(last) => last.to_bits().checked_add(1).map(|next| Ipv4Addr::from_bits(next).into()),
        // A v4-mapped address is an IPv4 one to a policy.
        IpAddr::V6(last) => last.to_bits().checked_add(1).map(|next| Ipv6Addr::from_bits(next).into()),
    }
}

/// No VPC endpoint, and each that a rule names.
fn endpoints<'p>(rules: &[&'p RuleInfo]) -> Vec<Option<&'p str>> {
    let named: BTreeSet<&str> =
        rules.iter().filter_map(|rule| rule.vpc_endpoints.as_deref()).flatten().map(|id| &**id).collect();
    std::iter::once(None).chain(named.into_iter().map(Some)).collect()
}

/// One time before any of the rules expires, and one after each that does.
fn times(rules: &[&RuleInfo]) -> Vec<i64> {
    let mut all = BTreeSet::from([i64::MIN]);
    all.extend(rules.iter().filter_map(|rule| rule.expires?.checked_add(1)));
    all.into_iter().collect()
}
