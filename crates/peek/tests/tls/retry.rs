//! Behind the first hello: a second one must name the same host, however both sides cut their bytes.

use sekisho_name::Name;
use sekisho_peek::tls::Limits;
use sekisho_peek::tls::retry::{Changed, MAX_EARLY, Watch};

use crate::craft::{ECH, Hello, message, record, record_of, records, vec8};

const HOST: &str = "a.example";

/// SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3), made apart from the code under test.
fn retry_random() -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(b"HelloRetryRequest").into()
}

/// A server's first message.
fn server_hello(random: [u8; 32]) -> Vec<u8> {
    message(2, &[&[3, 3][..], &random, &vec8(&[7; 32]), &[0x13, 1, 0], &[0, 6, 0, 51, 0, 2, 0, 23]].concat())
}

fn retry() -> Vec<u8> {
    record(&server_hello(retry_random()))
}

fn watch() -> Watch {
    Watch::new(Name::parse(HOST).unwrap(), false, Limits::default())
}

fn ccs() -> Vec<u8> {
    record_of(20, &[1])
}

/// Gives the client's bytes in pieces and collects what passes.
fn client(watch: &mut Watch, bytes: &[u8], piece: usize) -> Result<Vec<u8>, Changed> {
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for part in bytes.chunks(piece) {
        held.extend_from_slice(part);
        let pass = watch.client(&held)?;
        passed.extend(held.drain(..pass));
    }
    Ok(passed)
}

#[test]
fn the_same_name_passes_in_any_pieces_behind_whatever_belongs_there() {
    let hello = Hello::named(HOST);
    let early = record_of(23, &[9; 1000]);
    for second in [hello.record(), records(&hello.message(), 1), records(&hello.message(), 7)] {
        for before in [vec![], ccs(), early.clone(), [ccs(), early.clone(), early.clone()].concat()] {
            for piece in [1, 2, 5, 13, 100_000] {
                let mut watch = watch();
                retry().chunks(piece).for_each(|part| watch.server(part).unwrap());
                let bytes = [&before[..], &second, &record_of(23, b"the rest")].concat();
                assert_eq!(client(&mut watch, &bytes, piece), Ok(bytes));
                assert!(watch.is_settled());
            }
        }
    }
}

#[test]
fn another_name_or_none_does_not_pass() {
    let other = Hello::named("b.example");
    let nameless = Hello::nameless();
    for piece in [1, 5, 100_000] {
        let changed = |second: &[u8]| {
            let mut watch = watch();
            watch.server(&retry()).unwrap();
            client(&mut watch, &[&ccs()[..], second].concat(), piece).unwrap_err()
        };
        assert_eq!(changed(&other.record()), Changed::Name(Name::parse("b.example").unwrap()));
        assert_eq!(changed(&records(&other.message(), 3)).label(), "sni_changed");
        assert!(matches!(changed(&nameless.record()), Changed::NoHello(_)));
        assert!(matches!(changed(&record(&message(11, &[0; 40]))), Changed::NoHello(_)));
        assert_eq!(changed(&record_of(24, &[1])), Changed::Record);
        assert_eq!(changed(b"GET / HTTP/1.1\r\n"), Changed::Record);
    }
}

#[test]
fn a_second_hello_brings_no_ech_that_the_first_had_not() {
    let hidden = Hello::named(HOST).with(ECH, [0x5a; 40]);
    for (first_had_it, second, passes) in
        [(false, &hidden, false), (true, &hidden, true), (true, &Hello::named(HOST), true)]
    {
        for piece in [1, 5, 100_000] {
            let mut watch = Watch::new(Name::parse(HOST).unwrap(), first_had_it, Limits::default());
            watch.server(&retry()).unwrap();
            let passed = client(&mut watch, &second.record(), piece);
            assert_eq!(passed, if passes { Ok(second.record()) } else { Err(Changed::Ech) });
        }
    }
}

