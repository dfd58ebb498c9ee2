use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho_name::Name;

use super::*;
use crate::rule::Protocol;

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;
/// 2027-03-31 23:59:59 UTC.
const LAST: i64 = 1_806_537_599;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 3, 4));

fn policy(text: &str) -> Policy {
    Policy::parse("policy.yaml", text, NOW).unwrap_or_else(|faults| panic!("{faults}")).policy
}

/// Rules alone, each in braces.
fn rules(rules: &[&str]) -> Policy {
    policy(&format!(
        "version: 1\nrules:\n{}",
        rules.iter().fold(String::new(), |text, rule| text + &format!("  - {{ {rule} }}\n"))
    ))
}

fn ask(policy: &Policy, host: &str) -> Decision {
    asked(policy, host, CLIENT, 443, Protocol::Tls, NOW)
}

fn asked(policy: &Policy, host: &str, client: IpAddr, port: u16, protocol: Protocol, now: i64) -> Decision {
    policy.decide(&Request { name: &Name::parse(host).unwrap(), client, port, protocol, now, vpce: None, ech: false })
}

const fn allow(rule: u32) -> Decision {
    Decision::Allow { rule: RuleId(rule) }
}

const fn refuse(rule: Option<u32>, reason: Reason) -> Decision {
    match rule {
        Some(rule) => Decision::Refuse { rule: Some(RuleId(rule)), reason },
        None => Decision::Refuse { rule: None, reason },
    }
}

const fn audit(rule: Option<u32>, reason: Reason) -> Decision {
    match rule {
        Some(rule) => Decision::Audit { rule: Some(RuleId(rule)), reason },
        None => Decision::Audit { rule: None, reason },
    }
}

const NO_RULE: Decision = refuse(None, Reason::NoRule);

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = rules(&[
        "name: a, action: deny, hosts: [secret.example.org]",
        "name: b, hosts: [www.example.org], clients: [192.0.2.0/24]",
        "name: c, hosts: ['*.example.org']",
        "name: d, hosts: [.example.org]",
    ]);
    assert_eq!(ask(&policy, "secret.example.org"), refuse(Some(0), Reason::DeniedByRule));
    assert_eq!(ask(&policy, "www.example.org"), allow(2));
    assert_eq!(asked(&policy, "www.example.org", [192, 0, 2, 1].into(), 443, Protocol::Tls, NOW), allow(1));
    assert_eq!(ask(&policy, "a.secret.example.org"), allow(3));
    assert_eq!(ask(&policy, "example.org"), allow(3));
    assert_eq!(ask(&policy, "example.com"), NO_RULE);
    assert_eq!(ask(&self::policy("version: 1\nrules: []\n"), "example.com"), NO_RULE);
}

#[test]
fn the_order_of_rules_counts_and_not_how_narrow_their_names_are() {
    let policy = rules(&[
        "name: wide, action: deny, hosts: [.example.org]",
        "name: narrow, hosts: [www.example.org], ports: [8443]",
    ]);
    assert_eq!(ask(&policy, "www.example.org"), refuse(Some(0), Reason::DeniedByRule));
    assert_eq!(asked(&policy, "www.example.org", CLIENT, 8443, Protocol::Tls, NOW), allow(1));
}

#[test]
fn what_a_listed_name_covers() {
    for (listed, host, covered) in [
        ("www.example.org", "www.example.org", true),
        ("www.example.org", "WWW.EXAMPLE.org", true),
        ("www.example.org", "a.www.example.org", false),
        ("www.example.org", "example.org", false),
        ("*.example.org", "www.example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", "a.www.example.org", false),
        ("*.example.org", "wwwexample.org", false),
        (".example.org", "example.org", true),
        (".example.org", "www.example.org", true),
        (".example.org", "a.b.c.www.example.org", true),
        (".example.org", "evilexample.org", false),
        (".example.org", "example.org.evil.test", false),
        (".example.org", "org", false),
        // No pattern matches a name with an underscore: only the exact name does.
        ("*.example.org", "_dmarc.example.org", false),
        (".example.org", "a_b.example.org", false),
        (".example.org", "www.a_b.example.org", false),
        ("_dmarc.example.org", "_dmarc.example.org", true),
        ("_dmarc.example.org", "dmarc.example.org", false),
    ] {
        let policy = rules(&[&format!("name: a, hosts: ['{listed}']")]);
        assert_eq!(ask(&policy, host), if covered { allow(0) } else { NO_RULE }, "{listed} {host}");
    }
}

