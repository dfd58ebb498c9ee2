use super::*;

fn shared(name: &str) -> Option<(String, Giver)> {
    at_or_below(name).map(|shared| (shared.suffix, shared.giver))
}

#[test]
fn every_line_of_the_list_is_a_rule() {
    let lines = LIST.lines().filter(|line| !line.starts_with('#')).count();
    let Rules { exact, wild, exceptions, .. } = rules();
    let read = exact.len() + wild.len() + exceptions.len();
    // A rule may be in both sections.
    assert!(lines > 10_000 && lines - read < 10, "{read} of {lines}");
}

#[test]
fn suffixes_of_registries_and_of_shared_hosts() {
    for (name, giver) in [
        ("com", Giver::Registry),
        ("co.jp", Giver::Registry),
        ("xn--p1ai", Giver::Registry),
        ("other.kobe.jp", Giver::Registry),
        ("anything.ck", Giver::Registry),
        ("no-such-tld", Giver::Registry),
        ("cloudfront.net", Giver::Host),
        ("s3.amazonaws.com", Giver::Host),
        ("s3.ap-northeast-1.amazonaws.com", Giver::Host),
        ("github.io", Giver::Host),
        ("execute-api.us-east-1.amazonaws.com", Giver::Host),
    ] {
        assert_eq!(shared(name), Some((name.to_owned(), giver)), "{name}");
    }
}

#[test]
fn what_is_above_a_suffix() {
    assert_eq!(shared("amazonaws.com").map(|(suffix, _)| suffix.ends_with(".amazonaws.com")), Some(true));
    assert_eq!(shared("core.windows.net").map(|(suffix, _)| suffix.ends_with(".core.windows.net")), Some(true));
}

#[test]
fn domains_that_somebody_has_are_not_shared() {
    for name in [
        "example.com",
        "www.ck",
        "city.kobe.jp",
        "example.co.jp",
        "bucket.s3.amazonaws.com",
        "internal",
        "corp.internal",
    ] {
        assert_eq!(shared(name), None, "{name}");
    }
}
