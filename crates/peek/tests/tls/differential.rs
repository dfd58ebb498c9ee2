//! rustls's acceptor as a second reader: both read the same, or the disagreement is listed here with its reason.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rustls::server::Acceptor;
use rustls::{Error, InvalidMessage, PeerIncompatible};
use sekisho_peek::tls::{Fault, Limits, MAX_ALPN, MAX_ALPN_LEN, Obsolete, Progress, Refusal, inspect};

use crate::corpus::{Flight, hellos, refused};
use crate::craft::{ALPN, Hello, PRE_SHARED_KEY, SERVER_NAME, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, alpn, records};
use crate::fragments::message;
use crate::mutations::each_mutation;

/// Every way in which the two may differ, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Disagreement {
    /// Refused here, read there: rustls leaves a hello without a name to its configuration; here there is nothing to
    /// decide on.
    NoName,
    /// Refused here, read there: rustls takes an IP address for no name; RFC 6066 §3 forbids it.
    Address,
    /// Refused here, read there: rustls reads over the dot; RFC 6066 §3 leaves it out, and a server that does not read
    /// over it sees another name.
    TrailingDot,
    /// Refused here, read there: rustls drops what stands behind an entry of an unknown type; another server may not.
    NameType,
    /// Refused here, read there: rustls looks at versions when it chooses one, which its acceptor does not do.
    Version,
    /// Refused here, read there: rustls's cap is 64 KiB.
    Cap,
    /// Refused here at the byte that settles it; rustls waits for the header, the message or the record to be whole.
    Sooner,
    /// Read here, refused there: rustls reads extensions that are the server's business and say nothing of the name.
    OtherExtensions,
    /// Read here, refused there: the server's business too; clients must offer null (RFC 8446 §4.1.2).
    NullCompression,
    /// Read here, refused there: TLS 1.0 and 1.1 hellos have no `signature_algorithms`, and rustls speaks neither.
    SignatureAlgorithms,
}

const ALL: [Disagreement; 10] = [
    Disagreement::NoName,
    Disagreement::Address,
    Disagreement::TrailingDot,
    Disagreement::NameType,
    Disagreement::Version,
    Disagreement::Cap,
    Disagreement::Sooner,
    Disagreement::OtherExtensions,
    Disagreement::NullCompression,
    Disagreement::SignatureAlgorithms,
];

#[derive(Debug, PartialEq)]
enum Answer<Why> {
    Waits,
    Read { name: Option<String>, alpn: Vec<String> },
    Refused(Why),
}

/// How the two differ on `bytes`, if they do.
///
/// Panics when the difference is none that is listed.
fn disagreement(bytes: &[u8]) -> Option<Disagreement> {
    let (ours, theirs) = (ours(bytes), theirs(bytes));
    match (&ours, &theirs) {
        (Answer::Waits, Answer::Waits) | (Answer::Refused(_), Answer::Refused(_)) => None,
        (Answer::Read { name, alpn }, Answer::Read { name: their_name, alpn: their_alpn })
            if (name, alpn) == (their_name, their_alpn) =>
        {
            None
        }
        (Answer::Refused(refusal), Answer::Read { name, .. }) => Some(match (refusal, name) {
            (Refusal::NoSni, None) => Disagreement::NoName,
            (Refusal::InvalidName(sekisho_name::InvalidName::IpAddress), None) => Disagreement::Address,
            (Refusal::InvalidName(sekisho_name::InvalidName::TrailingDot), Some(name)) if !name.ends_with('.') => {
                Disagreement::TrailingDot
            }
            (Refusal::Malformed(Fault::NameType), Some(_)) => Disagreement::NameType,
            (Refusal::ObsoleteProtocol(Obsolete::Version(..0x0301)), _) => Disagreement::Version,
            (Refusal::HelloTooLarge(_), _) => Disagreement::Cap,
            _ => panic!("{ours:?}, but rustls {theirs:?}: {}", bytes.escape_ascii()),
        }),
        (Answer::Refused(_), Answer::Waits) => {
            // Whatever makes it whole, rustls does not read it either, but for a reason that is listed.
            let whole = [bytes, &vec![0; 20_000]].concat();
            assert_ne!(self::theirs(&whole), Answer::Waits, "{ours:?}: {}", bytes.escape_ascii());
            disagreement(&whole);
            Some(Disagreement::Sooner)
        }
        (Answer::Read { name, alpn }, Answer::Refused(error)) => {
            // Without what is not read here, rustls reads the same.
            let expected = Answer::Read { name: name.clone(), alpn: alpn.clone() };
            assert_eq!(self::theirs(&reduced(bytes)), expected, "{theirs:?}: {}", bytes.escape_ascii());
            Some(match error {
                Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired) => Disagreement::NullCompression,
                Error::PeerIncompatible(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => {
                    Disagreement::SignatureAlgorithms
                }
                // A type that comes twice is for everyone to refuse.
                Error::InvalidMessage(InvalidMessage::DuplicateExtension(_)) => panic!("{theirs:?}"),
                Error::InvalidMessage(_) => Disagreement::OtherExtensions,
                _ => panic!("{ours:?}, but rustls {theirs:?}: {}", bytes.escape_ascii()),
            })
        }
        _ => panic!("{ours:?}, but rustls {theirs:?}: {}", bytes.escape_ascii()),
    }
}

