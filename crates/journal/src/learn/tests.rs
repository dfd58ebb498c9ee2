use super::*;

fn capped(names: usize, pairs: usize, lines: &[(&str, &str)]) -> Learned {
    let mut learner = Learner::capped(Options::default(), None, Caps { names, pairs });
    for (client, host) in lines {
        let line = format!(
            r#"{{"time":"2026-11-24T09:15:02Z","event":"close","client":"{client}:1","host":"{host}","verdict":"audited","reason":"no_rule"}}"#
        );
        learner.take(&Record::parse(line.as_bytes()).unwrap()).unwrap();
    }
    learner.finish()
}

#[test]
fn what_comes_after_a_cap_is_counted_and_told() {
    let lines =
        [("10.0.0.1", "a.example"), ("10.0.0.2", "a.example"), ("10.0.0.1", "b.example"), ("10.0.0.1", "a.example")];
    for (names, pairs, beyond) in [(9, 9, 0), (1, 9, 1), (9, 2, 1), (9, 1, 2), (0, 9, 4), (9, 0, 4)] {
        let learned = capped(names, pairs, &lines);
        assert_eq!(learned.beyond, beyond, "{names} names, {pairs} pairs");
        assert_eq!(learned.yaml("").contains("INCOMPLETE"), beyond > 0);
        assert_eq!(learned.prove(0), Ok(()));
        let counted: u64 = learned.rules.iter().map(|rule| rule.seen.connections()).sum();
        assert_eq!(counted + beyond, 4);
    }
}

#[test]
fn only_the_ranges_of_interface_endpoints_are_private() {
    for address in ["10.0.0.1", "172.31.0.1", "192.168.0.1", "100.64.0.1", "100.127.0.1", "fd00::1", "::ffff:10.0.0.1"]
    {
        assert!(private(address.parse().unwrap()), "{address}");
    }
    for address in ["52.219.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "2600::1", "fe80::1"] {
        assert!(!private(address.parse().unwrap()), "{address}");
    }
}

#[test]
fn what_a_rule_says_of_an_endpoint_or_of_a_hello_is_learned_by_no_other_rule() {
    let text = "version: 1\nrules:\n  - { name: a, vpc_endpoints: [vpce-0a1b2c3d], hosts: [a.example] }\n  \
                - { name: no, action: deny, vpc_endpoints: [vpce-0a1b2c3e], hosts: [a.example] }\n";
    let policy = Policy::parse("policy.yaml", text, 0).unwrap().policy;
    let mut learner = Learner::new(Options::default(), Some((&policy, 0)));
    for (host, rest) in [
        ("a.example", r#","reason":"no_rule","vpce":"vpce-0a1b2c3d""#),
        ("a.example", r#","reason":"denied_by_rule","rule":"no","vpce":"vpce-0a1b2c3e""#),
        ("a.example", r#","reason":"no_rule","vpce":"vpce-0a1b2c3f""#),
        ("b.example", r#","reason":"ech_denied","rule":"b","ech":true"#),
        ("c.example", r#","reason":"destination_mismatch","rule":"c","dst_matches":"no""#),
    ] {
        let line = format!(
            r#"{{"time":"2026-11-24T09:15:02Z","event":"close","client":"10.0.0.1:1","host":"{host}","verdict":"audited"{rest}}}"#
        );
        learner.take(&Record::parse(line.as_bytes()).unwrap()).unwrap();
    }
    let learned = learner.finish();
    assert_eq!(learned.allowed_already, 1, "allowed through its endpoint");
    let hosts: Vec<_> = learned.rules.iter().flat_map(|rule| &rule.hosts).map(|host| host.host.as_str()).collect();
    assert_eq!(hosts, ["a.example"], "through the endpoint that no rule names");
    let mut aside: Vec<_> = learned.aside.iter().map(|aside| aside.why.as_str()).collect();
    aside.sort_unstable();
    assert_eq!(aside, ["denied_by_rule", "destination_mismatch", "ech_denied"]);
}
