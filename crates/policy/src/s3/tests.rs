use super::lint::{Finding, lint};
use super::subject::Subject;
use super::*;
use crate::index::Shape;

fn pinned(name: &str) -> Option<(Kind, &str, Form, Option<&str>)> {
    match classify(name) {
        Class::Pins { kind, subject, form, region, .. } => Some((kind, subject, form, region)),
        _ => None,
    }
}

const P: &str = "p-123456789012";

#[test]
fn every_form_that_pins_is_known() {
    let r = Some("ap-northeast-1");
    for (name, expected) in [
        ("b-1.s3.ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Regional, r)),
        ("b-1.s3.amazonaws.com", (Kind::Bucket, "b-1", Form::Global, None)),
        ("s3-b.s3.ap-northeast-1.amazonaws.com", (Kind::Bucket, "s3-b", Form::Regional, r)),
        ("s3.s3-ap-northeast-1.amazonaws.com", (Kind::Bucket, "s3", Form::Legacy, r)),
        ("b-1.s3.dualstack.ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Dualstack, r)),
        ("b-1.s3-fips.ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Fips, r)),
        ("b-1.s3-fips.dualstack.ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::FipsDualstack, r)),
        ("b-1.s3-ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Legacy, r)),
        ("b-1.s3-external-1.amazonaws.com", (Kind::Bucket, "b-1", Form::External1, None)),
        ("b-1.s3-accelerate.amazonaws.com", (Kind::Bucket, "b-1", Form::Accelerate, None)),
        ("b-1.s3-accelerate.dualstack.amazonaws.com", (Kind::Bucket, "b-1", Form::AccelerateDualstack, None)),
        ("b-1.s3-website-ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Website, r)),
        ("b-1.s3-website.ap-northeast-1.amazonaws.com", (Kind::Bucket, "b-1", Form::Website, r)),
        ("b-1.s3.cn-north-1.amazonaws.com.cn", (Kind::Bucket, "b-1", Form::Regional, Some("cn-north-1"))),
        ("b-1.s3.eusc-de-east-1.amazonaws.eu", (Kind::Bucket, "b-1", Form::Regional, Some("eusc-de-east-1"))),
        ("p-123456789012.s3-accesspoint.ap-northeast-1.amazonaws.com", (Kind::AccessPoint, P, Form::Regional, r)),
        (
            "p-123456789012.s3-accesspoint-fips.dualstack.ap-northeast-1.amazonaws.com",
            (Kind::AccessPoint, P, Form::FipsDualstack, r),
        ),
        ("p-123456789012.s3-object-lambda.ap-northeast-1.amazonaws.com", (Kind::ObjectLambda, P, Form::Regional, r)),
        ("p-123456789012.s3-object-lambda-fips.ap-northeast-1.amazonaws.com", (Kind::ObjectLambda, P, Form::Fips, r)),
        ("alias.mrap.accesspoint.s3-global.amazonaws.com", (Kind::MultiRegion, "alias", Form::Global, None)),
        (
            "b--apne1-az4--x-s3.s3express-apne1-az4.ap-northeast-1.amazonaws.com",
            (Kind::Directory, "b--apne1-az4--x-s3", Form::Regional, r),
        ),
        (
            "b--apne1-az4--xa-s3.s3express-fips-apne1-az4.dualstack.ap-northeast-1.amazonaws.com",
            (Kind::Directory, "b--apne1-az4--xa-s3", Form::FipsDualstack, r),
        ),
        ("b-1.bucket.vpce-0a-1b.s3.ap-northeast-1.vpce.amazonaws.com", (Kind::Bucket, "b-1", Form::PrivateLink, r)),
        (
            "p-123456789012.accesspoint.vpce-0a-1b.s3.ap-northeast-1.vpce.amazonaws.com",
            (Kind::AccessPoint, P, Form::PrivateLink, r),
        ),
        (
            "p-123456789012.op-01.s3-outposts.ap-northeast-1.amazonaws.com",
            (Kind::Outposts, "p-123456789012.op-01", Form::Regional, r),
        ),
    ] {
        assert_eq!(pinned(name), Some(expected), "{name}");
        assert_eq!(lint(Shape::Exact, name), None, "{name}");
    }
}

#[test]
fn names_that_pin_nothing_are_found() {
    let regional = "ap-northeast-1.amazonaws.com";
    for host in [
        "s3.R",
        "s3-ap-northeast-1.amazonaws.com",
        "s3.amazonaws.com",
        "s3.dualstack.R",
        "s3-fips.R",
        "s3-fips.dualstack.R",
        "s3-external-1.amazonaws.com",
        "s3-accelerate.amazonaws.com",
        "bucket.vpce-0a.s3.R.vpce",
        "accesspoint.vpce-0a.s3.R.vpce",
        "control.vpce-0a.s3.R.vpce",
        "s3express-control.R",
        "s3-control.R",
        "123456789012.s3-control.R",
        "123456789012.s3-control.dualstack.R",
        "s3-outposts.R",
        "s3-object-lambda.R",
        "s3tables.R",
        "s3vectors.R",
        "s3-accesspoint.R",
        "s3-website-ap-northeast-1.amazonaws.com",
        "s3-global.amazonaws.com",
        "b.s3-new.R",
        "p-123456789012.s3-outposts.R",
        "p-123456789012.ec2.s3-outposts.R",
        "p-123456789012.s3-object-lambda.dualstack.R",
        "b.s3express-apne1-az4.R",
        "b--apne1-az4--x-s3.s3express-control.R",
    ] {
        let name = match host.strip_suffix(".R.vpce") {
            Some(host) => format!("{host}.ap-northeast-1.vpce.amazonaws.com"),
            None => host.replace(".R", &format!(".{regional}")),
        };
        assert_eq!(lint(Shape::Exact, &name), Some(Finding::Open), "{name}");
    }
    assert_eq!(lint(Shape::Exact, &format!("a.b.s3.{regional}")), Some(Finding::Dotted("a.b".into())));
    assert_eq!(
        lint(Shape::Exact, "b.s3.ap-northest-1.amazonaws.com"),
        Some(Finding::UnknownRegion("ap-northest-1".into()))
    );
    assert_eq!(lint(Shape::Exact, "b.s3.cn-north-1.amazonaws.com"), Some(Finding::UnknownRegion("cn-north-1".into())));
}

#[test]
fn patterns_that_cover_any_bucket_are_found() {
    for (shape, name) in [
        (Shape::OneLabel, "s3.ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "s3.amazonaws.com"),
        (Shape::OneLabel, "s3-ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "s3.dualstack.ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "b.s3.ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "amazonaws.com"),
        (Shape::OneLabel, "amazonaws.com.cn"),
        (Shape::OneLabel, "dualstack.ap-northeast-1.amazonaws.com"),
        (Shape::OneLabel, "vpce-0a.s3.ap-northeast-1.vpce.amazonaws.com"),
        (Shape::OneLabel, "bucket.vpce-0a.s3.ap-northeast-1.vpce.amazonaws.com"),
        (Shape::OneLabel, "s3-accesspoint.ap-northeast-1.amazonaws.com"),
        (Shape::Below, "com"),
        (Shape::Below, "cn"),
        (Shape::Below, "eu"),
        (Shape::Below, "com.cn"),
        (Shape::Below, "amazonaws.com"),
        (Shape::Below, "amazonaws.eu"),
        (Shape::Below, "ap-northeast-1.amazonaws.com"),
        (Shape::Below, "dualstack.ap-northeast-1.amazonaws.com"),
        (Shape::Below, "s3.ap-northeast-1.amazonaws.com"),
        (Shape::Below, "s3-ap-northeast-1.amazonaws.com"),
        (Shape::Below, "b.s3.ap-northeast-1.amazonaws.com"),
        (Shape::Below, "vpce.amazonaws.com"),
        (Shape::Below, "ap-northeast-1.vpce.amazonaws.com"),
        (Shape::Below, "s3.ap-northeast-1.vpce.amazonaws.com"),
        (Shape::Below, "vpce-0a.s3.ap-northeast-1.vpce.amazonaws.com"),
        (Shape::Below, "accesspoint.s3-global.amazonaws.com"),
    ] {
        assert!(matches!(lint(shape, name), Some(Finding::AnyBucket(_))), "{shape:?} {name}");
    }
    for (shape, name) in [
        (Shape::OneLabel, "partner.example"),
        (Shape::Below, "example.org"),
        (Shape::Below, "ssm.ap-northeast-1.amazonaws.com"),
        (Shape::Below, "myamazonaws.com"),
        (Shape::Exact, "ssm.ap-northeast-1.amazonaws.com"),
        (Shape::Ending, "-123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com"),
    ] {
        assert_eq!(lint(shape, name), None, "{shape:?} {name}");
    }
}

#[test]
fn bucket_names_follow_the_grammar() {
    let region = "ap-northeast-1";
    for good in ["abc", "a-1", &"a".repeat(63), "x-123456789012-ap-northeast-1-an", "*-123456789012-ap-northeast-1-an"]
    {
        assert_eq!(bucket::check(good, region), Ok(()), "{good}");
    }
    for bad in [
        "ab",
        &"a".repeat(64),
        "Abc",
        "a_b",
        "-abc",
        "abc-",
        "xn--abc",
        "sthree-a",
        "amzn-s3-demo-a",
        "a-s3alias",
        "a--ol-s3",
        "a--x-s3",
        "a--table-s3",
        "abc-an",
        "x-123456789012-us-east-1-an",
        "*-123456789012-us-east-1-an",
        "*",
        "a*b",
        "*abc",
        "*-12345678901-ap-northeast-1-an",
        "*y-123456789012-ap-northeast-1-an",
    ] {
        assert!(matches!(bucket::check(bad, region), Err(bucket::BadBucket::Grammar(_))), "{bad}");
    }
    assert_eq!(bucket::check("a.b", region), Err(bucket::BadBucket::Dotted));
}

#[test]
fn zones_are_those_of_their_region() {
    for (region, start) in [
        ("ap-northeast-1", Some("apne1")),
        ("us-east-1", Some("use1")),
        ("us-gov-west-1", Some("usgw1")),
        ("cn-northwest-1", Some("cnnw1")),
        ("ca-central-1", Some("cac1")),
        ("eusc-de-east-1", None),
    ] {
        assert_eq!(regions::zone_start(region).as_deref(), start, "{region}");
    }
    for (name, region, good) in [
        ("b--apne1-az4--x-s3", "ap-northeast-1", true),
        ("b--usw2-lax1-az1--x-s3", "us-west-2", true),
        ("b--eusc1-az1--x-s3", "eusc-de-east-1", true),
        ("b--apne1-az4--x-s3", "ap-northeast-2", false),
        ("b--apne11-az4--x-s3", "ap-northeast-1", false),
        ("b--az4--x-s3", "ap-northeast-1", false),
        ("--apne1-az4--x-s3", "ap-northeast-1", false),
        ("b--apne1-az--x-s3", "ap-northeast-1", false),
    ] {
        assert_eq!(Subject::directory(name, region).is_ok(), good, "{name}");
    }
}

#[test]
fn interface_endpoints_begin_their_names_in_one_way() {
    for good in
        ["vpce-0a-1b", "vpce-0a1b2c3d4e5f67890-a1b2c3d4", "vpce-0a-1b-us-west-2a", "vpce-0a-1b-us-west-2-lax-1a"]
    {
        assert!(subject::is_interface(good, "us-west-2"), "{good}");
    }
    for bad in [
        "vpce-0a",
        "vpce-",
        "vpce--1b",
        "vpce-0a-",
        "vpce-0A-1b",
        "vpce-0a-1b-us-west-2",
        "vpce-0a-1b-us-east-1a",
        "vpce-0a-1b.s3",
        "bucket.vpce-0a-1b",
        "0a-1b",
    ] {
        assert!(!subject::is_interface(bad, "us-west-2"), "{bad}");
    }
}

#[test]
fn no_name_that_says_no_region_is_made_for_a_partition_that_shares_its_suffix() {
    let mut suffixes: Vec<(&str, &str)> = Vec::new();
    for partition in PARTITIONS {
        let shared = suffixes.iter().any(|(suffix, _)| *suffix == partition.suffix);
        for (kind, form, tail) in partition.tails {
            assert!(!shared || tail.contains("{region}"), "{kind:?} {form:?} of {}", partition.id);
        }
        suffixes.push((partition.suffix, partition.id));
    }
    assert!(suffixes.len() == 4);
}

/// AWS itself keeps the endpoints below which anybody's bucket is in the Public Suffix List.
#[test]
fn no_s3_endpoint_of_the_public_suffix_list_can_be_listed_with_or_without_a_wildcard() {
    let mut known = 0;
    for line in include_str!("../suffix/list.txt").lines() {
        let Some((labels, "p")) = line.rsplit_once(' ') else { continue };
        let name = labels.split('.').rev().collect::<Vec<_>>().join(".");
        let aws = PARTITIONS.iter().any(|partition| at_or_below(&name, partition.suffix));
        if !aws || !name.split('.').any(|label| label == "s3" || label.starts_with("s3-")) {
            continue;
        }
        known += 1;
        assert_eq!(lint(Shape::Exact, &name), Some(Finding::Open), "{name}");
        for shape in [Shape::OneLabel, Shape::Below] {
            assert!(matches!(lint(shape, &name), Some(Finding::AnyBucket(_))), "{shape:?} {name}");
        }
        // What is right below it is one bucket or access point, or a form that no rule can list.
        let below = format!("abc-123456789012.{name}");
        let pins =
            matches!(classify(&below), Class::Pins { subject: "abc-123456789012" | "abc-123456789012.mrap", .. });
        assert!(pins || classify(&below) == Class::Open, "{below}");
    }
    assert!(known > 250, "{known}");
}
