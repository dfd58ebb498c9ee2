//! JA4 against the examples that its authors publish.

use sekisho_peek::tls::{Limits, ja4};

use crate::craft::{ALPN, Hello, SIGNATURE_ALGORITHMS, SUPPORTED_VERSIONS, alpn, host_name, records, vec16, versions};

fn wire(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// The client of the specification's worked example (Chrome), extensions in the order given there.
fn example() -> Hello {
    let suites = [
        0x0a0a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
        0x002f, 0x0035,
    ];
    let algorithms = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];
    let mut hello = Hello { suites: wire(&suites), extensions: Some(Vec::new()), ..Hello::nameless() };
    for kind in [
        0x1a1a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01,
        0x000b, 0x000a, 0x0015,
    ] {
        let data = match kind {
            0 => host_name(b"a.example"),
            ALPN => alpn(&[b"h2", b"http/1.1"]),
            SIGNATURE_ALGORITHMS => vec16(&wire(&algorithms)),
            SUPPORTED_VERSIONS => versions(&[0x2a2a, 0x0304, 0x0303]),
            _ => Vec::new(),
        };
        hello = hello.with(kind, data);
    }
    hello
}

fn of(hello: &Hello) -> String {
    ja4(&hello.record(), &Limits::default()).unwrap()
}

#[test]
fn the_published_example_is_met() {
    assert_eq!(of(&example()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    let in_pieces = records(&example().message(), 3);
    assert_eq!(ja4(&in_pieces, &Limits::default()).as_deref(), Some("t13d1516h2_8daaf6152771_e5627efa2ab1"));
}

#[test]
fn what_is_missing_has_its_sign() {
    let bare = Hello { extensions: None, ..Hello::nameless() };
    assert_eq!(of(&bare), "t12i010000_0f2cb44170f4_000000000000");
    let odd = |protocol: &[u8]| of(&Hello::named("a.example").with(ALPN, alpn(&[protocol])))[8..10].to_owned();
    assert_eq!([odd(b"h3"), odd(b"x"), odd(b"\xab\xcd"), odd(b"a-"), odd(b"\x30\xab")], ["h3", "xx", "ad", "6d", "3b"]);
    assert_eq!(ja4(b"GET / HTTP/1.1\r\n", &Limits::default()), None);
    assert_eq!(ja4(&example().record()[..100], &Limits::default()), None);
}

#[test]
fn real_bytes_of_chrome_have_the_fingerprints_that_are_published_for_it() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/hello");
    for (file, expected) in [
        ("imitation-chrome110", "t13d1516h2_8daaf6152771_e5627efa2ab1"),
        ("imitation-chrome124", "t13d1516h2_8daaf6152771_02713d6af862"),
    ] {
        let bytes = std::fs::read(format!("{corpus}/{file}.bin")).unwrap();
        assert_eq!(ja4(&bytes, &Limits::default()).as_deref(), Some(expected), "{file}");
    }
}
