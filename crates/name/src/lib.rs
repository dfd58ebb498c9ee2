//! A validated DNS host name, the leaf that every other crate shares.
//!
//! A [`Name`] is what a client asked for and what a rule lists, in one spelling: ASCII lowercase, labels of 1 to 63
//! letters, digits, hyphens and underscores, at most 253 bytes together, no trailing dot, and never an IP address.
//! Two names are the same host exactly when they are equal as bytes.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// The longest name in presentation form without its trailing dot (RFC 1035 §2.3.4: 255 octets on the wire).
pub const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;

/// A valid host name. Cheap to clone: clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Reads a name from text, lowercasing it.
    ///
    /// # Errors
    /// [`InvalidName`] says the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        Self::from_bytes(text.as_bytes())
    }

    /// Reads a name from bytes off the network, lowercasing it.
    ///
    /// # Errors
    /// [`InvalidName`] says the first thing that is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        let mut lower = [0; MAX_NAME];
        let Some(lower) = lower.get_mut(..bytes.len()) else {
            return Err(InvalidName::TooLong);
        };
        lower.copy_from_slice(bytes);
        lower.make_ascii_lowercase();
        check(lower)?;
        // `check` leaves only ASCII.
        let text = std::str::from_utf8(lower).map_err(|_| InvalidName::Character(0))?;
        Ok(Self(Arc::from(text)))
    }

    /// The one spelling of a name, as [`Name::parse`] reads it, without making a [`Name`]: of a list of a million nothing
    /// is copied but what is not lowercase.
    ///
    /// # Errors
    /// [`InvalidName`] says the first thing that is wrong with it.
    pub fn spelling(text: &str) -> Result<Cow<'_, str>, InvalidName> {
        if text.len() > MAX_NAME {
            return Err(InvalidName::TooLong);
        }
        let spelling = if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
        check(spelling.as_bytes())?;
        Ok(spelling)
    }

    /// The name, lowercase and without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels from the leftmost (`bucket`) to the top (`com`).
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name without its first label; `None` for a single label.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, rest)| rest)
    }

    /// Whether a label has an underscore: such a name is matched by no pattern, only by itself.
    pub fn has_underscore(&self) -> bool {
        self.0.contains('_')
    }
}

fn check(name: &[u8]) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name.last() == Some(&b'.') {
        return Err(InvalidName::TrailingDot);
    }
    if let Some(&bad) = name.iter().find(|b| !matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')) {
        let v6 = std::str::from_utf8(name).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return Err(if v6 { InvalidName::IpAddress } else { InvalidName::Character(bad) });
    }
    for label in name.split(|&b| b == b'.') {
        match (label, label.len()) {
            ([], _) => return Err(InvalidName::EmptyLabel),
            (_, n) if n > MAX_LABEL => return Err(InvalidName::LabelTooLong),
            ([b'-', ..] | [.., b'-'], _) => return Err(InvalidName::HyphenAtEdge),
            _ => {}
        }
    }
    // A last label that a URL parser would read as a number makes the whole name an IPv4 address
    // (WHATWG URL §3.5 "ends in a number"): 10.1, 0x7f.1 and 127.0.0.1 alike.
    let last = name.rsplit(|&b| b == b'.').next().unwrap_or_default();
    let hex = matches!(last, [b'0', b'x', rest @ ..] if rest.iter().all(u8::is_ascii_hexdigit));
    if hex || last.iter().all(u8::is_ascii_digit) {
        return Err(InvalidName::IpAddress);
    }
    Ok(())
}

/// Why some bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvalidName {
    /// No bytes at all.
    Empty,
    /// More than 253 bytes (RFC 1035 §2.3.4).
    TooLong,
    /// Two dots in a row, or a leading dot.
    EmptyLabel,
    /// A label of more than 63 bytes (RFC 1035 §2.3.4).
    LabelTooLong,
    /// A label that begins or ends with a hyphen (RFC 952, RFC 1123 §2.1).
    HyphenAtEdge,
    /// A trailing dot, which RFC 6066 §3 leaves out of a server name.
    TrailingDot,
    /// A byte that no host name has: anything but letters, digits, hyphen, underscore and dot.
    Character(u8),
    /// An IP address, which RFC 6066 §3 forbids as a server name.
    IpAddress,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong => write!(f, "is longer than {MAX_NAME} bytes"),
            Self::EmptyLabel => f.write_str("has an empty label"),
            Self::LabelTooLong => write!(f, "has a label longer than {MAX_LABEL} bytes"),
            Self::HyphenAtEdge => f.write_str("has a label that begins or ends with a hyphen"),
            Self::TrailingDot => f.write_str("ends with a dot"),
            Self::Character(byte) => write!(f, "has the byte '{}', which no host name has", byte.escape_ascii()),
            Self::IpAddress => f.write_str("is an IP address"),
        }
    }
}

impl std::error::Error for InvalidName {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Lets a map keyed by `Name` be asked with a plain, already lowercase `&str`.
impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let name = Name::parse("Reports.S3.ap-northeast-1.amazonAWS.com").unwrap();
        assert_eq!(name.as_str(), "reports.s3.ap-northeast-1.amazonaws.com");
        assert_eq!(name, Name::parse("reports.s3.ap-northeast-1.amazonaws.com").unwrap());
        assert_eq!(name.parent(), Some("s3.ap-northeast-1.amazonaws.com"));
        assert_eq!(name.labels().next_back(), Some("com"));
        assert_eq!(Name::spelling("Reports.S3.ap-northeast-1.amazonAWS.com").as_deref(), Ok(name.as_str()));
        assert!(matches!(Name::spelling(name.as_str()), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for (text, expected) in [
            ("", InvalidName::Empty),
            ("a..b", InvalidName::EmptyLabel),
            (".a", InvalidName::EmptyLabel),
            ("a.", InvalidName::TrailingDot),
            (".", InvalidName::TrailingDot),
            ("-a.b", InvalidName::HyphenAtEdge),
            ("a-.b", InvalidName::HyphenAtEdge),
            ("a b", InvalidName::Character(b' ')),
            ("a\0.com", InvalidName::Character(0)),
            ("a\n.com", InvalidName::Character(b'\n')),
            ("*.com", InvalidName::Character(b'*')),
            ("b\u{fc}cher.example", InvalidName::Character(0xc3)),
            ("127.0.0.1", InvalidName::IpAddress),
            ("2130706433", InvalidName::IpAddress),
            ("0x7f.0x1", InvalidName::IpAddress),
            ("10.1", InvalidName::IpAddress),
            ("::1", InvalidName::IpAddress),
            ("fe80::1", InvalidName::IpAddress),
            ("[::1]", InvalidName::Character(b'[')),
            ("www.example.com:443", InvalidName::Character(b':')),
            (&long_label, InvalidName::LabelTooLong),
            (&long_name, InvalidName::TooLong),
        ] {
            assert_eq!(Name::parse(text), Err(expected), "{text:?}");
            assert_eq!(Name::spelling(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn limits_are_inclusive() {
        let label = "a".repeat(63);
        let name = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name.len(), MAX_NAME);
        assert!(Name::parse(&name).is_ok());
        assert!(Name::parse("_acme-challenge.example.org").unwrap().has_underscore());
        assert!(Name::parse("xn--bcher-kva.example").is_ok());
        assert!(Name::parse("3com.com").is_ok());
        assert!(Name::parse("localhost").is_ok());
    }
}