#[test]
fn a_client_that_does_not_wait_for_the_server_gets_nothing_past() {
    let lie = Hello::named("b.example").record();
    for piece in [1, 4, 100_000] {
        let mut early = watch();
        let passed = client(&mut early, &[&ccs()[..], &lie].concat(), piece).unwrap();
        assert_eq!(passed, ccs(), "the hello is held until the server has spoken");
        early.server(&retry()).unwrap();
        assert!(matches!(early.client(&lie), Err(Changed::Name(_))));

        let mut fine = watch();
        assert_eq!(fine.client(&lie), Ok(0));
        fine.server(&record(&server_hello([1; 32]))).unwrap();
        assert_eq!(fine.client(&lie), Ok(lie.len()), "no second hello is read by such a server");
    }
}

#[test]
fn what_is_no_tls_passes_to_a_server_that_asks_for_no_second_hello_and_to_no_other() {
    let lie = Hello::named("b.example").record();
    // The first may be passed over by a server, the second is no record of any TLS version.
    for strange in [&record_of(24, &[1])[..], &[22, 2, 0, 0, 1, 1], b"GET / HTTP/1.1\r\n"] {
        let bytes = [&ccs()[..], strange, &lie].concat();
        for piece in [1, 5, 100_000] {
            let mut retried = watch();
            assert_eq!(client(&mut retried, &bytes, piece), Ok(bytes.clone()));
            assert!(!retried.is_settled() && retried.is_strange());
            let retry = retry();
            let (last, first) = retry[..telling(&retry)].split_last().unwrap();
            retried.server(first).unwrap();
            assert_eq!(retried.server(&[*last]), Err(Changed::Record), "a lie may stand among what has passed");

            let mut fine = watch();
            assert_eq!(client(&mut fine, &bytes, piece), Ok(bytes.clone()));
            fine.server(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
            assert!(fine.is_settled());
        }
    }
}

/// How much of a retry tells that it is one: up to the end of its random.
fn telling(retry: &[u8]) -> usize {
    retry.windows(32).position(|bytes| bytes == retry_random()).unwrap() + 32
}

#[test]
fn whatever_else_the_server_says_first_ends_the_looking() {
    let almost = {
        let mut random = retry_random();
        random[31] ^= 1;
        record(&server_hello(random))
    };
    let firsts = [
        record(&server_hello([0; 32])),
        almost,
        record_of(21, &[2, 40]),
        b"SSH-2.0".to_vec(),
        record(&message(4, &[0; 50])),
    ];
    for first in firsts {
        for piece in [1, 3, 100_000] {
            let mut watch = watch();
            first.chunks(piece).for_each(|part| watch.server(part).unwrap());
            assert!(watch.is_settled(), "{}", first.escape_ascii());
            assert_eq!(watch.client(b"anything"), Ok(8));
        }
    }
    let mut silent = watch();
    silent.server(&retry()[..20]).unwrap();
    assert!(!silent.is_settled());
    silent.server_ended();
    assert!(silent.is_settled());
}

#[test]
fn a_retry_in_many_records_is_one() {
    for size in [1, 2, 37, 38, 39] {
        let mut watch = watch();
        watch.server(&records(&server_hello(retry_random()), size)).unwrap();
        assert_eq!(
            watch.client(&Hello::named("b.example").record()),
            Err(Changed::Name(Name::parse("b.example").unwrap()))
        );
    }
}

#[test]
fn early_data_has_a_cap() {
    let early = record_of(23, &[0; 16_000]);
    let much = early.repeat(MAX_EARLY / early.len() + 1);
    let mut waits = watch();
    assert_eq!(waits.client(&much), Ok(MAX_EARLY), "the rest waits for the server");
    assert_eq!(waits.client(&much[MAX_EARLY..]), Ok(0));
    waits.server(&record(&server_hello([0; 32]))).unwrap();
    assert_eq!(waits.client(&much[MAX_EARLY..]), Ok(much.len() - MAX_EARLY));

    let mut refused = watch();
    refused.server(&retry()).unwrap();
    assert_eq!(refused.client(&much), Err(Changed::TooMuch));
}

proptest::proptest! {
    #[test]
    fn any_pieces_of_both_sides(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400), cut in 0_usize..120) {
        sekisho_peek::fuzz::retry(&data);
        // A retry ahead of them, cut in two.
        let retry = retry();
        let (one, other) = retry.split_at(cut.min(retry.len()));
        let piece = |bytes: &[u8]| [&[0x80 | u8::try_from(bytes.len()).unwrap()], bytes].concat();
        sekisho_peek::fuzz::retry(&[piece(one), piece(other), data].concat());
    }
}
