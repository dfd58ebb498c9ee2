//! What is made of what was seen, case by case.

use sekisho_journal::learn::Options;

use crate::common::{DAY, Line, learned};

/// The rules without their comments.
fn rules(lines: &[Line], options: Options) -> String {
    let yaml = learned(lines, options).yaml("");
    yaml.lines().filter(|line| !line.trim_start().starts_with('#')).map(|line| line.to_owned() + "\n").collect()
}

fn reports(client: &str, form: &str) -> Line {
    Line::audited(client, &format!("reports.{form}.amazonaws.com"))
}

#[test]
fn a_buckets_names_become_one_entry_with_the_forms_that_were_seen() {
    let lines = [
        reports("10.20.0.14", "s3.ap-northeast-1"),
        reports("10.20.0.15", "s3.dualstack.ap-northeast-1"),
        reports("10.20.0.15", "s3"),
        reports("10.20.0.15", "s3-ap-northeast-1"),
        reports("10.20.0.16", "s3-accelerate"),
    ];
    let expected = "version: 1\nrules:\n  - name: reports\n    clients: [10.20.0.14/31, 10.20.0.16]\n    buckets:\n      \
                    - { name: reports, region: ap-northeast-1, endpoints: [accelerate, dualstack, global, legacy, regional] }\n";
    assert_eq!(rules(&lines, Options::default()), expected);
}

#[test]
fn a_name_without_a_region_goes_where_most_of_its_bucket_is_and_is_never_given_a_guess() {
    let lines = [
        reports("10.20.0.1", "s3.us-east-1"),
        reports("10.20.0.1", "s3.ap-northeast-1"),
        reports("10.20.0.1", "s3.ap-northeast-1"),
        reports("10.20.0.1", "s3"),
        Line::audited("10.20.0.1", "other.s3.amazonaws.com"),
    ];
    let rules = rules(&lines, Options::default());
    assert!(rules.contains("{ name: reports, region: ap-northeast-1, endpoints: [global, regional] }"), "{rules}");
    assert!(rules.contains("{ name: reports, region: us-east-1, endpoints: [regional] }"), "{rules}");
    assert!(rules.contains("    hosts:\n      - other.s3.amazonaws.com\n"), "{rules}");
}

