use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::export::Export;
use crate::policy::Policy;
use crate::rule::Access;

const NOW: i64 = 1_795_521_600;

fn policy(rules: &str) -> Policy {
    Policy::parse("p.yaml", &format!("version: 1\nrules:\n{rules}"), NOW).unwrap().policy
}

fn now() -> Scope {
    Scope { now: NOW, ..Scope::default() }
}

fn document(export: &Export) -> Value {
    serde_json::from_str(&export.text).unwrap()
}

/// The resources of an endpoint policy, by statement.
fn resources(rules: &str, scope: &Scope) -> Vec<(String, Vec<String>)> {
    let document = document(&endpoint_policy(&policy(rules), scope, &[]).unwrap());
    let statements = document["Statement"].as_array().unwrap().iter();
    let of = |statement: &Value| serde_json::from_value(statement["Resource"].clone()).unwrap();
    statements.map(|statement| (statement["Sid"].as_str().unwrap().to_owned(), of(statement))).collect()
}

/// The resources alone, when there is one statement.
fn arns(rules: &str) -> Vec<String> {
    let all = resources(rules, &now());
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap().1
}

fn word<T: std::str::FromStr<Err = BadWord>>(text: &str) -> T {
    text.parse().unwrap()
}

fn bucket(name: &str, stage: Stage) -> BucketPolicy {
    BucketPolicy { bucket: word(name), endpoints: vec![word("vpce-0a1b2c3d")], stage, exempt: Vec::new() }
}

#[test]
fn a_bucket_has_one_pair_of_arns_however_many_names_it_has() {
    let both = ["arn:aws:s3:::reports", "arn:aws:s3:::reports/*"];
    assert_eq!(arns("  - { name: a, buckets: [{ name: reports, region: us-east-1 }] }\n"), both);
    // By whatever host it is listed.
    for host in [
        "reports.s3.us-east-1.amazonaws.com",
        "reports.s3.amazonaws.com",
        "reports.s3-fips.dualstack.us-east-1.amazonaws.com",
        "reports.s3-accelerate.amazonaws.com",
        "reports.s3-ap-northeast-1.amazonaws.com",
        "reports.bucket.vpce-0a1b2c3d-4e5f.s3.us-east-1.vpce.amazonaws.com",
    ] {
        assert_eq!(arns(&format!("  - {{ name: a, hosts: [{host}, www.example.com] }}\n")), both, "{host}");
    }
    let website =
        "  - { name: a, protocols: [http], buckets: [{ name: reports, region: us-east-1, endpoints: [website] }] }\n";
    assert_eq!(arns(website), both);
}

#[test]
fn arns_are_of_the_regions_partition() {
    for (region, partition) in [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("eusc-de-east-1", "aws-eusc"),
        ("us-east-1", "aws"),
    ] {
        let rules = format!("  - {{ name: a, buckets: [{{ name: reports, region: {region} }}] }}\n");
        assert_eq!(arns(&rules)[0], format!("arn:{partition}:s3:::reports"));
        let ending = format!("-123456789012-{region}-an");
        let rules = format!("  - {{ name: a, buckets: [{{ name: '*{ending}', region: {region} }}] }}\n");
        assert_eq!(arns(&rules)[0], format!("arn:{partition}:s3:::*{ending}"));
        let exported =
            bucket_policy(&policy(&rules), &now(), &bucket(&format!("x{ending}"), Stage::Endpoint)).unwrap().text;
        assert!(exported.contains(&format!("\"arn:{partition}:iam::*:role/aws-service-role/*\"")), "{exported}");
    }
    let both = "  - name: a\n    buckets:\n      - { name: reports, region: us-east-1 }\n      - { name: notes, region: us-gov-west-1 }\n";
    let several = endpoint_policy(&policy(both), &now(), &[]).unwrap_err();
    assert_eq!(several, ExportError::SeveralPartitions(vec![Partition::Aws, Partition::AwsUsGov]));
    let scope = Scope { partition: Some(Partition::AwsUsGov), ..now() };
    assert_eq!(resources(both, &scope)[0].1[0], "arn:aws-us-gov:s3:::notes");
    let other = word("arn:aws:iam::123456789012:root");
    assert_eq!(
        endpoint_policy(&policy(both), &scope, std::slice::from_ref(&other)).unwrap_err(),
        ExportError::OtherPartition(other, Partition::AwsUsGov)
    );
}

