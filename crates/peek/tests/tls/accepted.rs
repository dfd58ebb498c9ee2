//! What a hello may hold without any harm to its one reading.

use sekisho_peek::tls::{ClientHello, Limits, MAX_ALPN, MAX_ALPN_LEN, MAX_VERSIONS, Progress, Refusal, inspect};

use crate::craft::{
    ALPN, ECH, Hello, SERVER_NAME, SUPPORTED_VERSIONS, alpn, host_name, patched, record, record_of, versions,
};

fn read(bytes: &[u8]) -> ClientHello {
    match inspect(bytes, &Limits::default()) {
        Ok(Progress::Done(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

fn named() -> Hello {
    Hello::named("reports.example")
}

#[test]
fn the_least_hello_there_is() {
    let bytes = Hello { extensions: None, ..Hello::nameless() }.first(SERVER_NAME, host_name(b"a")).record();
    let hello = read(&bytes);
    assert_eq!(hello.name.as_str(), "a");
    assert_eq!((hello.legacy_version, hello.versions), (0x0303, vec![0x0303]));
    assert!(hello.alpn.is_empty() && !hello.ech);
    assert_eq!((hello.raw_len, hello.handshake_len), (bytes.len(), bytes.len() - 5));
}

#[test]
fn a_name_is_lowercased_and_may_have_an_underscore() {
    assert_eq!(read(&Hello::named("Reports.EXAMPLE").record()).name.as_str(), "reports.example");
    assert_eq!(read(&Hello::named("_a.b_c.example").record()).name.as_str(), "_a.b_c.example");
}

#[test]
fn records_behind_the_hello_are_not_part_of_it() {
    let hello = named().record();
    let expected = read(&hello);
    assert_eq!(expected.raw_len, hello.len());
    let change_cipher_spec = record_of(0x14, &[1]);
    let early_data = record_of(0x17, &[0xaa; 500]);
    for behind in [
        change_cipher_spec.clone(),
        early_data.clone(),
        [change_cipher_spec, early_data].concat(),
        record_of(0x15, &[1, 0]),
        record(&named().message()),
        b"\x16".to_vec(),
        b"\x16\x03\x03\x00\x00".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 40_000],
    ] {
        assert_eq!(read(&[&hello[..], &behind].concat()), expected);
    }
}

#[test]
fn the_record_headers_minor_version_is_never_judged() {
    for minor in [0, 1, 3, 4, 0xff] {
        assert_eq!(read(&patched(named().record(), 2, minor)), read(&named().record()));
    }
}

#[test]
fn grease_is_read_over() {
    let greased = Hello { suites: vec![0x2a, 0x2a, 0x13, 0x01], ..named() }
        .first(0x4a4a, [])
        .with(SUPPORTED_VERSIONS, versions(&[0x7a7a, 0x0304, 0x0303]))
        .with(ALPN, alpn(&[b"\x1a\x1a", b"h2"]))
        .with(0xdada, [0]);
    let hello = read(&greased.record());
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.alpn.iter().map(|protocol| &**protocol).collect::<Vec<_>>(), ["\\x1a\\x1a", "h2"]);
    // Only the sixteen reserved values are GREASE.
    let alike = named().with(SUPPORTED_VERSIONS, versions(&[0x0a1a, 0x1b1b, 0x0303]));
    assert_eq!(read(&alike.record()).versions, [0x1b1b, 0x0a1a, 0x0303]);
}

#[test]
fn ech_is_seen_and_changes_nothing_else() {
    // As browsers grease it: outer, HKDF-SHA256, AES-128-GCM, a config id, an encapsulated key, a payload (RFC 9849 §5).
    let grease = [&[0, 0, 1, 0, 1, 0x42, 0, 32][..], &[0x77; 32], &[0, 144], &[0x88; 144]].concat();
    for inside in [grease, Vec::new(), vec![0xff; 3]] {
        let hello = read(&named().with(ECH, inside).record());
        assert!(hello.ech);
        assert_eq!(hello.name.as_str(), "reports.example");
    }
    assert!(!read(&named().with(0xfe0c, []).record()).ech);
}

#[test]
fn versions_are_sorted_single_and_bounded() {
    let offered = |list: &[u16]| read(&named().with(SUPPORTED_VERSIONS, versions(list)).record()).versions;
    assert_eq!(offered(&[0x0302, 0x0304, 0x0303, 0x0304]), [0x0304, 0x0303, 0x0302]);
    assert!(offered(&[0x0a0a]).is_empty());
    let many: Vec<u16> = (0x0400..0x0440).collect();
    assert_eq!(offered(&many), (0x0438..0x0440).rev().collect::<Vec<_>>());
    assert_eq!(MAX_VERSIONS, 8);
}

#[test]
fn without_supported_versions_the_hellos_own_version_is_the_highest() {
    for (own, highest) in [(0x0301, 0x0301), (0x0302, 0x0302), (0x0303, 0x0303), (0x0304, 0x0303), (0xffff, 0x0303)] {
        let hello = read(&Hello { version: own, ..named() }.record());
        assert_eq!((hello.legacy_version, hello.versions), (own, vec![highest]));
    }
}

#[test]
fn protocols_are_escaped_and_bounded() {
    let offered = |list: &[&[u8]]| {
        let hello = read(&named().with(ALPN, alpn(list)).record());
        hello.alpn.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(offered(&[b"http/1.1"]), ["http/1.1"]);
    assert_eq!(offered(&[b"a\nb\\\x1b[2J\xff"]), ["a\\nb\\\\\\x1b[2J\\xff"]);
    assert_eq!(offered(&[&[b'a'; 32], &[b'b'; 33], &[0; 255]]), ["a".repeat(32), "b".repeat(32), "\\x00".repeat(8)]);
    assert_eq!(offered(&[b"x".as_slice(); 40]).len(), MAX_ALPN);
    assert_eq!(MAX_ALPN_LEN, 32);
}

#[test]
fn as_many_extensions_as_fit_are_read_and_one_of_them_twice_is_seen() {
    // The multiplication puts the types into an order that is no order.
    let kinds = (100..4_000).map(|n: u16| n.wrapping_mul(40_503)).filter(|kind| *kind > 63);
    let mut hello = named();
    hello.extensions.get_or_insert_default().extend(kinds.map(|kind| (kind, Vec::new())));
    assert!(hello.message().len() > 15_000);
    assert_eq!(read(&hello.record()).name.as_str(), "reports.example");
    let first = 101_u16.wrapping_mul(40_503);
    let twice = inspect(&hello.with(first, []).record(), &Limits::default());
    assert_eq!(twice, Err(Refusal::DuplicateExtension(first)));
}
