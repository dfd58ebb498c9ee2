//! Random logs: what is learned passes `check`, refuses nothing that it lists when the log is replayed, and allows nobody
//! what he was not seen to ask for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use sekisho_journal::learn::{Learned, Learner, Options};
use sekisho_name::Name;
use sekisho_policy::{Decision, Policy, Protocol, Request};

use crate::common::{DAY, Line, log, read};

const NOW: i64 = DAY + 100 * 86_400;

fn hosts() -> Vec<String> {
    let mut hosts: Vec<String> = [
        "www.example.com",
        "api.example.com",
        "under_score.example.com",
        "1e5.example",
        "on.example",
        "null",
        "xn--bcher-kva.example",
        "s3.ap-northeast-1.amazonaws.com",
        "s3.amazonaws.com",
        "a.dotted.s3.ap-northeast-1.amazonaws.com",
        "reports.s3.ap-northeast-9.amazonaws.com",
        "reports.s3-website-ap-northeast-1.amazonaws.com",
        "reports.s3-website.ap-northeast-1.amazonaws.com",
        "reports.s3-external-1.amazonaws.com",
        "ap-123456789012.s3-accesspoint.ap-northeast-1.amazonaws.com",
        "x-123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com",
        "xy.s3.ap-northeast-1.amazonaws.com",
        "ssm.ap-northeast-1.amazonaws.com",
    ]
    .map(str::to_owned)
    .into();
    for bucket in ["reports", "123", "yes"] {
        for region in ["ap-northeast-1", "us-east-1"] {
            hosts.push(format!("{bucket}.s3.{region}.amazonaws.com"));
            hosts.push(format!("{bucket}.s3-{region}.amazonaws.com"));
            hosts.push(format!("{bucket}.s3.dualstack.{region}.amazonaws.com"));
        }
        hosts.push(format!("{bucket}.s3.amazonaws.com"));
        hosts.push(format!("{bucket}.s3-accelerate.amazonaws.com"));
        hosts.push(format!("{bucket}.s3.cn-north-1.amazonaws.com.cn"));
    }
    hosts
}

fn clients() -> Vec<String> {
    let v4 = (0..9).map(|n| format!("10.20.0.{n}"));
    v4.chain(["10.21.0.1", "fd00::1", "fd00::2", "2001:db8::1"].map(str::to_owned)).collect()
}

fn line() -> impl Strategy<Value = Line> {
    let verdicts = vec![
        ("audited", Some("no_rule"), None),
        ("audited", Some("no_rule"), None),
        ("audited", Some("no_rule"), None),
        ("audited", Some("audit_rule"), Some("a rule")),
        ("audited", Some("rule_expired"), Some("old \"one\"\n: #")),
        ("audited", Some("denied_by_rule"), Some("not that one")),
        ("audited", Some("forbidden_address"), Some("a rule")),
        ("refused", Some("no_rule"), None),
        ("refused", Some("rule_expired"), Some("old")),
        ("refused", Some("denied_by_rule"), Some("not that one")),
        ("refused", Some("no_sni"), None),
        ("failed", Some("connect_failed"), None),
        ("allowed", None, Some("a rule")),
    ];
    let ways = vec![("tls", 443), ("tls", 443), ("connect", 443), ("tls", 8443), ("http", 80), ("http", 8080)];
    let upstreams = vec![None, Some("52.219.0.1"), Some("52.219.0.1"), Some("10.9.0.1"), Some("fd00::9")];
    (select(hosts()), select(clients()), select(ways), select(verdicts), select(upstreams), 0..10_i64).prop_map(
        |(host, client, (protocol, port), (verdict, reason, rule), upstream, days)| Line {
            event: if days == 9 { "open" } else { "close" },
            time: DAY + days * 86_400,
            client,
            host: (reason != Some("no_sni")).then_some(host),
            port,
            protocol,
            verdict,
            reason,
            rule,
            upstream,
        },
    )
}

/// Whether learning is to take it: the specification, word for word.
fn taken(line: &Line, options: Options) -> bool {
    let reason = line.reason.unwrap_or_default();
    let policys = ["no_rule", "rule_expired"].contains(&reason);
    options.since.is_none_or(|since| line.time >= since)
        && match line.verdict {
            "audited" => policys || reason == "audit_rule",
            "refused" => policys && options.refused,
            _ => false,
        }
}

fn protocol(line: &Line) -> Protocol {
    if line.protocol == "http" { Protocol::Http } else { Protocol::Tls }
}

fn allows(policy: &Policy, host: &str, client: &str, protocol: Protocol, port: u16) -> bool {
    let (name, client): (_, IpAddr) = (Name::parse(host).unwrap(), client.parse().unwrap());
    let request = Request { name: &name, client, port, protocol, now: NOW, vpce: None, ech: false };
    matches!(policy.decide(&request), Decision::Allow { .. })
}

/// What the name leads to: of S3's names the bucket, of any other itself.
fn subject(host: &str) -> (String, bool) {
    match host.split_once(".s3") {
        Some((bucket, rest)) if rest.contains("amazonaws") => (bucket.to_owned(), rest.contains(".com.cn")),
        _ => (host.to_owned(), false),
    }
}

fn learn(lines: &[Line], options: Options, policy: Option<&Policy>) -> Learned {
    let mut learner = Learner::new(options, policy.map(|policy| (policy, NOW)));
    read(&log(lines), |record| learner.take(record));
    learner.finish()
}

fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), prop::option::of(0..10_i64)).prop_map(|(refused, days)| Options {
        refused,
        since: days.map(|days| DAY + days * 86_400),
        ..Options::default()
    })
}

/// What the rules list, without the comments.
fn listed(policy: &Policy) -> Vec<sekisho_policy::ListedName> {
    (0..).zip(policy.rules()).flat_map(|(id, _)| policy.listed(sekisho_policy::RuleId(id))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SEKISHO_LONG").is_some() { 5000 } else { 100 }))]

    #[test]
    fn what_is_learned_passes_check_and_refuses_nothing_that_it_lists(
        lines in prop::collection::vec(line(), 0..60),
        options in options(),
        round in prop::option::of((20..=32_u8, 60..=128_u8)),
    ) {
        let options = Options { round_v4: round.map(|r| r.0), round_v6: round.map(|r| r.1), ..options };
        let learned = learn(&lines, options, None);
        let yaml = learned.yaml("heading");
        let loaded = Policy::parse("learned.yaml", &yaml, NOW);
        prop_assert!(loaded.is_ok(), "{}\n{}", loaded.unwrap_err(), yaml);
        let policy = loaded.unwrap().policy;
        prop_assert_eq!(learned.prove(NOW), Ok(()));
        prop_assert_eq!(learned.beyond, 0);
        let aside: BTreeSet<_> = learned.aside.iter().filter_map(|aside| aside.host.as_deref()).collect();
        for line in lines.iter().filter(|line| taken(line, options)) {
            let host = line.host.as_deref().unwrap();
            prop_assert!(
                allows(&policy, host, &line.client, protocol(line), line.port) || aside.contains(host),
                "{host} is neither allowed nor told:\n{yaml}"
            );
        }
        prop_assert!(listed(&policy).iter().all(|item| !item.pattern), "a wildcard:\n{}", yaml);
    }

    #[test]
    fn nobody_is_allowed_what_he_was_not_seen_to_ask_for(
        lines in prop::collection::vec(line(), 0..40),
        options in options(),
    ) {
        let yaml = learn(&lines, options, None).yaml("");
        let policy = Policy::parse("learned.yaml", &yaml, NOW).unwrap().policy;
        let seen: BTreeSet<_> = lines
            .iter()
            .filter(|line| taken(line, options))
            .map(|line| (subject(line.host.as_deref().unwrap()), line.client.clone(), protocol(line), line.port))
            .collect();
        for host in hosts() {
            for client in clients().into_iter().chain(["10.20.0.9", "10.20.0.255", "fd00::3"].map(str::to_owned)) {
                for (protocol, port) in [(Protocol::Tls, 443), (Protocol::Tls, 8443), (Protocol::Http, 80)] {
                    if allows(&policy, &host, &client, protocol, port) {
                        let key = (subject(&host), client.clone(), protocol, port);
                        prop_assert!(seen.contains(&key), "{host} to {client}:\n{yaml}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_lines_and_files_changes_nothing(
        lines in prop::collection::vec(line(), 0..40).prop_shuffle(),
        options in options(),
    ) {
        let yaml = learn(&lines, options, None).yaml("");
        let mut sorted = lines;
        sorted.sort_by_key(Line::json);
        prop_assert_eq!(learn(&sorted, options, None).yaml(""), yaml);
    }

    #[test]
    fn added_to_the_policy_that_was_there_it_refuses_nothing_that_it_lists(
        lines in prop::collection::vec(line(), 0..60),
        options in options(),
        audit in any::<bool>(),
    ) {
        let rules = "rules:\n  - name: reports\n    clients: [10.20.0.0/30]\n    buckets:\n      - { name: reports, region: ap-northeast-1 }\n  \
                     - name: looked at\n    mode: audit\n    hosts: [.example.com]\n    clients: [10.20.0.4/30]\n  \
                     - name: shut\n    action: deny\n    hosts: [api.example.com, yes.s3.us-east-1.amazonaws.com]\n  \
                     - name: www.example.com\n    expires: 2020-01-01\n    hosts: [www.example.com]\n";
        let head = format!("version: 1\nmode: {}\n{rules}", if audit { "audit" } else { "enforce" });
        let there = Policy::parse("policy.yaml", &head, NOW).unwrap().policy;
        let learned = learn(&lines, options, Some(&there));
        prop_assert_eq!(learned.prove(NOW), Ok(()));
        let yaml = learned.yaml("");
        let added = yaml.strip_prefix("version: 1\nrules:\n").unwrap_or_default();
        let whole = format!("{head}{added}").replace("mode: audit\nrules", "mode: enforce\nrules");
        let loaded = Policy::parse("policy.yaml", &whole, NOW);
        prop_assert!(loaded.is_ok(), "{}\n{}", loaded.unwrap_err(), whole);
        let policy = loaded.unwrap().policy;
        let aside: BTreeSet<_> = learned.aside.iter().filter_map(|aside| aside.host.as_deref()).collect();
        for line in lines.iter().filter(|line| taken(line, options)) {
            let host = line.host.as_deref().unwrap();
            let client: IpAddr = line.client.parse().unwrap();
            let name = Name::parse(host).unwrap();
            let request = Request { name: &name, client, port: line.port, protocol: protocol(line), now: NOW, vpce: None, ech: false };
            let refused = matches!(policy.decide(&request), Decision::Refuse { .. });
            prop_assert!(!refused || aside.contains(host), "{host} to {client}:\n{whole}");
        }
    }
}