fn ours(bytes: &[u8]) -> Answer<Refusal> {
    match inspect(bytes, &Limits::default()) {
        Ok(Progress::Need { .. }) => Answer::Waits,
        Ok(Progress::Done(hello)) => Answer::Read {
            name: Some(hello.name.to_string()),
            alpn: hello.alpn.iter().map(ToString::to_string).collect(),
        },
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn theirs(mut bytes: &[u8]) -> Answer<Error> {
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(str::to_owned);
                let alpn = hello.alpn().into_iter().flatten().take(MAX_ALPN).map(shown).collect();
                return Answer::Read { name, alpn };
            }
            Err((error, _)) => return Answer::Refused(error),
            Ok(None) if bytes.is_empty() => return Answer::Waits,
            Ok(None) => assert_ne!(acceptor.read_tls(&mut bytes).unwrap(), 0),
        }
    }
}

/// A protocol as this crate shows it: what is plain as it is, and all of what is not escaped, its quotes too.
fn shown(protocol: &[u8]) -> String {
    let plain = protocol.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    if plain && protocol.len() <= MAX_ALPN_LEN {
        return protocol.iter().copied().map(char::from).collect();
    }
    protocol.escape_ascii().map(char::from).take(MAX_ALPN_LEN).collect()
}

/// A hello that is read, without what its reading does not touch: other extensions and compression methods.
fn reduced(bytes: &[u8]) -> Vec<u8> {
    let Ok(Progress::Done(read)) = inspect(bytes, &Limits::default()) else { panic!("not read") };
    let message = message(&bytes[..read.raw_len]);
    let mut rest = &message[4 + 2 + 32..];
    let mut vector = |width: usize| {
        let len = rest[..width].iter().fold(0, |len, byte| len * 256 + usize::from(*byte));
        let (inside, behind) = rest[width..].split_at(len);
        rest = behind;
        inside
    };
    let (session_id, suites, _compression, mut block) = (vector(1), vector(2), vector(1), vector(2));
    let mut hello = Hello { session_id: session_id.to_vec(), suites: suites.to_vec(), ..Hello::nameless() };
    while let [a, b, high, low, behind @ ..] = block {
        let kind = u16::from_be_bytes([*a, *b]);
        let (data, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        if [SERVER_NAME, ALPN, SUPPORTED_VERSIONS].contains(&kind) {
            hello = hello.with(kind, data);
        }
        block = behind;
    }
    hello.record()
}

#[test]
fn both_read_the_same_but_for_what_is_listed_and_all_that_is_listed_occurs() {
    let mut seen = BTreeSet::new();
    for case in crate::refused::cases() {
        seen.extend(disagreement(&case.bytes));
    }
    seen.extend(disagreement(&Hello::named("a.example").first(PRE_SHARED_KEY, [0; 4]).record()));
    let flights: Vec<_> = hellos().into_iter().chain(refused().into_iter().map(|(_, flight)| flight)).collect();
    each_mutation(&flights, |_, _, bytes| seen.extend(disagreement(bytes)));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ALL);
}

#[test]
fn both_read_every_real_hello_in_any_records() {
    let speaks = |bytes: &[u8]| disagreement(bytes).is_none();
    let (mut both, mut old) = (0, 0);
    for Flight { file, bytes } in hellos() {
        if disagreement(&bytes) == Some(Disagreement::SignatureAlgorithms) {
            assert!(file.contains("tls1.0") || file.contains("tls1.1"), "{file}");
            old += 1;
            continue;
        }
        assert!(speaks(&bytes), "{file}");
        let Ok(Progress::Done(hello)) = inspect(&bytes, &Limits::default()) else { panic!("{file}") };
        for size in [1, 3, 64, 1000] {
            assert!(speaks(&records(&message(&bytes[..hello.raw_len]), size)), "{file} in records of {size}");
        }
        for end in 0..hello.raw_len {
            assert!(speaks(&bytes[..end]), "{file} up to {end}");
        }
        both += 1;
    }
    assert!(both > 55 && old < 10, "{both} read by both, {old} older than rustls");
}

proptest! {
    #[test]
    fn neither_is_led_astray_by_any_extensions(
        kinds in proptest::collection::vec((0_u16..52, proptest::collection::vec(any::<u8>(), 0..12)), 0..5),
        names in proptest::collection::vec((0_u8..2, "[-a-zA-Z0-9._]{0,9}"), 0..3),
        protocols in proptest::collection::vec("[!-~]{1,5}", 0..3),
        size in 1_usize..200,
    ) {
        let entries: Vec<_> = names.iter().map(|(kind, name)| (*kind, name.as_bytes())).collect();
        let mut hello = Hello::nameless().first(SERVER_NAME, crate::craft::server_name(&entries));
        if !protocols.is_empty() {
            let protocols: Vec<_> = protocols.iter().map(String::as_bytes).collect();
            hello = hello.with(ALPN, alpn(&protocols));
        }
        hello.extensions.get_or_insert_default().extend(kinds.into_iter().filter(|(kind, _)| *kind != SIGNATURE_ALGORITHMS));
        disagreement(&records(&hello.message(), size));
    }
}
