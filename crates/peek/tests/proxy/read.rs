//! What good headers say, however they arrive.

use std::net::SocketAddr;

use sekisho_peek::proxy::{About, Header, MAX_HEADER, Progress, inspect};

use crate::craft::{V4, good, sum, v2, v6, value};

fn header(bytes: &[u8]) -> Header {
    match inspect(bytes) {
        Ok(Progress::Done(header)) => header,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn client(source: &str, destination: &str) -> About {
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    About::Client { source: address(source), destination: address(destination) }
}

#[test]
fn both_versions_say_who_and_where() {
    let v4 = client("192.0.2.7:40000", "198.51.100.9:443");
    let in_v6 = client("[2001:db8::7]:40000", "[2001:db8::9]:443");
    assert_eq!(header(b"PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n\x16\x03").about, v4);
    assert_eq!(header(b"PROXY TCP6 2001:db8::7 2001:DB8::9 40000 443\r\n").about, in_v6);
    assert_eq!(header(&v2(0x21, 0x11, V4)).about, v4);
    assert_eq!(header(&v2(0x21, 0x21, &v6())).about, in_v6);
}

#[test]
fn a_sender_speaks_of_itself_or_of_nobody() {
    for local in [v2(0x20, 0, &[]), v2(0x20, 0x11, V4), v2(0x20, 0xff, b"whatever")] {
        assert_eq!(header(&local).about, About::Sender);
    }
    for unknown in
        [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN 1 2 3\r\n", &v2(0x21, 0, &[]), &v2(0x21, 0, &value(4, b"x"))]
    {
        assert_eq!(header(unknown).about, About::Unknown);
    }
}

#[test]
fn the_endpoint_is_read_and_the_checksum_holds() {
    let endpoint = value(0xea, b"\x01vpce-08d2bf15fac5001c9");
    for before in [vec![], value(4, &[0; 7]), value(0x20, b"\x01\0\0\0\0")] {
        let with_sum = sum(v2(0x21, 0x11, &[V4, &before, &endpoint, &value(3, &[0; 4])].concat()));
        let read = header(&with_sum);
        assert_eq!(read.vpce.as_deref(), Some("vpce-08d2bf15fac5001c9"));
        assert_eq!(read.len, with_sum.len());
    }
    assert_eq!(header(&v2(0x21, 0x11, V4)).vpce, None);
}

#[test]
fn the_length_ends_where_the_clients_own_bytes_begin() {
    for bytes in good() {
        let expected = header(&bytes);
        assert_eq!(expected.len, bytes.len());
        for more in [&b"\x16\x03\x01"[..], b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", b"\r\n"] {
            assert_eq!(header(&[&bytes[..], more].concat()), expected);
        }
    }
}

#[test]
fn every_prefix_needs_more_and_says_how_much_at_least() {
    for bytes in good() {
        for end in 0..bytes.len() {
            match inspect(&bytes[..end]) {
                Ok(Progress::Need { at_least }) => {
                    assert!(
                        at_least > end && at_least <= bytes.len(),
                        "{at_least} at {end} of {}",
                        bytes.escape_ascii()
                    );
                }
                other => panic!("{other:?} at {end} of {}", bytes.escape_ascii()),
            }
        }
    }
}

#[test]
fn the_longest_that_is_read_is_read() {
    let room = MAX_HEADER - v2(0x21, 0x11, V4).len() - 3;
    assert!(inspect(&v2(0x21, 0x11, &[V4, &value(4, &vec![0; room])].concat())).is_ok());
    assert!(inspect(&v2(0x21, 0x11, &[V4, &value(4, &vec![0; room + 1])].concat())).is_err());
}
