//! The difference of two random policies: what it reports is so, nothing else differs, and the digest says the same.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/rules.rs"]
mod rules;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rules::{CLIENTS, HOSTS, Rule, TIMES, every_request, loaded, rule, written};
use sekisho_policy::{Effect, Policy, Verdict};

/// Two policies, the second often nearly the first: then more than their digests can be equal.
fn pair() -> impl Strategy<Value = (Vec<Rule>, Vec<Rule>)> {
    let rules = || proptest::collection::vec(rule(), 0..6);
    prop_oneof![
        1 => (rules(), rules()),
        // One more, at the end or before everything.
        2 => (rules(), rule(), any::<bool>()).prop_map(|(old, more, last)| {
            let mut new = old.clone();
            new.insert(if last { new.len() } else { 0 }, more);
            (old, new)
        }),
        // One less.
        2 => (rules(), any::<prop::sample::Index>()).prop_map(|(old, at)| {
            let mut new = old.clone();
            if !new.is_empty() {
                new.remove(at.index(old.len()));
            }
            (old, new)
        }),
        // Two neighbours change places.
        3 => (rules(), any::<prop::sample::Index>()).prop_map(|(old, at)| {
            let mut new = old.clone();
            if new.len() > 1 {
                let at = at.index(old.len() - 1);
                new.swap(at, at + 1);
            }
            (old, new)
        }),
        // One rule's names in two rules: this changes nothing.
        3 => (rules(), any::<prop::sample::Index>()).prop_map(|(old, at)| {
            let mut new = old.clone();
            if !new.is_empty() {
                let at = at.index(old.len());
                let mut other = new[at].clone();
                let half = other.hosts.len() / 2;
                other.hosts = new[at].hosts.split_off(half);
                if new[at].hosts.is_empty() && new[at].buckets.is_empty() {
                    std::mem::swap(&mut new[at], &mut other);
                } else if !other.hosts.is_empty() {
                    other.buckets.clear();
                    new.insert(at + 1, other);
                }
            }
            (old, new)
        }),
    ]
}

fn agree(old: &Policy, new: &Policy, texts: &str) -> Result<bool, TestCaseError> {
    let diff = old.diff(new);
    prop_assert_eq!(diff.is_empty(), old.digest() == new.digest(), "{}{:#?}", texts, diff);
    for change in &diff.changes {
        prop_assert!(!change.names.is_empty() && !change.when.is_empty(), "{}{:#?}", texts, change);
        let mut witnesses = 0;
        for (name, conditions) in change.witnesses() {
            let request = conditions.witness(&name).unwrap();
            prop_assert_eq!(&old.outcome(&request), &change.before, "{}{:#?}\n{:?}", texts, change, request);
            prop_assert_eq!(&new.outcome(&request), &change.after, "{}{:#?}\n{:?}", texts, change, request);
            prop_assert!(change.holds(&request), "{}{:#?}\n{:?}", texts, change, request);
            witnesses += 1;
        }
        prop_assert_eq!(witnesses, change.names.len() * change.when.len());
        let more = change.before.verdict == Verdict::Refused && change.after.verdict != Verdict::Refused;
        prop_assert!(!more || change.effect == Effect::Opens, "{}{:#?}", texts, change);
        let less = change.before.verdict != Verdict::Refused && change.after.verdict == Verdict::Refused;
        prop_assert!(!less || change.effect == Effect::Shuts, "{}{:#?}", texts, change);
    }
    let mut wrong = None;
    every_request(|request| {
        let (before, after) = (old.outcome(request), new.outcome(request));
        let told: Vec<_> = diff.changes.iter().filter(|change| change.holds(request)).collect();
        let right = match told.as_slice() {
            [] => before == after,
            [change] => before != after && change.before == before && change.after == after,
            _ => false,
        };
        if !right && wrong.is_none() {
            wrong = Some(format!("{texts}{request:?}\n{before} -> {after}\n{told:#?}"));
        }
    });
    prop_assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    Ok(diff.is_empty())
}

fn cases() -> u32 {
    if std::env::var_os("SEKISHO_LONG").is_some() { 5_000 } else { 100 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn it_is_empty_exactly_when_the_digests_are_equal_and_says_what_is_so(
        (mut old, mut new) in pair(),
        modes in (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)),
    ) {
        let (before, after) = (loaded(&mut old, modes.0, |_, _, _| ()), loaded(&mut new, modes.1, |_, _, _| ()));
        let texts = format!("{}\n{}\n", written(&old, modes.0), written(&new, modes.1));
        agree(&before, &after, &texts)?;
        // What opens one way shuts the other.
        let (there, back) = (before.diff(&after), after.diff(&before));
        prop_assert_eq!(there.changes.len(), back.changes.len(), "{}", texts);
    }

    #[test]
    fn a_rule_that_can_be_taken_out_is_found_when_it_is_loaded(mut rules in proptest::collection::vec(rule(), 0..6)) {
        let policy = loaded(&mut rules, false, |_, _, _| ());
        for at in 0..rules.len() {
            // Every rule that is left decides something: without it, or with the opposite in its place, the policy is another.
            let mut other = rules.clone();
            other[at].deny = !other[at].deny;
            other[at].expires = other[at].expires.filter(|_| !other[at].deny);
            other[at].audit = false;
            other[at].upstream = "any";
            (other[at].ech, other[at].on_mismatch) = ("allow", "record");
            let text = written(&other, false);
            let Ok(other) = Policy::parse("policy.yaml", &text, rules::NOW) else { continue };
            prop_assert_ne!(policy.digest(), other.policy.digest(), "{}", text);
        }
    }
}

