//! `tests:` of a policy: what a claim without a client or a time is held to.

use std::fmt::Write as _;

use proptest::prelude::*;
use sekisho_name::Name;
use sekisho_policy::{Decision, Policy, Protocol, Request};

const NOW: i64 = 1_795_521_600;

/// The rules with one claim: whether it is so, or else what is said of it.
fn holds(rules: &str, claim: &str) -> Result<(), String> {
    let text = format!("version: 1\nrules:\n{rules}tests:\n  - {{ {claim} }}\n");
    Policy::parse("policy.yaml", &text, NOW).map(|_| ()).map_err(|faults| {
        assert!(
            faults.iter().all(|fault| fault.severity.label() == "warning" || fault.code == "false-claim"),
            "{faults}"
        );
        faults.to_string()
    })
}

#[test]
fn a_claim_without_a_client_is_of_every_client() {
    let rule = |clients: &str| format!("  - {{ name: a, clients: [{clients}], hosts: [a.example] }}\n");
    let every = "0.0.0.0/1, 128.0.0.0/1, '::/0'";
    assert_eq!(holds(&rule(every), "allow: a.example"), Ok(()));
    for (almost, who) in [
        ("0.0.0.0/1, '::/0'", "128.0.0.0"),
        ("0.0.0.0/0", "::"),
        ("0.0.0.0/1, 128.0.0.0/2, 192.0.0.0/3, 224.0.0.0/4, 240.0.0.0/5, '::/0'", "248.0.0.0"),
        ("0.0.0.0/0, '::/1'", "8000::"),
    ] {
        let said = holds(&rule(almost), "allow: a.example").unwrap_err();
        assert!(said.contains(&format!("from {who},")), "{almost}: {said}");
    }
    assert_eq!(holds(&rule("10.0.0.7"), "refuse: b.example"), Ok(()));
    assert!(holds(&rule("10.0.0.7"), "refuse: a.example").unwrap_err().contains("from 10.0.0.7,"));
}

#[test]
fn what_is_refused_is_so_at_every_time_and_what_is_allowed_until_its_rule_expires() {
    let rules = "  - { name: a, expires: 2026-01-31, hosts: [a.example] }\n  - { name: b, expires: 2027-01-31, action: allow, hosts: [b.example] }\n";
    // By the passing of time alone no policy becomes faulty.
    assert_eq!(holds(rules, "allow: a.example"), Ok(()));
    assert_eq!(holds(rules, "allow: b.example"), Ok(()));
    assert!(holds(rules, "allow: b.example, at: 2027-02-01").unwrap_err().contains("rule_expired"));
    // It was let through once, and a claim without a time is of the past too.
    assert!(holds(rules, "refuse: a.example").is_err());
    assert_eq!(holds(rules, "refuse: a.example, at: 2026-02-01, reason: rule_expired"), Ok(()));
    // Where an expired rule uncovers a wider one, that is seen.
    let uncovering = "  - { name: a, mode: enforce, expires: 2027-01-31, hosts: [a.example] }\n  - { name: no, action: deny, hosts: [a.example] }\n";
    let said = holds(uncovering, "refuse: a.example, reason: denied_by_rule").unwrap_err();
    assert!(said.contains("the rule `a`"), "{said}");
}

#[test]
fn under_audit_a_claim_is_of_what_would_be_enforced() {
    let text = "version: 1\nmode: audit\nrules:\n  - { name: a, hosts: [a.example] }\n  - { name: b, mode: audit, hosts: [b.example] }\n\
                tests:\n  - { allow: a.example }\n  - { allow: b.example }\n  - { refuse: c.example, reason: no_rule }\n";
    assert!(Policy::parse("policy.yaml", text, NOW).is_ok());
}

proptest! {
    /// Whatever a claim without a client says, no client decides otherwise.
    #[test]
    fn no_client_refutes_a_proved_claim(
        rules in prop::collection::vec((0_u32..256, 0_u8..=8, any::<bool>()), 1..6),
        asked in prop::collection::vec(0_u32..256, 32),
    ) {
        // Networks within 10.0.0.0/24, so that they meet often.
        let mut text = String::new();
        for (i, (host, bits, allow)) in rules.iter().enumerate() {
            let (base, length) = (host >> bits << bits, 32 - bits);
            let action = if *allow { "allow" } else { "deny" };
            let _ = writeln!(text, "  - {{ name: r{i}, action: {action}, clients: [10.0.0.{base}/{length}], hosts: [a.example] }}");
        }
        let whole = format!("version: 1\nrules:\n{text}");
        let Ok(loaded) = Policy::parse("policy.yaml", &whole, NOW) else { return Ok(()) };
        let name = Name::parse("a.example").unwrap();
        let allowed = |host: u32| {
            let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 | host).into();
            let request = Request { name: &name, client, port: 443, protocol: Protocol::Tls, now: NOW, vpce: None, ech: false };
            matches!(loaded.policy.decide(&request), Decision::Allow { .. })
        };
        let any = (0..256).any(allowed);
        prop_assert_eq!(holds(&text, "refuse: a.example").is_ok(), !any);
        for host in asked {
            let claim = format!("allow: a.example, from: 10.0.0.{host}");
            prop_assert_eq!(holds(&text, &claim).is_ok(), allowed(host));
        }
    }
}
