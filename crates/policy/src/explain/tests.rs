use std::net::{IpAddr, Ipv4Addr};

use sekisho_name::Name;

use super::*;

const NOW: i64 = 1_795_521_600;

const POLICY: &str = "
version: 1
rules:
  - name: reports
    clients: [10.20.0.0/16]
    buckets: [{ name: reports, region: ap-northeast-1 }]
  - name: old
    expires: 2026-01-31
    hosts: [old.example]
  - name: partners
    hosts: ['*.partner.example', shop.example]
  - name: shut
    action: deny
    hosts: [secret.example]
";

fn explain(host: &str, client: [u8; 4], port: u16, protocol: Protocol) -> Explanation {
    let policy = Policy::parse("policy.yaml", POLICY, NOW).unwrap().policy;
    let name = Name::parse(host).unwrap();
    let client = IpAddr::V4(Ipv4Addr::from(client));
    policy.explain(&Request { name: &name, client, port, protocol, now: NOW, vpce: None, ech: false })
}

fn missed(host: &str) -> String {
    let explanation = explain(host, [10, 20, 0, 1], 443, Protocol::Tls);
    assert_eq!(explanation.verdict, "refused", "{explanation}");
    explanation.near.iter().flat_map(|miss| miss.by.clone()).collect::<Vec<_>>().join("; ")
}