#[test]
fn another_access_is_told_though_nothing_changes_for_the_gate() {
    let policy =
        |rules: &str| Policy::parse("policy.yaml", &format!("version: 1\nrules:\n{rules}"), rules::NOW).unwrap().policy;
    let bucket = "buckets: [{ name: reports, region: ap-northeast-1 }]";
    let old = policy(&format!("  - {{ name: a, {bucket} }}\n"));
    // Renamed as well: names are compared.
    let new = policy(&format!("  - {{ name: b, access: [read], {bucket} }}\n"));
    let diff = old.diff(&new);
    assert!(diff.is_empty() && !diff.opens() && old.digest() == new.digest());
    let text = diff.to_string();
    assert!(text.starts_with("nothing changes for the gate\n"), "{text}");
    assert!(text.contains("access of the rule `b`: read, write, list -> read\n"), "{text}");
    assert!(diff.markdown().contains("- `access` of the rule `b`: read, write, list → read\n"), "{}", diff.markdown());
    let json = diff.json();
    assert_eq!(json["access"][0]["before"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!((&json["access"][0]["after"][0], &json["empty"]), (&"read".into(), &true.into()), "{json}");
    assert_eq!(new.diff(&old).access.len(), 1);
    // For another client, too: then it is by all that the bucket had.
    let moved = policy(&format!("  - {{ name: b, clients: [10.0.0.0/8], access: [read, list], {bucket} }}\n"));
    assert_eq!(new.diff(&moved).access.len(), 1);
    assert!(!new.diff(&moved).is_empty());
    // One rule's buckets in two rules are permitted as before, and what is new has no access before.
    let split = policy(&format!(
        "  - {{ name: c, access: [read], buckets: [{{ name: other, region: us-east-1 }}] }}\n  - {{ name: b, access: [read], {bucket} }}\n"
    ));
    assert!(new.diff(&split).access.is_empty() && new.diff(&new).access.is_empty());
    assert_eq!(new.diff(&new).to_string(), "nothing changes\n");
    assert!(new.diff(&new).json().get("access").is_none());
}

#[test]
fn the_pairs_are_told_apart() {
    // Equal digests must be met, too, or the property above says half of what it seems to say.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut equal, mut other) = (0, 0);
    for _ in 0..100 {
        let (mut old, mut new) = pair().new_tree(&mut runner).unwrap().current();
        let (old, new) = (loaded(&mut old, false, |_, _, _| ()), loaded(&mut new, false, |_, _, _| ()));
        if old.digest() == new.digest() { equal += 1 } else { other += 1 }
    }
    assert!(equal > 15 && other > 15, "{equal} {other}");
    assert!(HOSTS.len() * CLIENTS.len() * TIMES.len() > 400);
}

#[test]
fn endpoints_and_what_a_rule_refuses_besides_are_told_in_words() {
    let policy = |keys: &str| {
        let text = format!("version: 1\nrules:\n  - {{ name: a, owner: o, hosts: [a.example]{keys} }}\n");
        Policy::parse("policy.yaml", &text, rules::NOW).unwrap().policy
    };
    let (old, new) = (policy(", vpc_endpoints: [vpce-0a1b2c3d]"), policy(""));
    let diff = old.diff(&new);
    let text = diff.to_string();
    assert!(diff.opens() && text.contains("tls 443, from anybody, not through vpce-0a1b2c3d"), "{text}");
    let text = new.diff(&old).to_string();
    assert!(text.starts_with("opens 0, shuts 1") && text.contains("not through vpce-0a1b2c3d"), "{text}");
    let other = policy(", vpc_endpoints: [vpce-0a1b2c3e]");
    let text = old.diff(&other).to_string();
    assert!(
        text.contains("from anybody, through vpce-0a1b2c3e\n    see: sekisho explain a.example --vpce vpce-0a1b2c3e"),
        "{text}"
    );
    let json = old.diff(&other).json();
    assert_eq!(json["changes"][0]["when"][0]["vpc_endpoints"][0], "vpce-0a1b2c3e", "{json}");
    // What is no longer refused opens something; what is only recorded does not.
    for (before, after, opens, word) in [
        (", ech: deny", "", true, "allowed, ech deny -> allowed"),
        (", ech: deny", ", ech: log", true, "allowed, ech deny -> allowed, ech log"),
        (", ech: log", "", false, "allowed, ech log -> allowed"),
        (", on_mismatch: refuse", "", true, "allowed, on_mismatch refuse -> allowed"),
        ("", ", on_mismatch: refuse, ech: deny", false, "allowed -> allowed, ech deny, on_mismatch refuse"),
    ] {
        let diff = policy(before).diff(&policy(after));
        assert_eq!(diff.opens(), opens, "{diff}");
        assert!(diff.to_string().contains(word), "{diff}");
    }
}
