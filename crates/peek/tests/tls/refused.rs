//! Every cause of a refusal: the exact cause, label and alert, however the bytes are delivered.

use sekisho_name::InvalidName;
use sekisho_peek::tls::{Cap, Fault, Limits, Obsolete, Refusal, inspect};

use crate::craft::{
    ALPN, ECH, Hello, SERVER_NAME, SUPPORTED_VERSIONS, alpn, host_name, message, patched, record, record_of, records,
    server_name, vec8, vec16,
};
use crate::fragments::final_answer_in_pieces;

/// Bytes, and what they must get.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) bytes: Vec<u8>,
    refusal: Refusal,
    label: &'static str,
    alert: Option<u8>,
}

const HOST: &str = "reports.example";

/// Where a crafted hello in one record has what is patched: record header, message header, version and random, then.
const SESSION_ID: usize = 5 + 4 + 2 + 32;
const SUITES: usize = SESSION_ID + 1;
const COMPRESSION: usize = SUITES + 4;
const EXTENSIONS: usize = COMPRESSION + 2;

#[test]
fn every_case_gets_its_cause_label_and_alert_in_any_delivery() {
    for Case { bytes, refusal, label, alert } in cases() {
        let got = inspect(&bytes, &Limits::default());
        assert_eq!(got, Err(refusal), "{}", bytes.escape_ascii());
        assert_eq!((refusal.label(), refusal.alert()), (label, alert), "{refusal:?}");
        for size in [1, 2, 3, 5, 7] {
            assert_eq!(final_answer_in_pieces(&bytes, size), got, "{refusal:?} in pieces of {size}");
        }
        let more = [&bytes[..], &[0x16; 600]].concat();
        assert_eq!(inspect(&more, &Limits::default()), got, "{refusal:?} with more behind");
    }
}

/// All variants of an enum; one that is added stops this from compiling, until it is listed and has a case.
macro_rules! all_of {
    ($of:ident: $($variant:ident $(($payload:expr))?),+ $(,)?) => {{
        let _exhaustive = |value: $of| match value { $($of::$variant { .. })|+ => () };
        [$($of::$variant $(($payload))?),+]
    }};
}

#[test]
fn every_cause_has_a_case() {
    let faults = all_of!(
        Fault: NotHandshake, EmptyRecord, RecordOverflow, RecordVersion, NotClientHello, AfterHello, Truncated,
        SessionId, CipherSuites, Compression, ExtensionsLength, ExtensionLength, ServerNameLength, NoServerName,
        NameType, EmptyHostName, SupportedVersions, Alpn,
    );
    let names = all_of!(
        InvalidName: Empty, TooLong, EmptyLabel, LabelTooLong, HyphenAtEdge, TrailingDot, Character(0), IpAddress,
    );
    let all = all_of!(
        Refusal: NoSni, DuplicateExtension(SERVER_NAME), MultipleNames, Malformed(Fault::Alpn),
        InvalidName(InvalidName::IpAddress), HelloTooLarge(Cap::Raw), ObsoleteProtocol(Obsolete::Ssl2), NotTls,
    );
    let caps = all_of!(Cap: Handshake, Raw).map(Refusal::HelloTooLarge);
    let obsolete = all_of!(Obsolete: Ssl2, Version(0x0300)).map(Refusal::ObsoleteProtocol);
    let mut all: Vec<_> = all.into_iter().chain(caps).chain(obsolete).collect();
    all.extend(faults.map(Refusal::Malformed));
    // A name without bytes is `EmptyHostName` before.
    all.extend(names.into_iter().filter(|name| *name != InvalidName::Empty).map(Refusal::InvalidName));
    let cases: Vec<_> = cases().into_iter().map(|case| case.refusal).collect();
    for refusal in all {
        assert!(cases.contains(&refusal), "no case for {refusal:?}");
    }
}

/// At least one case for every cause.
pub(crate) fn cases() -> Vec<Case> {
    [not_a_hello(), obsolete(), too_large(), fixed_part(), extensions(), names(), invalid_names()].concat()
}

