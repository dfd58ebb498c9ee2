//! What a hello offers besides its name: kept once for all connections of one kind of client.

use std::cell::RefCell;
use std::sync::Arc;

use sekisho_peek::tls::ClientHello;

/// Kinds of clients that a worker knows at a time. A fleet has a handful.
const KINDS: usize = 16;

/// What a hello offers besides its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The ALPN protocols, as offered, capped in number and length.
    pub alpn: Vec<Box<str>>,
    /// The TLS versions, highest first, as code points (0x0304 is TLS 1.3).
    pub versions: Vec<u16>,
    /// Whether an ECH extension is there (in browsers it always is, so it proves nothing).
    pub ech: bool,
    /// The fingerprint of all that it offers, where those are recorded.
    pub ja4: Option<Box<str>>,
}

impl Offered {
    fn is(&self, hello: &ClientHello, ja4: Option<&str>) -> bool {
        self.ech == hello.ech
            && self.versions == hello.versions
            && self.alpn == hello.alpn
            && self.ja4.as_deref() == ja4
    }
}

/// What a worker's clients offered lately.
#[derive(Debug, Default)]
pub(crate) struct Offers(RefCell<Vec<Arc<Offered>>>);

impl Offers {
    /// What `hello` offers, with its fingerprint if that is wanted: the one that is known already where some client offered
    /// the same.
    pub(crate) fn share(&self, hello: &ClientHello, ja4: Option<&str>) -> Arc<Offered> {
        let mut known = self.0.borrow_mut();
        if let Some(offered) = known.iter().find(|offered| offered.is(hello, ja4)) {
            return Arc::clone(offered);
        }
        let mut alpn = hello.alpn.clone();
        alpn.shrink_to_fit();
        let offered =
            Arc::new(Offered { alpn, versions: hello.versions.clone(), ech: hello.ech, ja4: ja4.map(Box::from) });
        if known.len() >= KINDS {
            // The oldest: one that is in use comes back with its next connection.
            known.remove(0);
        }
        known.push(Arc::clone(&offered));
        offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(alpn: &[&str], ech: bool) -> ClientHello {
        ClientHello {
            name: sekisho_name::Name::parse("a.example").unwrap(),
            legacy_version: 0x303,
            versions: vec![0x304],
            alpn: alpn.iter().map(|&name| name.into()).collect(),
            ech,
            raw_len: 0,
            handshake_len: 0,
        }
    }

    #[test]
    fn clients_of_one_kind_share_what_they_offer() {
        let offers = Offers::default();
        let first = offers.share(&hello(&["h2"], false), None);
        assert!(Arc::ptr_eq(&first, &offers.share(&hello(&["h2"], false), None)));
        for other in [hello(&["h2", "http/1.1"], false), hello(&["h2"], true), hello(&[], false)] {
            let shared = offers.share(&other, None);
            assert!(!Arc::ptr_eq(&first, &shared));
            assert!(shared.is(&other, None));
        }
        // All the same but for what only the fingerprint tells.
        let [one, other] = ["t13d1", "t13d2"].map(|ja4| offers.share(&hello(&["h2"], false), Some(ja4)));
        assert!(!Arc::ptr_eq(&one, &other) && !Arc::ptr_eq(&one, &first));
        assert!(Arc::ptr_eq(&other, &offers.share(&hello(&["h2"], false), Some("t13d2"))));
    }

    #[test]
    fn a_flood_of_kinds_is_bounded() {
        let offers = Offers::default();
        for kind in 0..1000 {
            let alpn = kind.to_string();
            assert_eq!(*offers.share(&hello(&[&alpn], false), None).alpn, [alpn.into()]);
        }
        assert_eq!(offers.0.borrow().len(), KINDS);
    }
}
