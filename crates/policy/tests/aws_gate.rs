//! The endpoint's policy against the gate, over random policies: a bucket that the gate lets anybody through to is permitted,
//! and one that it lets nobody through to is not.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use sekisho_name::Name;
use sekisho_policy::export::aws::{self, ExportError, Scope};
use sekisho_policy::{Decision, Policy, Protocol, Request};
use serde_json::Value;

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;

const BUCKETS: &[&str] =
    &["reports", "reports-2", "notes", "x-123456789012-us-east-1-an", "x-123456789012-us-west-2-an"];
const TAILS: &[&str] = &[
    ".s3.us-east-1.amazonaws.com",
    ".s3.amazonaws.com",
    ".s3-us-west-2.amazonaws.com",
    ".s3-fips.us-east-1.amazonaws.com",
];
const CLIENTS: &[Ipv4Addr] = &[Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];

/// One rule's text after its name, and whether it denies to some clients only.
fn rule() -> impl Strategy<Value = (String, bool)> {
    let names = proptest::collection::btree_set((0..BUCKETS.len(), 0..TAILS.len()), 1..4);
    let wild = prop::bool::weighted(0.2);
    (names, wild, prop::bool::weighted(0.3), 0..3_usize, prop::bool::weighted(0.2)).prop_map(
        |(names, wild, deny, clients, expired)| {
            let mut hosts: Vec<String> =
                names.into_iter().map(|(b, t)| format!("{}{}", BUCKETS[b], TAILS[t])).collect();
            if wild {
                hosts.push("'*-123456789012-us-east-1-an.s3.us-east-1.amazonaws.com'".to_owned());
            }
            let mut text = format!("hosts: [{}]", hosts.join(", "));
            if clients > 0 {
                text = format!("{text}, clients: [10.0.0.{clients}]");
            }
            if deny {
                text += ", action: deny";
            } else if expired {
                text += ", expires: 2026-11-23";
            }
            (text, deny && clients > 0)
        },
    )
}

/// The buckets that some client is let through to, by any name.
fn let_through(policy: &Policy) -> BTreeSet<&'static str> {
    let through = |bucket: &&str| {
        TAILS.iter().any(|tail| {
            let name = Name::parse(&format!("{bucket}{tail}")).unwrap();
            CLIENTS.iter().any(|&client| {
                let request = Request {
                    name: &name,
                    client: client.into(),
                    port: 443,
                    protocol: Protocol::Tls,
                    now: NOW,
                    vpce: None,
                    ech: false,
                };
                matches!(policy.decide(&request), Decision::Allow { .. })
            })
        })
    };
    BUCKETS.iter().copied().filter(through).collect()
}

/// Those that the endpoint's policy has an ARN for.
fn permitted(policy: &Policy) -> BTreeSet<&'static str> {
    let text = match aws::endpoint_policy(policy, &Scope { now: NOW, ..Scope::default() }, &[]) {
        Ok(export) => export.text,
        Err(ExportError::Nothing) => return BTreeSet::new(),
        Err(error) => unreachable!("{error}"),
    };
    let document: Value = serde_json::from_str(&text).unwrap();
    let statements = document["Statement"].as_array().unwrap();
    let arns = |effect: &str| -> Vec<&str> {
        let of = statements.iter().filter(|statement| statement["Effect"] == effect);
        of.flat_map(|statement| statement["Resource"].as_array().unwrap()).map(|arn| arn.as_str().unwrap()).collect()
    };
    let (allowed, denied) = (arns("Allow"), arns("Deny"));
    let covers = |arn: &str, bucket: &str| {
        let name = arn.strip_prefix("arn:aws:s3:::").unwrap();
        name == bucket || name.strip_prefix('*').is_some_and(|ending| bucket.ends_with(ending))
    };
    let any = |arns: &[&str], bucket| arns.iter().any(|arn| covers(arn, bucket));
    BUCKETS.iter().copied().filter(|bucket| any(&allowed, bucket) && !any(&denied, bucket)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_endpoint_permits_what_the_gate_lets_through(rules in proptest::collection::vec(rule(), 1..5)) {
        let lines: Vec<String> = rules.iter().enumerate().map(|(i, (rule, _))| format!("  - {{ name: r{i}, {rule} }}\n")).collect();
        let text = format!("version: 1\nrules:\n{}", lines.concat());
        // A rule that can never match is a fault, and no policy.
        let Ok(loaded) = Policy::parse("p.yaml", &text, NOW) else { return Ok(()) };
        let (through, permitted) = (let_through(&loaded.policy), permitted(&loaded.policy));
        prop_assert!(through.is_subset(&permitted), "{text}let through {through:?}, permitted {permitted:?}");
        // Several rules may deny it to all clients between them, which the export does not look for.
        if rules.iter().all(|(_, some)| !some) {
            prop_assert_eq!(through, permitted, "{}", text);
        }
    }
}