fn not_a_hello() -> Vec<Case> {
    let whole = Hello::named(HOST).record();
    let first = record(&Hello::named(HOST).message()[..20]);
    let behind = |bytes: &[u8]| [&first, bytes].concat();
    let two = record(&[Hello::named(HOST).message(), Hello::named("other.example").message()].concat());
    let mut out = Vec::new();
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-", b"\0", b"\x16\x02", b"\x16\x04\x01", b"\x13\x03\x01\0\x05"]
    {
        out.push(Case { bytes: bytes.to_vec(), refusal: Refusal::NotTls, label: "not_tls", alert: None });
    }
    // A ChangeCipherSpec, an alert or data where the hello belongs, or between its records.
    for kind in [0x14, 0x15, 0x17, 0x18] {
        out.push(malformed(record_of(kind, &[1]), Fault::NotHandshake, 10));
        out.push(malformed(behind(&record_of(kind, &[1])), Fault::NotHandshake, 10));
    }
    out.push(malformed(behind(&[0x42]), Fault::NotHandshake, 10));
    out.push(malformed(record(&[]), Fault::EmptyRecord, 10));
    out.push(malformed(behind(&record(&[])), Fault::EmptyRecord, 10));
    out.push(malformed(b"\x16\x03\x01\x40\x01".to_vec(), Fault::RecordOverflow, 22));
    out.push(malformed(behind(b"\x16\x03\x03\xff\xff"), Fault::RecordOverflow, 22));
    out.push(malformed(behind(&[0x16, 2]), Fault::RecordVersion, 50));
    out.push(malformed(behind(&[0x16, 4, 3, 0, 1, 0]), Fault::RecordVersion, 50));
    for kind in [0, 2, 11, 24] {
        out.push(malformed(patched(whole.clone(), 5, kind), Fault::NotClientHello, 10));
    }
    out.push(malformed(two, Fault::AfterHello, 50));
    out.push(malformed(record(&[Hello::named(HOST).message(), vec![0]].concat()), Fault::AfterHello, 50));
    // An obsolete version too: which of the two it is told for must not depend on the delivery.
    let obsolete = Hello { version: 0x0300, ..Hello::named(HOST) }.message();
    out.push(malformed(record(&[obsolete, vec![0]].concat()), Fault::AfterHello, 50));
    // A message too short for its version, with another behind it: what is behind is no version.
    out.push(malformed(record(&[message(1, &[]), message(1, &[])].concat()), Fault::AfterHello, 50));
    out
}

fn obsolete() -> Vec<Case> {
    let obsolete = |bytes: Vec<u8>, which| Case {
        bytes,
        refusal: Refusal::ObsoleteProtocol(which),
        label: "obsolete_protocol",
        alert: Some(70),
    };
    let ssl2 = [&[0x80, 0x1c, 1, 0, 2, 0, 3, 0, 0, 0, 16, 1, 0, 0x80][..], &[0x5a; 16]].concat();
    let of = |version| Hello { version, ..Hello::named(HOST) }.record();
    vec![
        obsolete(ssl2.clone(), Obsolete::Ssl2),
        // The same from a client that would also speak TLS 1.0.
        obsolete(patched(patched(ssl2, 3, 3), 4, 1), Obsolete::Ssl2),
        obsolete(of(0x0300), Obsolete::Version(0x0300)),
        obsolete(of(0x0002), Obsolete::Version(0x0002)),
        obsolete(of(0x02ff), Obsolete::Version(0x02ff)),
        // The version is judged before the message is whole.
        obsolete(of(0x0300)[..11].to_vec(), Obsolete::Version(0x0300)),
    ]
}

