//! A policy compared with what it was used for.

use sekisho_journal::usage::{Options, Report, Usage};
use sekisho_policy::Policy;

use crate::common::{DAY, Line, log, read};

const POLICY: &str = "version: 1
mode: audit
rules:
  - name: buckets
    owner: data@example.com
    clients: [10.20.0.0/24]
    buckets: [{ name: reports, region: ap-northeast-1 }]
  - name: partners
    hosts: [\"*.partner.example\", .wide.example, .idle.example, exact.wide.example]
  - name: temporary
    expires: 2026-11-24
    hosts: [temporary.example]
  - name: shut
    action: deny
    hosts: [shut.example]
  - name: unused
    expires: 2026-12-20
    hosts: [\"*.unused.example\"]
  - name: later
    expires: 2027-11-24
    hosts: [later.example]
";

fn report(lines: &[Line], options: Options) -> Report {
    let policy = Policy::parse("policy.yaml", POLICY, DAY).unwrap().policy;
    let mut usage = Usage::new(&policy, options);
    read(&log(lines), |record| usage.take(record));
    usage.finish(DAY + 2 * 86_400)
}

fn at(days: i64, client: &str, host: &str) -> Line {
    Line { time: DAY + days * 86_400, ..Line::audited(client, host) }
}

fn lines() -> Vec<Line> {
    let bucket = "reports.s3.ap-northeast-1.amazonaws.com";
    let mut lines = vec![
        at(0, "10.20.0.1", bucket),
        at(1, "10.20.0.2", bucket),
        at(1, "10.21.0.1", bucket),
        at(0, "10.20.0.1", "a.partner.example"),
        at(0, "10.20.0.1", "b.partner.example"),
        at(0, "10.20.0.1", "b.partner.example"),
        at(0, "10.20.0.1", "exact.wide.example"),
        at(0, "10.20.0.1", "temporary.example"),
        at(1, "10.20.0.1", "temporary.example"),
        at(0, "10.20.0.1", "shut.example"),
    ];
    lines.extend((0..3).map(|n| at(0, "10.20.0.1", &format!("h{n}.wide.example"))));
    lines.push(Line { time: DAY, ..Line::refused("10.20.0.9", None, "no_sni") });
    lines
}

#[test]
fn each_rule_has_its_use_as_of_the_time_of_each_connection() {
    let report = report(&lines(), Options::default());
    let uses: Vec<_> = report.rules.iter().map(|r| (r.rule.as_str(), r.seen.connections(), r.names)).collect();
    let expected =
        [("buckets", 2, 1), ("partners", 7, 6), ("temporary", 1, 1), ("shut", 1, 1), ("unused", 0, 0), ("later", 0, 0)];
    assert_eq!(uses, expected);
    assert_eq!(report.rules[0].seen.last(), "2026-11-25T00:00:00Z");
    assert_eq!(report.rules[0].owner.as_deref(), Some("data@example.com"));
    assert_eq!(report.looked_at.connections(), 14);
    assert_eq!(report.looked_at.first(), "2026-11-24T00:00:00Z", "unused since then");
    assert_eq!(report.beyond, 0);
}

#[test]
fn patterns_that_matched_few_names_are_those_names() {
    let narrow = |few| -> Vec<(String, Vec<String>)> {
        let options = Options { few, ..Options::default() };
        report(&lines(), options).patterns.into_iter().map(|p| (p.pattern, p.names)).collect()
    };
    let partners =
        ("*.partner.example".to_owned(), vec!["a.partner.example".to_owned(), "b.partner.example".to_owned()]);
    let idle = (".idle.example".to_owned(), vec![]);
    assert_eq!(narrow(2), [partners.clone(), idle.clone()], "an unused rule has a line of its own");
    assert_eq!(narrow(1), std::slice::from_ref(&idle));
    let wide: Vec<_> = (0..3).map(|n| format!("h{n}.wide.example")).collect();
    assert_eq!(narrow(3), [partners, (".wide.example".to_owned(), wide), idle], "not the name that is listed itself");
}

#[test]
fn the_narrower_rule_allows_what_the_pattern_was_used_for_and_no_more() {
    let report = report(&lines(), Options::default());
    let pattern = &report.patterns[0];
    let narrower = POLICY.replace("\"*.partner.example\"", &pattern.names.join(", "));
    let policy = Policy::parse("policy.yaml", &narrower, DAY).unwrap().policy;
    let mut usage = Usage::new(&policy, Options::default());
    read(&log(&lines()), |record| usage.take(record));
    let after = usage.finish(DAY);
    let uses = |report: &Report| report.rules.iter().map(|rule| rule.seen.connections()).collect::<Vec<_>>();
    assert_eq!(uses(&after), uses(&report));
}

#[test]
fn rules_near_their_end_are_told_and_what_came_after_it() {
    let told = |days| -> Vec<(String, bool, u64, u64)> {
        let report = report(&lines(), Options { days, ..Options::default() });
        report.expiring.into_iter().map(|e| (e.rule, e.expired, e.connections, e.after)).collect()
    };
    let temporary = ("temporary".to_owned(), true, 1, 1);
    assert_eq!(told(0), std::slice::from_ref(&temporary));
    assert_eq!(told(30), [temporary, ("unused".to_owned(), false, 0, 0)]);
}

#[test]
fn refusals_are_ranked_by_client_and_host_and_the_rest_is_counted() {
    let report = report(&lines(), Options { top: 2, ..Options::default() });
    let top: Vec<_> = report
        .refused
        .iter()
        .map(|r| (r.client.to_string(), r.host.as_deref().unwrap_or("-").to_owned(), r.reason, r.seen.connections()))
        .collect();
    let expected = [
        ("10.20.0.1".to_owned(), "b.partner.example".to_owned(), "no_rule", 2),
        ("10.20.0.1".to_owned(), "temporary.example".to_owned(), "no_rule", 2),
    ];
    assert_eq!(top, expected);
    assert_eq!(report.refused_more, 10);
}

#[test]
fn a_person_reads_the_same_in_words() {
    let text = report(&lines(), Options::default()).to_string();
    for line in [
        "14 connections, 2026-11-24T00:00:00Z to 2026-11-25T00:00:00Z",
        "Rules that nothing has used since 2026-11-24T00:00:00Z:",
        "  `unused` at policy.yaml:16",
        "  `buckets` at policy.yaml:4: last 2026-11-25T00:00:00Z; 2 connections, 1 name; owner data@example.com",
        "  *.partner.example at policy.yaml:9, rule `partners`: matched 2 names",
        "      - b.partner.example",
        "  `temporary` at policy.yaml:10: expired 2026-11-24T23:59:59Z; 1 connection in the log, 1 after its end",
        "         1  10.20.0.9  (no name)  no_sni, last 2026-11-24T00:00:00Z",
    ] {
        assert!(text.lines().any(|l| l == line), "no line\n{line}\nin\n{text}");
    }
}
