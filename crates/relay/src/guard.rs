//! Which resolved addresses may be dialled. Asked of every address just before its dial, because an answer from DNS is
//! somebody else's word: a listed name that resolves to a metadata service must not become a way to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho_policy::Upstream;

/// What the guard says of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may be dialled.
    Permitted,
    /// The rule does not permit it; audit mode lets it through and records that.
    Audited(Class),
    /// It may not be dialled.
    Forbidden(Class),
}

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Reachable over the Internet.
    Public,
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// RFC 1918.
    Private,
    /// 100.64.0.0/10 (RFC 6598).
    CarrierGradeNat,
    /// `fc00::/7` (RFC 4193).
    UniqueLocal,
    /// Anything else that the IANA special-purpose registries (RFC 6890) or the address architecture (RFC 4291) keep out of the Internet.
    Reserved,
    /// An IPv6 address that carries an IPv4 one: v4-mapped, NAT64, 6to4, Teredo.
    Translated,
    /// Never dialled, whatever a rule says: unspecified, multicast, link-local, cloud metadata and platform services.
    Never,
}

impl Class {
    /// A few words for the log and for `explain`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Public => "public address",
            Self::Loopback => "loopback address",
            Self::Private => "private address",
            Self::CarrierGradeNat => "carrier-grade NAT address",
            Self::UniqueLocal => "unique local address",
            Self::Reserved => "reserved address",
            Self::Translated => "IPv6 address that carries an IPv4 one",
            Self::Never => "address that is never dialled",
        }
    }
}

/// Judges one address under a rule's `upstream`. With `audit`, private, carrier-grade NAT and unique local addresses
/// that the rule does not permit are let through as [`Judgement::Audited`].
pub fn judge(address: IpAddr, upstream: &Upstream, audit: bool) -> Judgement {
    let class = classify(address);
    if class == Class::Never {
        return Judgement::Forbidden(class);
    }
    let permitted = match upstream {
        Upstream::Public => class == Class::Public,
        Upstream::Any => true,
        Upstream::Only(networks) => networks.iter().any(|network| network.contains(&address)),
    };
    match class {
        _ if permitted => Judgement::Permitted,
        Class::Private | Class::CarrierGradeNat | Class::UniqueLocal if audit => Judgement::Audited(class),
        _ => Judgement::Forbidden(class),
    }
}

/// Sorts an address into its class.
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    // Azure's platform services, among them the metadata and agent endpoints, answer here.
    const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    match address.octets() {
        [0, 0, 0, 0] | [255, 255, 255, 255] | [169, 254, ..] | [224..=239, ..] => Class::Never,
        _ if address == AZURE_PLATFORM => Class::Never,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::CarrierGradeNat,
        [0 | 240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Class::Reserved,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    // An embedded address that is never dialled is not dialled in disguise either.
    if let Some(inner) = embedded_v4(address) {
        let never = inner.into_iter().flatten().any(|inner| classify_v4(inner) == Class::Never);
        return if never { Class::Never } else { Class::Translated };
    }
    match address.segments() {
        // fd00:ec2::/32 has the credentials of instances, ECS and EKS on AWS: fd00:ec2::254, fd00:ec2::23 and others.
        [0, 0, 0, 0, 0, 0, 0, 0] | [0xff00..=0xffff | 0xfe80..=0xfebf, ..] | [0xfd00, 0x0ec2, ..] => Class::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfc00..=0xfdff, ..] => Class::UniqueLocal,
        [0x2001, 0..=0x1ff | 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

/// The IPv4 address that an IPv6 one carries, or each that it may carry; `None` for a plain IPv6 address.
fn embedded_v4(address: Ipv6Addr) -> Option<[Option<Ipv4Addr>; 4]> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    let one = |high, low| Some([v4(high, low), None, None, None]);
    match address.segments() {
        // v4-compatible, deprecated (RFC 4291 §2.5.5.1); `::` and `::1` are none
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => one(high, low),
        // v4-mapped (RFC 4291 §2.5.5.2), translated (RFC 2765 §2.1), NAT64 by its well-known prefix (RFC 6052 §2.1),
        // 6to4 (RFC 3056 §2)
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => one(high, low),
        // Teredo keeps the client's address inverted (RFC 4380 §4)
        [0x2001, 0, _, _, _, _, high, low] => one(!high, !low),
        // NAT64, the local-use prefix (RFC 8215) at any length, each of which puts the address elsewhere, around the
        // byte that is zero (RFC 6052 §2.2): /96, /48, /56, /64. All zeros are padding: 0.0.0.0 is not translated.
        [0x64, 0xff9b, 1, a, b, c, d, e] => {
            let from_low_byte = |a: u16, b: u16, c: u16| v4(a << 8 | b >> 8, b << 8 | c >> 8);
            let inner = [v4(d, e), v4(a, b << 8 | c >> 8), v4(a << 8 | b & 0xff, c), from_low_byte(b, c, d)];
            Some(inner.map(|inner| inner.filter(|inner| !inner.is_unspecified())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
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
        let ask = |text: &str, upstream: &Upstream, audit| judge(text.parse().unwrap(), upstream, audit);

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
        let ask = |text: &str| judge(text.parse().unwrap(), &Upstream::Public, true);
        assert_eq!(ask("10.0.0.1"), Judgement::Audited(Class::Private));
        assert_eq!(ask("100.64.0.1"), Judgement::Audited(Class::CarrierGradeNat));
        assert_eq!(ask("fd12::1"), Judgement::Audited(Class::UniqueLocal));
        assert_eq!(ask("127.0.0.1"), Judgement::Forbidden(Class::Loopback));
        assert_eq!(ask("192.0.2.1"), Judgement::Forbidden(Class::Reserved));
    }
}