fn too_large() -> Vec<Case> {
    let too_large = |bytes: Vec<u8>, cap| Case {
        bytes,
        refusal: Refusal::HelloTooLarge(cap),
        label: "hello_too_large",
        alert: Some(50),
    };
    let padded = |len: usize| Hello::named(HOST).with(21, vec![0; len]).message();
    let large = padded(16_384 + 1 - padded(0).len());
    vec![
        too_large(records(&large, 16_384), Cap::Handshake),
        // Its length alone is enough.
        too_large(b"\x16\x03\x01\x02\x00\x01\x00\x3f\xfd".to_vec(), Cap::Handshake),
        too_large(b"\x16\x03\x01\x02\x00\x01\xff\xff\xff".to_vec(), Cap::Handshake),
        // 32,768 bytes hold 5,461 one-byte records.
        too_large(records(&padded(5_500), 1), Cap::Raw),
        too_large(records(&padded(15_000), 4), Cap::Raw),
    ]
}

fn fixed_part() -> Vec<Case> {
    let hello = || Hello::named(HOST);
    let cut = |len: usize| record(&message(1, &hello().message()[4..4 + len]));
    let mut out: Vec<_> = [0, 1, 2, 33, 34].map(|len| malformed(cut(len), Fault::Truncated, 50)).into();
    out.push(malformed(cut(35), Fault::Truncated, 50));
    out.push(malformed(Hello { session_id: vec![7; 33], ..hello() }.record(), Fault::SessionId, 50));
    out.push(malformed(patched(hello().record(), SESSION_ID, 255), Fault::SessionId, 50));
    out.push(malformed(Hello { suites: Vec::new(), ..hello() }.record(), Fault::CipherSuites, 50));
    out.push(malformed(Hello { suites: vec![0x13, 1, 0x13], ..hello() }.record(), Fault::CipherSuites, 50));
    out.push(malformed(patched(hello().record(), SUITES, 0xfe), Fault::CipherSuites, 50));
    let with_id = Hello { session_id: vec![7; 32], ..hello() };
    out.push(malformed(patched(with_id.record(), SUITES + 32, 0xfe), Fault::CipherSuites, 50));
    out.push(malformed(Hello { compression: Vec::new(), ..hello() }.record(), Fault::Compression, 50));
    out.push(malformed(patched(hello().record(), COMPRESSION, 0xff), Fault::Compression, 50));
    out.push(malformed(patched(with_id.record(), COMPRESSION + 32, 0xff), Fault::Compression, 50));
    let extensions = hello().record()[EXTENSIONS + 1];
    for wrong in [0, extensions - 1, extensions + 1] {
        out.push(malformed(patched(hello().record(), EXTENSIONS + 1, wrong), Fault::ExtensionsLength, 50));
    }
    out.push(malformed(patched(hello().record(), EXTENSIONS, 0xff), Fault::ExtensionsLength, 50));
    let bare = Hello { extensions: None, ..hello() }.message();
    for behind in [&[0][..], &[0, 0, 0]] {
        let body = [&bare[4..], behind].concat();
        out.push(malformed(record(&message(1, &body)), Fault::ExtensionsLength, 50));
    }
    out
}

fn extensions() -> Vec<Case> {
    let hello = || Hello::named(HOST);
    let twice = |kind: u16| Case {
        bytes: hello().with(kind, host_name(b"other.example")).with(kind, host_name(b"other.example")).record(),
        refusal: Refusal::DuplicateExtension(kind),
        label: "duplicate_extension",
        alert: Some(47),
    };
    let mut out: Vec<_> = (0..70).chain([0x0a0a, ECH, 0xffff]).map(twice).collect();
    // A stray byte behind the last extension, and a last extension that is cut off.
    for stray in [&[0][..], &[0, 1, 0], &[0, 1, 0, 1]] {
        let message = hello().message();
        let block = [&message[EXTENSIONS + 2 - 5..], stray].concat();
        let body = [&message[4..EXTENSIONS - 5], &vec16(&block)].concat();
        out.push(malformed(record(&crate::craft::message(1, &body)), Fault::ExtensionLength, 50));
    }
    for list in [vec![], vec8(&[]), vec8(&[3, 4, 3]), vec![2, 3], vec![2, 3, 4, 3], vec![3, 4]] {
        out.push(malformed(hello().with(SUPPORTED_VERSIONS, list).record(), Fault::SupportedVersions, 50));
    }
    let good = alpn(&[b"h2"]);
    for list in [vec![], alpn(&[]), alpn(&[b""]), alpn(&[b"h2", b""]), vec16(b"\x03h2"), [&good[..], b"h"].concat()] {
        out.push(malformed(hello().with(ALPN, list).record(), Fault::Alpn, 50));
    }
    out
}