/// Found by random logs: the rule that came first in the log was told.
#[test]
fn of_several_expired_rules_one_is_told_whatever_came_first() {
    let expired =
        |rule| Line { reason: Some("rule_expired"), rule: Some(rule), ..Line::audited("10.20.0.1", "a.example") };
    let yaml = |rules: [&'static str; 2]| learned(&rules.map(expired), Options::default()).yaml("");
    assert_eq!(yaml(["one", "two"]), yaml(["two", "one"]));
}

/// Found by random logs: the whole entry went aside, and only its first name was told.
#[test]
fn a_name_that_no_rule_may_list_takes_no_other_of_its_bucket_with_it() {
    let on_8080 = |form| Line { protocol: "http", port: 8080, ..reports("10.20.0.1", form) };
    let learned = learned(&[on_8080("s3-website-ap-northeast-1"), on_8080("s3.ap-northeast-1")], Options::default());
    assert_eq!(learned.rules[0].buckets[0].endpoints, ["regional"]);
    assert_eq!(learned.aside.len(), 1);
}

#[test]
fn clients_are_exactly_those_seen_unless_rounding_is_asked_for() {
    let clients = ["10.20.0.0", "10.20.0.1", "10.20.0.2", "10.20.0.3", "10.20.0.7", "fd00::2", "fd00::3"];
    let lines: Vec<_> = clients.iter().map(|client| Line::audited(client, "a.example")).collect();
    let exact = rules(&lines, Options::default());
    assert!(exact.contains("clients: [10.20.0.0/30, 10.20.0.7, \"fd00::2/127\"]"), "{exact}");
    let rounded = rules(&lines, Options { round_v4: Some(24), round_v6: Some(64), ..Options::default() });
    assert!(rounded.contains("clients: [10.20.0.0/24, \"fd00::/64\"]"), "{rounded}");
}

#[test]
fn the_same_clients_asking_in_the_same_way_make_one_rule() {
    let lines = [
        Line::audited("10.20.0.1", "a.example"),
        Line::audited("10.20.0.1", "b.example"),
        Line::audited("10.20.0.2", "c.example"),
        Line { port: 8443, ..Line::audited("10.20.0.1", "d.example") },
        Line { port: 80, protocol: "http", ..Line::audited("10.20.0.1", "e.example") },
        Line { protocol: "connect", ..Line::audited("10.20.0.1", "f.example") },
    ];
    let rules = rules(&lines, Options::default());
    assert!(rules.contains("hosts:\n      - a.example\n      - b.example\n      - f.example\n"), "{rules}");
    assert!(rules.contains("name: d.example on port 8443\n    clients: [10.20.0.1]\n    ports: [8443]\n"), "{rules}");
    assert!(rules.contains("name: e.example over http\n    clients: [10.20.0.1]\n    protocols: [http]\n"), "{rules}");
    assert_eq!(rules.matches("- name:").count(), 4, "{rules}");
}

#[test]
fn private_addresses_get_the_upstream_that_they_need() {
    let at = |host: &str, upstream| Line { upstream: Some(upstream), ..Line::audited("10.20.0.1", host) };
    let lines = [
        at("ssm.ap-northeast-1.amazonaws.com", "10.9.1.4"),
        at("ssm.ap-northeast-1.amazonaws.com", "10.9.1.5"),
        at("mixed.example", "10.9.1.4"),
        at("mixed.example", "52.219.0.1"),
        at("public.example", "52.219.0.1"),
    ];
    let rules = rules(&lines, Options::default());
    assert!(rules.contains("    upstream: [10.9.1.4/31]\n    hosts:\n      - ssm."), "{rules}");
    assert!(rules.contains("    upstream: any\n    hosts:\n      - mixed.example"), "{rules}");
    assert!(rules.contains("    clients: [10.20.0.1]\n    hosts:\n      - public.example"), "{rules}");
}

#[test]
fn what_no_rule_can_mend_is_told_with_what_to_change() {
    let website = Line::audited("10.20.0.1", "reports.s3-website-ap-northeast-1.amazonaws.com");
    let lines = [
        Line::audited("10.20.0.1", "s3.ap-northeast-1.amazonaws.com"),
        Line::audited("10.20.0.1", "a.b.s3.ap-northeast-1.amazonaws.com"),
        Line::audited("10.20.0.1", "reports.s3.ap-northeast-9.amazonaws.com"),
        website.clone(),
        Line { protocol: "http", port: 8080, ..website },
        Line::refused("10.20.0.1", None, "invalid_name"),
        Line::refused("10.20.0.2", None, "no_sni"),
        Line::refused("10.20.0.3", None, "no_sni"),
        Line { rule: Some("shut"), reason: Some("denied_by_rule"), ..Line::audited("10.20.0.1", "secret.example") },
        Line { rule: Some("ssm"), reason: Some("forbidden_address"), ..Line::audited("10.20.0.1", "ssm.example") },
        Line { verdict: "failed", reason: Some("name_not_found"), ..Line::audited("10.20.0.1", "gone.example") },
        Line {
            rule: Some("x"),
            verdict: "failed",
            reason: Some("dns_failed"),
            ..Line::audited("10.20.0.1", "ruled.example")
        },
        Line::refused("10.20.0.1", Some("not.asked.example"), "no_rule"),
    ];
    let learned = learned(&lines, Options::default());
    assert!(learned.rules.is_empty());
    let told = |why: &str| -> Vec<_> {
        let all = learned.aside.iter().filter(|aside| aside.why == why);
        all.map(|aside| (aside.host.as_deref().unwrap_or("-"), aside.clients)).collect()
    };
    assert_eq!(told("path_style"), [("s3.ap-northeast-1.amazonaws.com", 1)]);
    assert_eq!(told("dotted_bucket"), [("a.b.s3.ap-northeast-1.amazonaws.com", 1)]);
    assert_eq!(told("unknown_region"), [("reports.s3.ap-northeast-9.amazonaws.com", 1)]);
    assert_eq!(told("website"), [("reports.s3-website-ap-northeast-1.amazonaws.com", 1)]);
    assert_eq!(told("website_needs_http"), [("reports.s3-website-ap-northeast-1.amazonaws.com", 1)], "on 8080");
    assert_eq!(told("invalid_name"), [("-", 1)]);
    assert_eq!(told("no_sni"), [("-", 2)]);
    assert_eq!(told("denied_by_rule"), [("secret.example", 1)]);
    assert_eq!(told("forbidden_address"), [("ssm.example", 1)]);
    assert_eq!(told("name_not_found"), [("gone.example", 1)]);
    assert_eq!(told("no_rule"), [("not.asked.example", 1)], "with a word on --refused");
    assert_eq!(learned.aside.len(), 11);
    let yaml = learned.yaml("");
    assert!(yaml.starts_with("version: 1\nrules: []\n"), "{yaml}");
    for word in [
        "addressing_style virtual",
        "Copy the data to a bucket without one",
        "`--refused` takes such",
        "by the rule `shut`",
    ] {
        assert!(
            yaml.split_whitespace().collect::<Vec<_>>().join(" ").replace(" # ", " ").contains(word),
            "{word}\n{yaml}"
        );
    }
}

#[test]
fn nothing_in_a_log_gets_out_of_its_comment() {
    let forged = "x`\nrules:\n  - name: forged\u{2028}\u{202e}";
    let rule: &'static str = Box::leak(forged.to_owned().into_boxed_str());
    let lines = [
        Line { rule: Some(rule), reason: Some("denied_by_rule"), ..Line::audited("10.20.0.1", "a.example") },
        Line { rule: Some(rule), reason: Some("rule_expired"), ..Line::audited("10.20.0.1", "b.example") },
    ];
    let yaml = learned(&lines, Options::default()).yaml("a heading\nof two lines");
    assert!(yaml.starts_with("# a heading\n# of two lines\nversion: 1\n"), "{yaml}");
    assert_eq!(yaml.matches("\n  - name:").count(), 1, "{yaml}");
    assert!(!yaml.contains(['\u{2028}', '\u{202e}']), "{yaml}");
}

#[test]
fn a_connection_that_is_still_open_counts_once_however_often_it_is_told() {
    let open = |days: i64| Line { event: "open", time: DAY + days, ..Line::audited("10.20.0.1", "a.example") };
    let close = Line { event: "close", ..open(9) };
    let counts = |lines: &[Line]| learned(lines, Options::default()).rules[0].seen.connections();
    assert_eq!(counts(&[open(0)]), 1);
    assert_eq!(counts(&[open(0), close.clone()]), 1);
    assert_eq!(counts(&[open(0), close.clone(), close]), 2);
    let learned = learned(&[open(0), open(9)], Options { since: Some(DAY + 9), ..Options::default() });
    assert_eq!(learned.rules[0].seen.first(), "2026-11-24T00:00:09Z");
}