#[test]
fn only_what_is_allowed_now_is_exported() {
    let rules = "
  - { name: shut, action: deny, buckets: [{ name: secret, region: us-east-1 }] }
  - { name: shut for one, action: deny, clients: [10.0.0.1], buckets: [{ name: notes, region: us-east-1 }] }
  - { name: gone, expires: 2026-11-23, buckets: [{ name: old, region: us-east-1 }] }
  - { name: today, expires: 2026-11-24, buckets: [{ name: new, region: us-east-1 }] }
  - name: rest
    buckets: [{ name: notes, region: us-east-1 }, { name: secret, region: us-east-1 }, { name: open, region: us-east-1 }]
";
    let names = |scope: &Scope| -> Vec<String> {
        let all = resources(rules, scope).into_iter().flat_map(|(_, arns)| arns);
        all.filter_map(|arn| arn.strip_prefix("arn:aws:s3:::").filter(|name| !name.contains('/')).map(str::to_owned))
            .collect()
    };
    assert_eq!(names(&now()), ["new", "notes", "open"]);
    assert_eq!(names(&Scope { now: NOW + 86_400, ..now() }), ["notes", "open"]);
    assert_eq!(names(&Scope { rules: vec!["today".to_owned()], ..now() }), ["new"]);
    let gone = Scope { rules: vec!["gone".to_owned()], ..now() };
    assert_eq!(endpoint_policy(&policy(rules), &gone, &[]).unwrap_err(), ExportError::Nothing);
    let typo = Scope { rules: vec!["toady".to_owned()], ..now() };
    let unknown = ExportError::UnknownRule("toady".to_owned(), Some("today".to_owned()));
    assert_eq!(endpoint_policy(&policy(rules), &typo, &[]).unwrap_err(), unknown);
}

#[test]
fn access_narrows_the_actions_and_what_any_rule_permits_is_permitted() {
    let rules = "
  - { name: a, access: [read], buckets: [{ name: one, region: us-east-1 }, { name: two, region: us-east-1 }] }
  - { name: b, access: [list], clients: [10.0.0.0/8], buckets: [{ name: two, region: us-east-1, endpoints: [fips] }] }
  - { name: c, buckets: [{ name: three, region: us-east-1 }] }
";
    let document = document(&endpoint_policy(&policy(rules), &now(), &[]).unwrap());
    let of = |sid: &str| {
        let statement = document["Statement"].as_array().unwrap().iter().find(|s| s["Sid"] == sid).unwrap().clone();
        let list = |key: &str| -> Vec<String> { serde_json::from_value(statement[key].clone()).unwrap() };
        (list("Action"), list("Resource"))
    };
    let (read, one) = of("SekishoRead");
    assert_eq!(one, ["arn:aws:s3:::one", "arn:aws:s3:::one/*"]);
    assert!(read.iter().all(|action| action.starts_with("s3:GetObject")), "{read:?}");
    let (read_list, two) = of("SekishoReadList");
    assert_eq!(two[0], "arn:aws:s3:::two");
    assert!(read_list.contains(&"s3:ListBucket".to_owned()) && !read_list.contains(&"s3:PutObject".to_owned()));
    let (all, _) = of("SekishoReadWriteList");
    assert!(all.contains(&"s3:PutObject".to_owned()) && !all.iter().any(|action| action.contains('*')));
    // The bucket's own policy denies what is missing, and only that.
    let text = |name: &str| bucket_policy(&policy(rules), &now(), &bucket(name, Stage::Endpoint)).unwrap().text;
    assert!(text("one").contains("\"SekishoNoWriteList\""));
    assert!(text("two").contains("\"SekishoNoWrite\""));
    assert!(!text("three").contains("SekishoNo"));
}