fn names() -> Vec<Case> {
    let with = |inside: Vec<u8>| Hello::nameless().first(SERVER_NAME, inside).record();
    let no_sni =
        |hello: Hello| Case { bytes: hello.record(), refusal: Refusal::NoSni, label: "no_sni", alert: Some(109) };
    let several = |entries| Case {
        bytes: with(server_name(entries)),
        refusal: Refusal::MultipleNames,
        label: "multiple_names",
        alert: Some(47),
    };
    let host = HOST.as_bytes();
    vec![
        no_sni(Hello::nameless()),
        no_sni(Hello { extensions: None, ..Hello::nameless() }),
        no_sni(Hello { extensions: Some(Vec::new()), ..Hello::nameless() }),
        several(&[(0, host), (0, b"other.example")]),
        several(&[(0, host), (0, host)]),
        several(&[(0, host), (0, b"\0"), (0, b"127.0.0.1")]),
        malformed(with(vec![]), Fault::ServerNameLength, 50),
        malformed(with(vec![0]), Fault::ServerNameLength, 50),
        malformed(with([&host_name(host)[..], &[0]].concat()), Fault::ServerNameLength, 50),
        malformed(with(vec16(&[0])), Fault::ServerNameLength, 50),
        malformed(with(vec16(&[&[0, 0, 16], host].concat())), Fault::ServerNameLength, 50),
        malformed(with(vec16(&[&[0, 0, 14], host].concat())), Fault::NameType, 47),
        malformed(with(vec16(&[])), Fault::NoServerName, 50),
        malformed(with(server_name(&[(1, host)])), Fault::NameType, 47),
        malformed(with(server_name(&[(0, host), (1, host)])), Fault::NameType, 47),
        malformed(with(server_name(&[(1, host), (0, host)])), Fault::NameType, 47),
        malformed(with(host_name(b"")), Fault::EmptyHostName, 50),
        malformed(with(server_name(&[(0, host), (0, b"")])), Fault::EmptyHostName, 50),
    ]
}

fn invalid_names() -> Vec<Case> {
    let long_label = "a".repeat(64);
    let long = ["a".repeat(63).as_str(); 4].join(".");
    let invalid = |(host, why): (&[u8], InvalidName)| Case {
        bytes: Hello::nameless().first(SERVER_NAME, host_name(host)).record(),
        refusal: Refusal::InvalidName(why),
        label: "invalid_name",
        alert: Some(47),
    };
    [
        (long.as_bytes(), InvalidName::TooLong),
        (b"a..example", InvalidName::EmptyLabel),
        (b".example", InvalidName::EmptyLabel),
        (long_label.as_bytes(), InvalidName::LabelTooLong),
        (b"-a.example", InvalidName::HyphenAtEdge),
        (b"reports.example.", InvalidName::TrailingDot),
        (b"reports.example\0", InvalidName::Character(0)),
        (b"\0", InvalidName::Character(0)),
        (b"a.example\n{\"forged\": true}", InvalidName::Character(b'\n')),
        (b"*.example", InvalidName::Character(b'*')),
        (b"b\xc3\xbccher.example", InvalidName::Character(0xc3)),
        (b"192.0.2.1", InvalidName::IpAddress),
        (b"0x7f.1", InvalidName::IpAddress),
    ]
    .map(invalid)
    .into()
}

fn malformed(bytes: Vec<u8>, fault: Fault, alert: u8) -> Case {
    Case { bytes, refusal: Refusal::Malformed(fault), label: "malformed", alert: Some(alert) }
}
