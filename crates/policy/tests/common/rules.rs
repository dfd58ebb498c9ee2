//! Random policies: rules over a few names, networks and times, so that they meet each other often.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sekisho_name::Name;
use sekisho_policy::{Policy, Protocol, Request};

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOW: i64 = 1_795_521_600;

pub(crate) const HOSTS: &[&str] = &[
    "example",
    "a.example",
    "b.a.example",
    "c.b.a.example",
    "ba.example",
    "x_y.a.example",
    "z.x_y.a.example",
    "c.example",
    "reports.s3.ap-northeast-1.amazonaws.com",
    "reports.s3-ap-northeast-1.amazonaws.com",
    "reports.s3.amazonaws.com",
    "reports.s3.us-east-1.amazonaws.com",
    "reports.s3-fips.ap-northeast-1.amazonaws.com",
    "q-123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com",
    "q-123456789013-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com",
    "123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com",
];
const LISTED: &[&str] = &[
    "a.example",
    "*.a.example",
    ".a.example",
    "b.a.example",
    "*.b.a.example",
    ".b.a.example",
    "x_y.a.example",
    "*.example",
    ".example",
    "c.example",
];
const BUCKETS: &[&str] = &["reports", "*-123456789012-ap-northeast-1-an"];
pub(crate) const CLIENTS: &[&str] =
    &["10.20.3.4", "10.99.0.1", "::ffff:10.20.3.4", "2001:db8::1", "2001:db8:1::1", "192.0.2.1"];
const NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "10.20.0.0/16",
    "10.20.3.4",
    "::ffff:10.20.0.0/112",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "0.0.0.0/0",
    "::/0",
];
pub(crate) const ENDPOINTS: &[&str] = &["vpce-0a1b2c3d", "vpce-0a1b2c3d4e5f67890"];
const UPSTREAMS: &[&str] = &["any", "[10.0.0.0/8]", "[10.20.0.0/16]", "[0.0.0.0/0, '::/0']"];
/// `expires`, and the last second of it.
const EXPIRES: &[(&str, i64)] = &[("2026-11-30", 1_796_083_199), ("2027-03-31", 1_806_537_599)];
pub(crate) const TIMES: &[i64] = &[0, NOW, 1_796_083_199, 1_796_083_200, 1_806_537_600];

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) hosts: Vec<&'static str>,
    pub(crate) buckets: Vec<&'static str>,
    pub(crate) clients: Vec<&'static str>,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) ports: Vec<u16>,
    pub(crate) expires: Option<(&'static str, i64)>,
    pub(crate) deny: bool,
    pub(crate) audit: bool,
    pub(crate) upstream: &'static str,
    pub(crate) endpoints: Vec<&'static str>,
    pub(crate) ech: &'static str,
    pub(crate) on_mismatch: &'static str,
}

pub(crate) fn rule() -> impl Strategy<Value = Rule> {
    let names = prop_oneof![
        6 => subsequence(LISTED, 1..=3).prop_map(|hosts| (hosts, Vec::new())),
        2 => subsequence(BUCKETS, 1..=2).prop_map(|buckets| (Vec::new(), buckets)),
        1 => (subsequence(LISTED, 1..=2), subsequence(BUCKETS, 1..=1)),
    ];
    let clients = prop_oneof![1 => Just(Vec::new()), 1 => subsequence(NETWORKS, 1..=3)];
    let protocols = prop_oneof![2 => Just(Vec::new()), 1 => subsequence(Protocol::ALL, 1..=2)];
    let ports = prop_oneof![2 => Just(Vec::new()), 1 => subsequence(&[80, 443, 8443][..], 1..=2)];
    let expires = proptest::option::weighted(0.3, select(EXPIRES));
    let upstream = prop_oneof![3 => Just("public"), 1 => select(UPSTREAMS)];
    let endpoints = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(ENDPOINTS, 1..=2)];
    let terms = (
        prop_oneof![4 => Just("allow"), 1 => select(&["log", "deny"][..])],
        prop_oneof![4 => Just("record"), 1 => Just("refuse")],
    );
    let words = (proptest::bool::weighted(0.25), proptest::bool::weighted(0.2), upstream, endpoints, terms);
    (names, clients, protocols, ports, expires, words).prop_map(
        |((hosts, buckets), clients, protocols, ports, expires, (deny, audit, upstream, endpoints, terms))| {
            let expires = expires.filter(|_| !deny);
            let (ech, on_mismatch) = if deny { ("allow", "record") } else { terms };
            let has_hello = protocols.is_empty() || protocols.contains(&Protocol::Tls);
            let ech = if has_hello { ech } else { "allow" };
            Rule {
                hosts,
                buckets,
                clients,
                protocols,
                ports,
                expires,
                deny,
                audit,
                upstream,
                endpoints,
                ech,
                on_mismatch,
            }
        },
    )
}

