//! `decide` against the plainest reading of the same rules: one after the other, each name compared label by label.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "common/rules.rs"]
mod rules;

use std::net::IpAddr;

use proptest::prelude::*;
use rules::{CLIENTS, ENDPOINTS, HOSTS, NOW, Rule, TIMES, every_request, rule, written};
use sekisho_name::Name;
use sekisho_policy::{Decision, Policy, Protocol, Reason, Request, RuleId};

/// Whether a listed name covers a host, label by label.
fn covers(listed: &str, host: &str) -> bool {
    fn labels(name: &str) -> Vec<&str> {
        name.split('.').rev().collect()
    }
    let (host_labels, pattern) = (labels(host), !host.contains('_'));
    if let Some(domain) = listed.strip_prefix("*.") {
        let domain = labels(domain);
        pattern && host_labels.len() == domain.len() + 1 && host_labels.starts_with(&domain)
    } else if let Some(domain) = listed.strip_prefix('.') {
        pattern && host_labels.starts_with(&labels(domain))
    } else if let Some(end) = listed.strip_prefix('*') {
        pattern && host.len() > end.len() && host.ends_with(end)
    } else {
        host == listed
    }
}

fn bits(ip: IpAddr) -> (u32, u128) {
    match ip {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (32, u128::from(v4.to_bits())),
            None => (128, v6.to_bits()),
        },
    }
}

/// Whether a network, as it is written, holds an address, bit by bit.
fn holds(network: &str, client: IpAddr) -> bool {
    let (address, length) = match network.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().unwrap())),
        None => (network, None),
    };
    let written: IpAddr = address.parse().unwrap();
    let (width, value) = bits(written);
    let length = length.map_or(width, |length| if written.is_ipv6() && width == 32 { length - 96 } else { length });
    let (of, client) = bits(client);
    of == width && (0..length).all(|i| (value >> (width - 1 - i)) & 1 == (client >> (width - 1 - i)) & 1)
}

impl Rule {
    fn matches(&self, request: &Request<'_>) -> bool {
        let mut names: Vec<String> = self.hosts.iter().map(|&name| name.to_owned()).collect();
        for bucket in &self.buckets {
            for tail in ["s3.ap-northeast-1", "s3.dualstack.ap-northeast-1", "s3-ap-northeast-1", "s3"] {
                names.push(format!("{bucket}.{tail}.amazonaws.com"));
            }
        }
        let protocols = if self.protocols.is_empty() { &[Protocol::Tls][..] } else { &self.protocols };
        let own = if request.protocol == Protocol::Tls { 443 } else { 80 };
        let ports = if self.ports.is_empty() { &[own][..] } else { &self.ports };
        names.iter().any(|listed| covers(listed, request.name.as_str()))
            && (self.clients.is_empty() || self.clients.iter().any(|network| holds(network, request.client)))
            && protocols.contains(&request.protocol)
            && ports.contains(&request.port)
            && (self.endpoints.is_empty() || request.vpce.is_some_and(|vpce| self.endpoints.contains(&vpce)))
    }
}

fn plainly(rules: &[Rule], audit: bool, request: &Request<'_>) -> Decision {
    let mut expired = None;
    for (id, rule) in (0..).map(RuleId).zip(rules).filter(|(_, rule)| rule.matches(request)) {
        if rule.expires.is_some_and(|(_, last)| request.now > last) {
            expired = expired.or(Some(id));
            continue;
        }
        if request.ech && !rule.deny && rule.ech != "allow" {
            let (rule, enforced, reason) = (Some(id), rule.ech == "deny" && !rule.audit && !audit, Reason::EchDenied);
            return if enforced { Decision::Refuse { rule, reason } } else { Decision::Audit { rule, reason } };
        }
        return match (rule.deny, rule.audit) {
            (false, false) => Decision::Allow { rule: id },
            (false, true) => Decision::Audit { rule: Some(id), reason: Reason::AuditRule },
            (true, false) if !audit => Decision::Refuse { rule: Some(id), reason: Reason::DeniedByRule },
            (true, _) => Decision::Audit { rule: Some(id), reason: Reason::DeniedByRule },
        };
    }
    let reason = if expired.is_some() { Reason::RuleExpired } else { Reason::NoRule };
    if audit { Decision::Audit { rule: expired, reason } } else { Decision::Refuse { rule: expired, reason } }
}

/// Loads the rules without those that the loader says can never match, and checks that they never decide.
fn loaded(rules: &mut Vec<Rule>, audit: bool) -> Policy {
    rules::loaded(rules, audit, |rules, at, code| {
        let text = written(rules, audit);
        match code {
            "never-matches" | "duplicate-rule" => every_request(|request| {
                let decision = plainly(rules, audit, request);
                assert_ne!(decision.rule().map(|id| id.0 as usize), Some(at), "{text}\n{code}\n{request:?}");
            }),
            "host-never-matches" => assert!(rules[at].deny, "{text}"),
            _ => panic!("{text}\n{code}"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SEKISHO_LONG").is_some() { 5_000 } else { 100 }))]

    #[test]
    fn every_decision_is_the_plain_one(mut rules in proptest::collection::vec(rule(), 0..8), audit in any::<bool>()) {
        let policy = loaded(&mut rules, audit);
        every_request(|request| {
            let expected = plainly(&rules, audit, request);
            assert_eq!(policy.decide(request), expected, "{}\n{request:?}", written(&rules, audit));
            let with_ech = Request { ech: true, ..*request };
            assert_eq!(policy.decide(&with_ech), plainly(&rules, audit, &with_ech), "{}\n{with_ech:?}", written(&rules, audit));
        });
        // What explains a decision has an eye of its own for names, and must see the same.
        for host in HOSTS {
            let name = Name::parse(host).unwrap();
            let client = CLIENTS[0].parse().unwrap();
            let request = Request { name: &name, client, port: 443, protocol: Protocol::Tls, now: NOW, vpce: None, ech: false };
            let explained = policy.explain(&request);
            let decided = policy.decide(&request).rule().map(|id| format!("r{}", id.0));
            assert_eq!(explained.rule.as_ref().map(|rule| rule.name.clone()), decided, "{}\n{request:?}", written(&rules, audit));
            if let Some(rule) = explained.rule {
                assert!(covers(&rule.listed, host), "{rule:?} {host}");
            }
        }
    }
}

#[test]
fn the_plain_reading_tells_rules_apart() {
    // A reference that says one thing of everything would agree with nothing; make sure that it says all there is to say.
    assert!(covers("*.a.example", "b.a.example") && !covers("*.a.example", "a.example"));
    assert!(covers(".a.example", "a.example") && !covers(".a.example", "ba.example"));
    assert!(!covers(".a.example", "x_y.a.example") && covers("x_y.a.example", "x_y.a.example"));
    assert!(holds("10.20.0.0/16", "::ffff:10.20.3.4".parse().unwrap()) && !holds("::/0", "10.20.3.4".parse().unwrap()));
    assert!(holds("::ffff:10.20.0.0/112", "10.20.3.4".parse().unwrap()));
    assert!(!holds("::ffff:10.20.0.0/112", "10.21.3.4".parse().unwrap()));
    let mut requests = 0;
    every_request(|_| requests += 1);
    assert_eq!(requests, HOSTS.len() * CLIENTS.len() * 2 * 3 * TIMES.len() * (1 + ENDPOINTS.len()));
}