#[test]
fn access_changes_no_digest() {
    let digest = |access: &str| {
        policy(&format!("  - {{ name: a, {access}buckets: [{{ name: one, region: us-east-1 }}] }}\n"))
            .digest()
            .to_owned()
    };
    assert_eq!(digest(""), digest("access: [read], "));
}

#[test]
fn one_accounts_wildcard_is_bound_to_the_account() {
    let rules = "  - { name: a, buckets: [{ name: '*-123456789012-us-east-1-an', region: us-east-1 }, { name: one, region: us-east-1 }] }\n";
    let scope = Scope { accounts: vec![word("210987654321"), word("111122223333")], ..now() };
    let document = document(&endpoint_policy(&policy(rules), &scope, &[]).unwrap());
    let owners = |i: usize| document["Statement"][i]["Condition"]["StringEquals"]["aws:ResourceAccount"].clone();
    assert_eq!(document["Statement"][1]["Sid"], "SekishoReadWriteListOf123456789012");
    assert_eq!(owners(1), "123456789012");
    assert_eq!(owners(0), serde_json::json!(["111122223333", "210987654321"]));
}

#[test]
fn what_no_policy_can_say_is_noted_with_its_rule() {
    let rules = "
  - { name: tool, reason: it lists, acknowledge: [path_style, shared_suffix], hosts: [s3.us-east-1.amazonaws.com, '*.s3.us-east-1.amazonaws.com'] }
  - name: points
    hosts:
      - ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com
      - ap-123456789012.s3-accesspoint.dualstack.us-east-1.amazonaws.com
      - mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com
      - ap-0a1b2c3d4e5f-s3alias.s3.us-east-1.amazonaws.com
      - ol-123456789012.s3-object-lambda.us-east-1.amazonaws.com
      - reports--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com
      - ap-123456789012.op-01ac5d28a6a232904.s3-outposts.us-east-1.amazonaws.com
      - ssm.us-east-1.amazonaws.com
";
    let export = endpoint_policy(&policy(rules), &now(), &[]).unwrap();
    let starts: Vec<_> =
        export.notes.iter().map(|note| note.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        starts,
        [
            "rule `tool`: `s3.us-east-1.amazonaws.com`",
            "rule `tool`: `*.s3.us-east-1.amazonaws.com`",
            "rule `points`: `arn:aws:s3:us-east-1:123456789012:accesspoint/ap`",
            "rule `points`: `arn:aws:s3::*:accesspoint/mfzwi23gnjvgw.mrap`",
            "rule `points`: `ap-0a1b2c3d4e5f-s3alias.s3.us-east-1.amazonaws.com`",
            "rule `points`: `ol-123456789012.s3-object-lambda.us-east-1.amazonaws.com`",
            "rule `points`: `reports--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com`",
            "rule `points`: `ap-123456789012.op-01ac5d28a6a232904.s3-outposts.us-east-1.amazonaws.com`",
        ]
    );
    let (_, exported) = resources(rules, &now()).remove(0);
    assert_eq!(
        exported,
        [
            "arn:aws:s3:us-east-1:123456789012:accesspoint/ap",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/*",
            "arn:aws:s3::*:accesspoint/mfzwi23gnjvgw.mrap",
            "arn:aws:s3::*:accesspoint/mfzwi23gnjvgw.mrap/object/*",
        ]
    );
    let audit = Policy::parse("p.yaml", &format!("version: 1\nmode: audit\nrules:{rules}"), NOW).unwrap().policy;
    assert!(endpoint_policy(&audit, &now(), &[]).unwrap().notes[0].starts_with("the policy is under audit"));
}

#[test]
fn extra_buckets_are_permitted_and_those_of_others_whoever_owns_them() {
    let rules = "  - { name: a, buckets: [{ name: one, region: us-east-1 }] }\n";
    let extra = |bucket: &str, access: Access, foreign| Extra {
        bucket: word(bucket),
        access: BTreeSet::from([access]),
        foreign,
    };
    let also = vec![
        extra("behind", Access::Read, false),
        extra("amazon-ssm-us-east-1", Access::Read, true),
        extra("one", Access::Read, true),
    ];
    let scope = Scope { also, accounts: vec![word("123456789012")], ..now() };
    let all = resources(rules, &scope);
    let named: Vec<_> = all.iter().map(|(sid, arns)| (sid.as_str(), arns[0].as_str())).collect();
    assert_eq!(
        named,
        [
            ("SekishoRead", "arn:aws:s3:::behind"),
            ("SekishoReadWriteList", "arn:aws:s3:::one"),
            ("SekishoReadOfOthers", "arn:aws:s3:::amazon-ssm-us-east-1")
        ]
    );
    let document = document(&endpoint_policy(&policy(rules), &scope, &[]).unwrap());
    assert_eq!(document["Statement"][2]["Condition"], Value::Null);
}

#[test]
fn a_built_in_sets_buckets_are_there_to_be_read_though_aws_owns_them() {
    let rules = "  - { name: a, buckets: [{ name: one, region: ap-northeast-1 }] }
  - { name: b, access: [list], buckets: [{ name: amazon-ssm-ap-northeast-1, region: ap-northeast-1 }] }
  - include: { set: aws:ssm, region: ap-northeast-1, upstream: [10.0.0.0/8] }
";
    let scope = Scope { accounts: vec![word("123456789012")], ..now() };
    let all = resources(rules, &scope);
    let sids: Vec<_> = all.iter().map(|(sid, _)| sid.as_str()).collect();
    assert_eq!(sids, ["SekishoReadWriteList", "SekishoReadList", "SekishoReadOfOthers"]);
    assert_eq!(all[1].1[0], "arn:aws:s3:::amazon-ssm-ap-northeast-1");
    assert!(all[2].1.contains(&"arn:aws:s3:::ap-northeast-1-birdwatcher-prod/*".to_owned()), "{all:?}");
    let document = document(&endpoint_policy(&policy(rules), &scope, &[]).unwrap());
    let owners: Vec<bool> = (0..3).map(|i| document["Statement"][i]["Condition"].is_object()).collect();
    assert_eq!(owners, [true, true, false]);
}

/// A policy of one rule a bucket, whose names are as long as they can be.
fn many(count: usize) -> Policy {
    let buckets: Vec<String> =
        (0..count).map(|n| format!("      - {{ name: b{n:062}, region: us-east-1 }}\n")).collect();
    policy(&format!(
        "  - name: small\n    buckets: [{{ name: small, region: us-east-1 }}]\n  - name: large\n    buckets:\n{}",
        buckets.concat()
    ))
}

#[test]
fn a_document_is_never_larger_than_aws_takes_and_the_error_says_what_to_split() {
    // White space counts for an endpoint's policy, so it goes before anything is refused.
    let export = |count| endpoint_policy(&many(count), &now(), &[]);
    assert!(export(1).unwrap().text.contains("  "));
    let most = (100..160).take_while(|&count| export(count).is_ok()).last().unwrap();
    let largest = export(most).unwrap().text;
    assert!((20_300..=20_480).contains(&largest.trim_end().len()) && !largest.contains("  "), "{}", largest.len());
    let ExportError::TooLarge(error) = export(most + 1).unwrap_err() else { panic!() };
    assert!(error.size > 20_480);
    assert_eq!(error.rules.iter().map(|(rule, _)| rule.as_str()).collect::<Vec<_>>(), ["large", "small"]);
    let message = ExportError::TooLarge(error).to_string();
    assert!(message.starts_with("an endpoint policy of 20") && message.contains("AWS takes 20480: "), "{message}");
    assert!(message.contains("--rule") && message.contains("the rules: `large` ("), "{message}");

    let endpoints = [word("vpce-0a1b2c3d")];
    let last = (20..60).take_while(|&count| identity_policy(&many(count), &now(), &endpoints).is_ok()).last().unwrap();
    let shown = identity_policy(&many(last), &now(), &endpoints).unwrap().text;
    let short = serde_json::to_string(&serde_json::from_str::<Value>(&shown).unwrap()).unwrap();
    assert!(shown.contains("  ") && shown.len() > 6_144, "white space does not count for it");
    assert!((5_900..=6_144).contains(&short.len()), "{}", short.len());

    let stage = Stage::Source(
        (0..=255).flat_map(|n| (0..6).map(move |m| format!("203.{n}.{}.7", m * 2))).map(|ip| word(&ip)).collect(),
    );
    let error = bucket_policy(&many(1), &now(), &bucket("small", stage)).unwrap_err().to_string();
    assert!(error.starts_with("a bucket policy of ") && error.contains("merge source networks"), "{error}");
}

#[test]
fn words_are_checked_when_they_are_read() {
    fn good<T: std::str::FromStr<Err = BadWord>>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_ok(), "{text}");
        }
    }
    fn wrong<T: std::str::FromStr<Err = BadWord> + std::fmt::Debug>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text}");
        }
    }
    good::<VpcEndpoint>(&["vpce-0a1b2c3d", "vpce-0a1b2c3d4e5f67890"]);
    wrong::<VpcEndpoint>(&["vpc-0a1b2c3d", "vpce-0A1B2C3D", "vpce-", "vpce-*", "0a1b2c3d"]);
    good::<Account>(&["123456789012"]);
    wrong::<Account>(&["12345678901", "1234567890123", "12345678901x", "١٢٣٤٥٦"]);
    good::<Principal>(&[
        "arn:aws-cn:iam::123456789012:role/a/b+=,.@-_",
        "arn:aws:iam::123456789012:user/x",
        "arn:aws:iam::123456789012:root",
    ]);
    wrong::<Principal>(&[
        "arn:aws:iam::123456789012:role/*",
        "arn:aws:iam::*:root",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::123456789012:role/${aws:username}",
        "arn:aws:sts::123456789012:assumed-role/a/b",
        "arn:aws-x:iam::123456789012:root",
        "123456789012",
        "*",
    ]);
    good::<Source>(&["203.0.113.0/24", "203.0.113.7", "2001:db8::/32"]);
    wrong::<Source>(&[
        "0.0.0.0/0",
        "::/0",
        "10.1.0.0/16",
        "192.168.1.1",
        "100.64.0.1",
        "fd00::/8",
        "203.0.113.7/24",
        "x",
    ]);
    good::<BucketName>(&["reports", "a.b.c"]);
    wrong::<BucketName>(&["s3://reports", "Reports", "ab", "*-123456789012-us-east-1-an"]);
}

#[test]
fn lists_do_not_depend_on_the_order_in_which_they_are_given() {
    let rules = |first: &str, second: &str| {
        policy(&format!(
            "  - name: a\n    buckets:\n      - {{ name: {first}, region: us-east-1 }}\n      - {{ name: {second}, region: us-east-1 }}\n"
        ))
    };
    let ids = |ids: [&str; 2]| -> Vec<VpcEndpoint> { ids.map(word).into() };
    let one = identity_policy(&rules("aaa", "bbb"), &now(), &ids(["vpce-0a1b2c3d", "vpce-1a1b2c3d"])).unwrap();
    let two = identity_policy(&rules("bbb", "aaa"), &now(), &ids(["vpce-1a1b2c3d", "vpce-0a1b2c3d"])).unwrap();
    assert_eq!(one, two);
    let stage = |ips: [&str; 3]| Stage::Source(ips.map(word).into());
    let text = |stage| bucket_policy(&rules("aaa", "bbb"), &now(), &bucket("aaa", stage)).unwrap().text;
    let merged = text(stage(["203.0.113.128/25", "198.51.100.7", "203.0.113.0/25"]));
    assert_eq!(merged, text(stage(["198.51.100.7", "203.0.113.0/24", "203.0.113.9"])));
}
