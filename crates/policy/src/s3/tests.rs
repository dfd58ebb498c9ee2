use super::lint::{Finding, lint};
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