/// The policy's text, one rule a line from line 4 on.
pub(crate) fn written(rules: &[Rule], audit: bool) -> String {
    let list = |items: &[&str]| items.iter().map(|item| format!("'{item}'")).collect::<Vec<_>>().join(", ");
    let mode = if audit { "audit" } else { "enforce" };
    let mut text = format!("version: 1\nmode: {mode}\nrules:{}\n", if rules.is_empty() { " []" } else { "" });
    for (i, rule) in rules.iter().enumerate() {
        write!(text, "  - {{ name: r{i}").unwrap();
        if !rule.hosts.is_empty() {
            write!(text, ", hosts: [{}]", list(&rule.hosts)).unwrap();
        }
        if !rule.buckets.is_empty() {
            let all = rule.buckets.iter().map(|name| format!("{{ name: '{name}', region: ap-northeast-1 }}"));
            write!(text, ", buckets: [{}]", all.collect::<Vec<_>>().join(", ")).unwrap();
        }
        if !rule.clients.is_empty() {
            write!(text, ", clients: [{}]", list(&rule.clients)).unwrap();
        }
        if !rule.protocols.is_empty() {
            let all: Vec<_> = rule.protocols.iter().map(|protocol| protocol.label()).collect();
            write!(text, ", protocols: [{}]", all.join(", ")).unwrap();
        }
        if !rule.ports.is_empty() {
            write!(text, ", ports: {:?}", rule.ports).unwrap();
        }
        if let Some((date, _)) = rule.expires {
            write!(text, ", expires: {date}").unwrap();
        }
        if rule.upstream != "public" {
            write!(text, ", upstream: {}", rule.upstream).unwrap();
        }
        if !rule.endpoints.is_empty() {
            write!(text, ", vpc_endpoints: [{}]", rule.endpoints.join(", ")).unwrap();
        }
        if rule.ech != "allow" {
            write!(text, ", ech: {}", rule.ech).unwrap();
        }
        if rule.on_mismatch != "record" {
            write!(text, ", on_mismatch: {}", rule.on_mismatch).unwrap();
        }
        let action = if rule.deny { ", action: deny" } else { "" };
        let mode = if rule.audit { ", mode: audit" } else { "" };
        writeln!(text, "{action}{mode} }}").unwrap();
    }
    text
}

pub(crate) fn every_request(mut each: impl FnMut(&Request<'_>)) {
    for host in HOSTS {
        let name = Name::parse(host).unwrap();
        for client in CLIENTS.iter().map(|client| client.parse().unwrap()) {
            for &protocol in Protocol::ALL {
                for port in [80, 443, 8443] {
                    for &now in TIMES {
                        for vpce in std::iter::once(None).chain(ENDPOINTS.iter().copied().map(Some)) {
                            each(&Request { name: &name, client, port, protocol, now, vpce, ech: false });
                        }
                    }
                }
            }
        }
    }
}

/// Loads the rules without those of which the loader says that they can never match. `faulty` hears of each, by its
/// place, with the fault's code, before it is taken out.
pub(crate) fn loaded(rules: &mut Vec<Rule>, audit: bool, mut faulty: impl FnMut(&[Rule], usize, &str)) -> Policy {
    loop {
        let text = written(rules, audit);
        let faults = match Policy::parse("policy.yaml", &text, NOW) {
            Ok(loaded) => return loaded.policy,
            Err(faults) => faults,
        };
        let mut out: Vec<usize> = Vec::new();
        for fault in faults.iter().filter(|fault| fault.severity.label() == "error") {
            let at = usize::try_from(fault.location.as_ref().unwrap().line).unwrap() - 4;
            faulty(rules, at, fault.code);
            out.push(at);
        }
        let mut at = 0;
        rules.retain(|_| {
            at += 1;
            !out.contains(&(at - 1))
        });
    }
}
