//! What the guard says of addresses.

use super::*;

fn class(text: &str) -> Class {
    classify(text.parse().unwrap())
}

#[test]
fn every_range_has_its_class() {
    for (class_, addresses) in [
        (Class::Public, &["52.219.0.1", "1.1.1.1", "100.63.0.1", "172.32.0.1", "2600:1fa0::1", "198.20.0.1"][..]),
        (Class::Loopback, &["127.0.0.1", "127.255.255.254", "::1"]),
        (Class::Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"]),
        (Class::CarrierGradeNat, &["100.64.0.1", "100.127.255.255"]),
        (Class::UniqueLocal, &["fd12::1", "fc00::1", "fd00:ec1::1"]),
        (Class::Reserved, &["0.1.2.3", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1"]),
        (Class::Reserved, &["2001:db8::1", "100::1", "fec0::1", "2001:20::1", "4000::1", "3fff::1", "::2"]),
        (Class::Translated, &["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "64:ff9b:1::101:101"]),
        (Class::Translated, &["2001:0:1:2:3:4:5:6", "::10.0.0.1"]),
        (Class::Never, &["0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "169.254.169.254", "fe80::1"]),
        (Class::Never, &["fd00:ec2::254", "fd00:ec2::23", "168.63.129.16", "169.254.170.2", "febf::1"]),
        (Class::Never, &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"]),
        (
            Class::Never,
            &["::169.254.169.254", "2001:0:0:0:0:0:5601:5601", "::ffff:0:169.254.169.254", "::ffff:0.0.0.0"],
        ),
        // 169.254.169.254 behind a local-use prefix of /96, /48, /56 and /64; then 1.1.1.1 behind one of /48 and /64.
        (Class::Never, &["64:ff9b:1:7::a9fe:a9fe", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:7a9:fe:a9fe::"]),
        (Class::Never, &["64:ff9b:1:7:a9:fea9:fe00:0"]),
        (Class::Translated, &["64:ff9b:1:101:1:100::", "64:ff9b:1::1:101:100:0", "64:ff9b:1::"]),
    ] {
        for address in addresses {
            assert_eq!(class(address), class_, "{address}");
        }
    }
}

#[test]
fn a_rule_permits_but_never_the_metadata_service() {
    let private = Upstream::Only(["10.0.0.0/8".parse().unwrap()].into());
    let everything = Upstream::Only(["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()].into());
    let ask = |text: &str, upstream: &Upstream, audit| judge(text.parse().unwrap(), upstream, audit, &Nat64::default());

    assert_eq!(ask("10.0.0.1", &Upstream::Public, false), Judgement::Forbidden(Class::Private));
    assert_eq!(ask("10.0.0.1", &private, false), Judgement::Permitted);
    assert_eq!(ask("52.219.0.1", &private, false), Judgement::Forbidden(Class::Public));
    assert_eq!(ask("127.0.0.1", &Upstream::Any, false), Judgement::Permitted);
    for upstream in [&Upstream::Public, &Upstream::Any, &everything] {
        for audit in [false, true] {
            for address in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "0.0.0.0", "fe80::1"] {
                assert_eq!(ask(address, upstream, audit), Judgement::Forbidden(Class::Never), "{address}");
            }
        }
    }
}

#[test]
fn check_warns_of_a_network_that_is_never_dialled_and_of_no_other() {
    for text in [
        "0.0.0.0",
        "0.0.0.1",
        "10.0.0.1",
        "127.0.0.1",
        "168.63.129.15",
        "168.63.129.16",
        "168.63.129.17",
        "169.253.255.255",
        "169.254.0.0",
        "169.254.255.255",
        "169.255.0.0",
        "223.255.255.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.254",
        "255.255.255.255",
        "::",
        "::1",
        "2600:1fa0::1",
        "fd00:ec1:ffff::1",
        "fd00:ec2::",
        "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff",
        "fd00:ec3::",
        "fe7f::1",
        "fe80::",
        "febf:ffff::1",
        "fec0::1",
        "feff::1",
        "ff00::",
        "ffff:ffff::1",
    ] {
        let policy =
            format!("version: 1\nrules:\n  - {{ name: a, owner: o, hosts: [a.example], upstream: ['{text}'] }}\n");
        let loaded = sekisho_policy::Policy::parse("policy.yaml", &policy, 0).unwrap();
        let warned = loaded.warnings.iter().any(|fault| fault.code == "never-dialled");
        assert_eq!(warned, class(text) == Class::Never, "{text}");
    }
}

#[test]
fn audit_mode_lets_through_what_a_policy_could_permit() {
    let ask = |text: &str| judge(text.parse().unwrap(), &Upstream::Public, true, &Nat64::default());
    assert_eq!(ask("10.0.0.1"), Judgement::Audited(Class::Private));
    assert_eq!(ask("100.64.0.1"), Judgement::Audited(Class::CarrierGradeNat));
    assert_eq!(ask("fd12::1"), Judgement::Audited(Class::UniqueLocal));
    assert_eq!(ask("127.0.0.1"), Judgement::Forbidden(Class::Loopback));
    assert_eq!(ask("192.0.2.1"), Judgement::Forbidden(Class::Reserved));
}

#[test]
fn what_a_translator_reaches_is_judged_as_ipv4_and_only_where_it_is_configured() {
    let nat64 = Nat64::new(vec!["64:ff9b::/96".parse().unwrap(), "2001:db8:64::/96".parse().unwrap()]);
    let private = Upstream::Only(["10.0.0.0/8".parse().unwrap()].into());
    let prefix = Upstream::Only(["64:ff9b::/96".parse().unwrap()].into());
    let ask = |text: &str, upstream: &Upstream, audit| judge(text.parse().unwrap(), upstream, audit, &nat64);

    for address in ["64:ff9b::1.1.1.1", "2001:db8:64::1.1.1.1"] {
        assert_eq!(ask(address, &Upstream::Public, false), Judgement::Permitted, "{address}");
        let unknown = judge(address.parse().unwrap(), &Upstream::Public, false, &Nat64::default());
        assert!(matches!(unknown, Judgement::Forbidden(Class::Translated | Class::Reserved)), "{address}: {unknown:?}");
    }
    assert_eq!(ask("64:ff9b::10.0.0.1", &private, false), Judgement::Permitted);
    assert_eq!(ask("64:ff9b::10.0.0.1", &prefix, false), Judgement::Permitted);
    assert_eq!(ask("64:ff9b::10.0.0.1", &Upstream::Public, false), Judgement::Forbidden(Class::Private));
    assert_eq!(ask("64:ff9b::10.0.0.1", &Upstream::Public, true), Judgement::Audited(Class::Private));
    for never in ["64:ff9b::169.254.169.254", "2001:db8:64::168.63.129.16", "2001:db8:64::0.0.0.0"] {
        for upstream in [&Upstream::Public, &Upstream::Any, &prefix] {
            assert_eq!(ask(never, upstream, true), Judgement::Forbidden(Class::Never), "{never}");
        }
    }
}

#[test]
fn dialling_an_address_that_carries_another_may_reach_either() {
    let nat64 = Nat64::new(vec!["2001:db8:64::/96".parse().unwrap()]);
    let all = |text: &str| reached(text.parse().unwrap(), &nat64).map(|ip| ip.to_string()).collect::<Vec<_>>();
    assert_eq!(all("10.0.0.1"), ["10.0.0.1"]);
    assert_eq!(all("2001:db8::1"), ["2001:db8::1"]);
    assert_eq!(all("2001:db8:64::10.0.0.1"), ["2001:db8:64::a00:1", "10.0.0.1"]);
    assert!(all("64:ff9b::10.0.0.1").contains(&"10.0.0.1".to_owned()));
    assert!(all("2002:a00:1::").contains(&"10.0.0.1".to_owned()));
}