#[test]
fn a_leading_dot_means_in_a_list_what_it_means_to_squid() {
    use crate::files::{FileError, Files};
    use std::path::Path;
    struct List;
    impl Files for List {
        fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>, FileError> {
            let policy = "version: 1\nrules:\n  - { name: a, hosts_files: [list] }\n";
            let list = ".example.org\nwww.example.net\n";
            Ok(if path == Path::new("policy.yaml") { policy } else { list }.into())
        }
    }
    let policy = Policy::load_from(Path::new("policy.yaml"), &List, NOW).unwrap().policy;
    for (host, allowed) in [
        ("example.org", true),
        ("a.example.org", true),
        ("a.b.example.org", true),
        ("aexample.org", false),
        ("www.example.net", true),
        ("a.www.example.net", false),
    ] {
        assert_eq!(ask(&policy, host), if allowed { allow(0) } else { NO_RULE }, "{host}");
    }
}

#[test]
fn a_bucket_means_its_four_names_and_no_other() {
    let policy = rules(&["name: a, buckets: [{ name: reports, region: ap-northeast-1 }]"]);
    for host in [
        "reports.s3.ap-northeast-1.amazonaws.com",
        "reports.s3.dualstack.ap-northeast-1.amazonaws.com",
        "reports.s3-ap-northeast-1.amazonaws.com",
        "reports.s3.amazonaws.com",
    ] {
        assert_eq!(ask(&policy, host), allow(0), "{host}");
    }
    for host in [
        "s3.ap-northeast-1.amazonaws.com",
        "other.s3.ap-northeast-1.amazonaws.com",
        "reports.s3.us-east-1.amazonaws.com",
        "a.reports.s3.ap-northeast-1.amazonaws.com",
        "reports.s3-fips.ap-northeast-1.amazonaws.com",
        "reports.s3-accelerate.amazonaws.com",
        "reports.s3-website-ap-northeast-1.amazonaws.com",
        "reports.s3.ap-northeast-1.amazonaws.com.cn",
    ] {
        assert_eq!(ask(&policy, host), NO_RULE, "{host}");
    }
}

#[test]
fn one_accounts_wildcard_stays_within_the_account() {
    let policy = rules(&["name: a, buckets: [{ name: '*-123456789012-ap-northeast-1-an', region: ap-northeast-1 }]"]);
    let host = |bucket: &str| format!("{bucket}.s3.ap-northeast-1.amazonaws.com");
    for bucket in ["x-123456789012-ap-northeast-1-an", "a-b-999999999999x-123456789012-ap-northeast-1-an"] {
        assert_eq!(ask(&policy, &host(bucket)), allow(0), "{bucket}");
    }
    for bucket in [
        "123456789012-ap-northeast-1-an",
        "x-999999999999-ap-northeast-1-an",
        "x-123456789012-us-east-1-an",
        "x-123456789012-ap-northeast-1-anx",
        "x-1123456789012-ap-northeast-1-an",
        "y.x-123456789012-ap-northeast-1-an",
        "x-123456789012-ap-northeast-1-999999999999-ap-northeast-1-an",
    ] {
        assert_eq!(ask(&policy, &host(bucket)), NO_RULE, "{bucket}");
    }
}