#[test]
fn what_is_allowed_names_its_rule_and_line() {
    let explanation = explain("reports.s3.ap-northeast-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls);
    assert_eq!(
        explanation.to_string(),
        "allowed by rule `reports` at policy.yaml:4, which lists reports.s3.ap-northeast-1.amazonaws.com at policy.yaml:6\n  \
         tls to reports.s3.ap-northeast-1.amazonaws.com:443 from 10.20.0.1 at 2026-11-24T12:00:00Z\n"
    );
    assert!(explanation.near.is_empty() && explanation.hints.is_empty());
}

#[test]
fn what_is_refused_names_the_nearest_rule_and_by_what_it_missed() {
    for (host, by) in [
        ("reports.s3.us-east-1.amazonaws.com", "the region: it lists ap-northeast-1, asked for us-east-1"),
        ("reports.s3-accelerate.amazonaws.com", "the endpoint form `accelerate` is not listed"),
        ("report.s3.ap-northeast-1.amazonaws.com", "one letter: it lists reports.s3.ap-northeast-1.amazonaws.com"),
        ("a.b.partner.example", "`*.partner.example` is exactly one label"),
        ("a_b.partner.example", "the name has an underscore"),
        ("www.shop.example", "`shop.example` is that name alone: `.shop.example` would be all below it too"),
        ("old.example", "the time: it expired at 2026-01-31T23:59:59Z"),
    ] {
        let explanation = explain(host, [10, 20, 0, 1], 443, Protocol::Tls);
        // An expired rule that decided is named as the rule, not as a miss.
        let text = if host == "old.example" {
            assert_eq!(explanation.reason, Some("rule_expired"));
            assert_eq!(explanation.rule.unwrap().name, "old");
            continue;
        } else {
            missed(host)
        };
        assert!(text.starts_with(by), "{host}: {text}");
    }
    assert_eq!(missed("nothing.like.it.test"), "");
}

#[test]
fn other_conditions_are_named_all_at_once() {
    let explanation = explain("reports.s3.ap-northeast-1.amazonaws.com", [192, 0, 2, 1], 8080, Protocol::Http);
    let by = &explanation.near[0].by;
    assert_eq!(by.len(), 3, "{by:?}");
    assert!(by[0].starts_with("the protocol") && by[1].starts_with("the port") && by[2].starts_with("the client"));
}

#[test]
fn path_style_says_what_to_do_at_the_client() {
    let explanation = explain("s3.ap-northeast-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls);
    assert!(explanation.to_string().contains("addressing_style virtual"), "{explanation}");
    let dotted = explain("a.b.s3.ap-northeast-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls);
    assert!(dotted.hints[0].contains("`a.b` has a dot"));
}

#[test]
fn a_form_that_the_region_does_not_have_is_not_proposed() {
    let tokyo = explain("reports.s3-fips.ap-northeast-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls);
    assert!(tokyo.near.is_empty(), "{tokyo}");
    assert_eq!(tokyo.hints.len(), 1, "{tokyo}");
    assert!(
        tokyo.hints[0].starts_with("S3 is not known to have such an endpoint for buckets in ap-northeast-1"),
        "{tokyo}"
    );
    // The listed bucket is in Tokyo, and this name is of us-east-1 alone.
    let external = explain("reports.s3-external-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls);
    assert!(external.near.is_empty(), "{external}");
    // Virginia has both; a rule could list them.
    let text = POLICY.replace("ap-northeast-1", "us-east-1");
    let policy = Policy::parse("policy.yaml", &text, NOW).unwrap().policy;
    for (host, word) in
        [("reports.s3-fips.us-east-1.amazonaws.com", "`fips`"), ("reports.s3-external-1.amazonaws.com", "`external-1`")]
    {
        let name = Name::parse(host).unwrap();
        let client = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 1));
        let there = policy.explain(&Request {
            name: &name,
            client,
            port: 443,
            protocol: Protocol::Tls,
            now: NOW,
            vpce: None,
            ech: false,
        });
        assert!(there.near[0].by[0].contains(word) && there.hints.is_empty(), "{there}");
    }
}

#[test]
fn a_deny_rule_is_named() {
    let explanation = explain("secret.example", [10, 20, 0, 1], 443, Protocol::Tls);
    assert_eq!((explanation.reason, explanation.rule.unwrap().name.as_str()), (Some("denied_by_rule"), "shut"));
}

#[test]
fn a_program_can_read_it() {
    let json =
        serde_json::to_value(explain("report.s3.ap-northeast-1.amazonaws.com", [10, 20, 0, 1], 443, Protocol::Tls));
    let json = json.unwrap();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["reason"], "no_rule");
    assert_eq!(json["near"][0]["rule"]["name"], "reports");
    assert!(json.get("rule").is_none());
}

#[test]
fn what_nothing_comes_near_to_is_told_the_entry_that_would_open_it() {
    for (host, entry) in [
        ("exfil.s3.eu-west-1.amazonaws.com", "`buckets: [{ name: exfil, region: eu-west-1 }]`"),
        ("exfil.s3-fips.us-east-1.amazonaws.com", "`buckets: [{ name: exfil, region: us-east-1, endpoints: [fips] }]`"),
        ("exfil.s3.amazonaws.com", "`hosts: [exfil.s3.amazonaws.com]`"),
        (
            "exfil.bucket.vpce-0a1b-2c3d.s3.eu-west-1.vpce.amazonaws.com",
            "`buckets: [{ name: exfil, region: eu-west-1, vpce: [vpce-0a1b-2c3d] }]`",
        ),
        (
            "exfil.s3-website-us-east-1.amazonaws.com",
            "`buckets: [{ name: exfil, region: us-east-1, endpoints: [website] }]` with `protocols: [http]`",
        ),
        ("unheard.of.example", "`hosts: [unheard.of.example]`"),
    ] {
        let explanation = explain(host, [10, 20, 0, 1], 443, Protocol::Tls);
        assert!(explanation.near.is_empty(), "{explanation}");
        assert!(explanation.hints.len() == 1 && explanation.hints[0].ends_with(entry), "{explanation}");
    }
    assert!(explain("secret.example", [10, 20, 0, 1], 443, Protocol::Tls).hints.is_empty());
}

#[test]
fn an_endpoint_and_ech_are_asked_about_and_told_of() {
    let text =
        "version: 1\nrules:\n  - { name: ours, vpc_endpoints: [vpce-0a1b2c3d], ech: deny, hosts: [a.example] }\n";
    let policy = Policy::parse("policy.yaml", text, NOW).unwrap().policy;
    let name = Name::parse("a.example").unwrap();
    let client = Ipv4Addr::LOCALHOST.into();
    let told = |vpce, ech| {
        let request = Request { name: &name, client, port: 443, protocol: Protocol::Tls, now: NOW, vpce, ech };
        policy.explain(&request).to_string()
    };
    let ours = Some("vpce-0a1b2c3d");
    let allowed = told(ours, false);
    assert!(allowed.starts_with("allowed by rule `ours`"), "{allowed}");
    assert!(allowed.contains("tls to a.example:443 from 127.0.0.1 through vpce-0a1b2c3d at"), "{allowed}");
    for (vpce, by) in [
        (None, "the VPC endpoint: it is for what comes through one of its `vpc_endpoints:`"),
        (Some("vpce-0a1b2c3e"), "the VPC endpoint: vpce-0a1b2c3e is none of its `vpc_endpoints:`"),
    ] {
        let refused = told(vpce, false);
        assert!(refused.starts_with("refused (no_rule)") && refused.contains(by), "{refused}");
    }
    let refused = told(ours, true);
    assert!(refused.starts_with("refused (ech_denied) by rule `ours`"), "{refused}");
    assert!(refused.contains("tls with ECH to") && refused.contains("hint: the rule says `ech: deny`"), "{refused}");
}
