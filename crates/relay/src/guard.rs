//! Which resolved addresses may be dialled. Asked of every address just before its dial, because an answer from DNS is
//! somebody else's word: a listed name that resolves to a metadata service must not become a way to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sekisho_policy::Upstream;

use crate::nat64::Nat64;

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
/// that the rule does not permit are let through as [`Judgement::Audited`]. What a translator of `nat64` makes into an
/// IPv4 address is judged as that, and a rule's networks permit it in either form.
pub fn judge(address: IpAddr, upstream: &Upstream, audit: bool, nat64: &Nat64) -> Judgement {
    let (inner, class) = seen(address, nat64);
    if class == Class::Never {
        return Judgement::Forbidden(class);
    }
    let permitted = match upstream {
        Upstream::Public => class == Class::Public,
        Upstream::Any => true,
        Upstream::Only(networks) => networks
            .iter()
            .any(|network| network.contains(&address) || inner.is_some_and(|inner| network.contains(&inner))),
    };
    match class {
        _ if permitted => Judgement::Permitted,
        Class::Private | Class::CarrierGradeNat | Class::UniqueLocal if audit => Judgement::Audited(class),
        _ => Judgement::Forbidden(class),
    }
}

/// The class that an address is judged by.
pub fn class_of(address: IpAddr, nat64: &Nat64) -> Class {
    seen(address, nat64).1
}

/// What a translator makes of it, and the class of that.
fn seen(address: IpAddr, nat64: &Nat64) -> (Option<IpAddr>, Class) {
    let inner = nat64.inner(address).map(IpAddr::V4);
    // A prefix is the operator's word for what is behind it, but not for what is never dialled.
    let outer = classify(address);
    (inner, inner.filter(|_| outer != Class::Never).map_or(outer, classify))
}

/// Every address that dialling `address` may reach: itself, and an IPv4 address that it carries in whatever form.
pub fn reached(address: IpAddr, nat64: &Nat64) -> impl Iterator<Item = IpAddr> {
    let carried = if let IpAddr::V6(v6) = address { embedded_v4(v6) } else { None };
    let carried = carried.into_iter().flatten().flatten().chain(nat64.inner(address));
    std::iter::once(address).chain(carried.map(IpAddr::V4))
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
mod tests;