#[test]
fn clients_are_compared_as_what_they_are() {
    let policy = rules(&[
        "name: a, hosts: [x.example], clients: [10.20.0.0/16, 192.0.2.7, '2001:db8::/32', '::ffff:172.16.0.0/108']",
    ]);
    for (client, allowed) in [
        ("10.20.0.0", true),
        ("10.20.255.255", true),
        ("10.21.0.0", false),
        ("10.19.255.255", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("::ffff:10.20.3.4", true),
        ("::ffff:10.21.3.4", false),
        ("172.31.0.1", true),
        ("::ffff:172.31.0.1", true),
        ("172.32.0.1", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::1", false),
        // v4-compatible, NAT64 and 6to4 addresses of a listed client are other clients.
        ("::10.20.3.4", false),
        ("64:ff9b::10.20.3.4", false),
        ("2002:a14:304::1", false),
    ] {
        let decision = asked(&policy, "x.example", client.parse().unwrap(), 443, Protocol::Tls, NOW);
        assert_eq!(decision, if allowed { allow(0) } else { NO_RULE }, "{client}");
    }
    let any_v6 = rules(&["name: a, hosts: [x.example], clients: ['::/0']"]);
    assert_eq!(ask(&any_v6, "x.example"), NO_RULE);
    let mapped = IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
    assert_eq!(asked(&any_v6, "x.example", mapped, 443, Protocol::Tls, NOW), NO_RULE);
    assert_eq!(asked(&any_v6, "x.example", Ipv6Addr::LOCALHOST.into(), 443, Protocol::Tls, NOW), allow(0));
}

#[test]
fn protocols_and_ports_are_what_is_listed_or_their_own() {
    let all = [
        (Protocol::Tls, 443),
        (Protocol::Tls, 80),
        (Protocol::Tls, 8443),
        (Protocol::Http, 443),
        (Protocol::Http, 80),
        (Protocol::Http, 8443),
    ];
    for (conditions, allowed) in [
        ("", &[(Protocol::Tls, 443)][..]),
        (", protocols: [tls]", &[(Protocol::Tls, 443)]),
        (", protocols: [http]", &[(Protocol::Http, 80)]),
        (", protocols: [http, tls]", &[(Protocol::Tls, 443), (Protocol::Http, 80)]),
        (", ports: [8443]", &[(Protocol::Tls, 8443)]),
        (", ports: [80, 8443]", &[(Protocol::Tls, 80), (Protocol::Tls, 8443)]),
        (", protocols: [http], ports: [8443]", &[(Protocol::Http, 8443)]),
        (", protocols: [http, tls], ports: [443]", &[(Protocol::Tls, 443), (Protocol::Http, 443)]),
    ] {
        let policy = rules(&[&format!("name: a, hosts: [x.example]{conditions}")]);
        for (protocol, port) in all {
            let decision = asked(&policy, "x.example", CLIENT, port, protocol, NOW);
            let expected = if allowed.contains(&(protocol, port)) { allow(0) } else { NO_RULE };
            assert_eq!(decision, expected, "{conditions} {protocol:?} {port}");
        }
    }
}

#[test]
fn a_rule_is_valid_through_the_last_second_of_its_day() {
    let policy = rules(&["name: a, hosts: [x.example], expires: 2027-03-31"]);
    let at = |now| asked(&policy, "x.example", CLIENT, 443, Protocol::Tls, now);
    assert_eq!((at(i64::MIN), at(NOW), at(LAST)), (allow(0), allow(0), allow(0)));
    let expired = refuse(Some(0), Reason::RuleExpired);
    assert_eq!((at(LAST + 1), at(i64::MAX)), (expired, expired));
    let timed = rules(&["name: a, hosts: [x.example], expires: '2027-03-31T18:00:00+09:00'"]);
    let at = |now| asked(&timed, "x.example", CLIENT, 443, Protocol::Tls, now);
    // Nine hours before 18:00 UTC, which is six before the end of the day.
    let last = LAST + 1 - 6 * 3600 - 9 * 3600;
    assert_eq!((at(last), at(last + 1)), (allow(0), expired));
}

#[test]
fn an_expired_rule_is_skipped_and_named_only_when_nothing_later_matches() {
    let policy = rules(&[
        "name: a, hosts: [x.example, y.example, z.example], expires: 2027-03-31",
        "name: b, hosts: [.x.example], ports: [8443], expires: 2027-03-30",
        "name: c, hosts: [x.example]",
        "name: d, action: deny, hosts: [y.example]",
    ]);
    let at = |host| asked(&policy, host, CLIENT, 443, Protocol::Tls, LAST + 1);
    assert_eq!(at("x.example"), allow(2));
    assert_eq!(at("y.example"), refuse(Some(3), Reason::DeniedByRule));
    assert_eq!(at("z.example"), refuse(Some(0), Reason::RuleExpired));
    // Of several, the first; and none whose other conditions fail.
    let two = rules(&[
        "name: a, hosts: [.x.example], clients: [192.0.2.1], expires: 2027-03-30",
        "name: b, hosts: [.x.example], expires: 2027-03-30",
        "name: c, hosts: [x.example], expires: 2027-03-31",
    ]);
    let at = |now| asked(&two, "x.example", CLIENT, 443, Protocol::Tls, now);
    assert_eq!(at(LAST), allow(2));
    assert_eq!(at(LAST + 1), refuse(Some(1), Reason::RuleExpired));
}

#[test]
fn a_policy_under_audit_lets_through_and_says_why() {
    let policy = policy(
        "version: 1\nmode: audit\nrules:\n  - { name: a, hosts: [a.example] }\n  - { name: b, action: deny, hosts: [b.example] }\n  \
         - { name: c, hosts: [c.example], expires: 2027-03-31 }\n  - { name: d, hosts: [d.example], mode: audit }\n",
    );
    assert_eq!(policy.mode(), Mode::Audit);
    let at = |host| asked(&policy, host, CLIENT, 443, Protocol::Tls, LAST + 1);
    assert_eq!(at("a.example"), allow(0));
    assert_eq!(at("b.example"), audit(Some(1), Reason::DeniedByRule));
    assert_eq!(at("c.example"), audit(Some(2), Reason::RuleExpired));
    assert_eq!(at("d.example"), audit(Some(3), Reason::AuditRule));
    assert_eq!(at("e.example"), audit(None, Reason::NoRule));
}

#[test]
fn a_rule_under_audit_lets_through_and_ends_the_search() {
    let policy = rules(&[
        "name: a, mode: audit, hosts: [a.example]",
        "name: b, mode: audit, action: deny, hosts: [b.example]",
        "name: c, action: deny, hosts: [.example], ports: [443, 8443]",
    ]);
    assert_eq!(ask(&policy, "a.example"), audit(Some(0), Reason::AuditRule));
    assert_eq!(ask(&policy, "b.example"), audit(Some(1), Reason::DeniedByRule));
    assert_eq!(ask(&policy, "c.example"), refuse(Some(2), Reason::DeniedByRule));
    // Expired, it neither lets through nor ends the search.
    let expired = rules(&["name: a, mode: audit, hosts: [a.example], expires: 2027-03-31"]);
    let decision = asked(&expired, "a.example", CLIENT, 443, Protocol::Tls, LAST + 1);
    assert_eq!(decision, refuse(Some(0), Reason::RuleExpired));
}

#[test]
fn a_rule_says_which_addresses_may_be_dialled() {
    let policy = rules(&[
        "name: a, hosts: [a.example]",
        "name: b, hosts: [b.example], upstream: any",
        "name: c, hosts: [c.example], upstream: [10.0.0.0/9, 10.128.0.0/9]",
    ]);
    assert_eq!(policy.upstream(None), &Upstream::Public);
    assert_eq!(policy.upstream(Some(RuleId(0))), &Upstream::Public);
    assert_eq!(policy.upstream(Some(RuleId(1))), &Upstream::Any);
    assert_eq!(policy.upstream(Some(RuleId(2))), &Upstream::Only(Box::new(["10.0.0.0/8".parse().unwrap()])));
    assert_eq!(policy.upstream(Some(RuleId(9))), &Upstream::Public);
    assert!(policy.rule(RuleId(3)).is_none());
}
