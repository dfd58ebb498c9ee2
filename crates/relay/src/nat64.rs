//! Networks where IPv4 is reached through a translator: an IPv6 address within one of its prefixes is an IPv4 address in
//! another form, and is judged as that.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv6Net;

/// The lengths that a prefix can have (RFC 6052 §2.2).
pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];

/// The byte that no IPv4 address goes into (RFC 6052 §2.2, "u").
const UNUSED: usize = 8;

/// A translator's prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat64(Vec<Ipv6Net>);

impl Nat64 {
    /// Those that the operator names. Each has one of [`LENGTHS`].
    pub fn new(prefixes: Vec<Ipv6Net>) -> Self {
        Self(prefixes)
    }

    /// The IPv4 address that a translator makes of `address`; `None` where no prefix has it.
    pub fn inner(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let IpAddr::V6(address) = address else { return None };
        let prefix =
            self.0.iter().filter(|prefix| prefix.contains(&address)).max_by_key(|prefix| prefix.prefix_len())?;
        let from = usize::from(prefix.prefix_len() / 8);
        let octets = address.octets();
        let mut bytes = octets.iter().enumerate().skip(from).filter(|&(at, _)| at != UNUSED).map(|(_, &byte)| byte);
        let mut next = || bytes.next().unwrap_or_default();
        Some(Ipv4Addr::new(next(), next(), next(), next()))
    }
}

/// Whether a prefix can be a translator's.
pub fn is_prefix(prefix: Ipv6Net) -> bool {
    let unused = prefix.network().octets().get(UNUSED).copied();
    LENGTHS.contains(&prefix.prefix_len()) && prefix.trunc() == prefix && unused == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(prefix: &str, address: &str) -> Option<String> {
        let prefix = prefix.parse().unwrap();
        assert!(is_prefix(prefix), "{prefix}");
        Nat64::new(vec![prefix]).inner(address.parse().unwrap()).map(|inner| inner.to_string())
    }

    #[test]
    fn the_examples_of_rfc_6052_section_2_4() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            assert_eq!(inner(prefix, address).as_deref(), Some("192.0.2.33"), "{prefix}");
        }
    }

    #[test]
    fn what_no_prefix_has_is_itself() {
        assert_eq!(inner("64:ff9b::/96", "64:ff9b:1::c000:221"), None);
        assert_eq!(inner("64:ff9b::/96", "192.0.2.33"), None);
        assert_eq!(Nat64::default().inner("64:ff9b::192.0.2.33".parse().unwrap()), None);
        let both = Nat64::new(vec!["64:ff9b::/32".parse().unwrap(), "64:ff9b::/96".parse().unwrap()]);
        assert_eq!(both.inner("64:ff9b::192.0.2.33".parse().unwrap()), Some(Ipv4Addr::new(192, 0, 2, 33)));
    }

    #[test]
    fn other_lengths_and_bits_behind_the_prefix_are_none() {
        for text in ["64:ff9b::/97", "64:ff9b::/95", "::/0", "64:ff9b::1/96", "2001:db8:0:0:100::/96"] {
            assert!(!is_prefix(text.parse().unwrap()), "{text}");
        }
    }
}
