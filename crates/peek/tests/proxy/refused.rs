//! What is refused, as what, and that it waits for nothing.

use sekisho_peek::proxy::{Fault, Progress, Refusal, inspect};

use crate::craft::{SIGNATURE, V4, good, sum, v2, v6, value};

/// The refusal of `bytes`, which must be the same whatever follows.
fn refusal(bytes: &[u8]) -> Refusal {
    let refusal = inspect(bytes).expect_err(&bytes.escape_ascii().to_string());
    assert_eq!(inspect(&[bytes, b"\r\n more"].concat()), Err(refusal));
    refusal
}

#[test]
fn what_begins_as_something_else_is_missing() {
    let others: [&[u8]; 8] =
        [b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"POST", b"PUT ", b"PROXY\t", b"proxy TCP4", b"\r\n\r\n\r", b"\0"];
    for bytes in others {
        assert_eq!(refusal(bytes), Refusal::Missing);
        assert_eq!(refusal(bytes).label(), "proxy_header_missing");
    }
}

#[test]
fn each_fault_of_a_line_has_its_name() {
    let cases: [(&str, Fault); 22] = [
        ("PROXY TCP5", Fault::Protocol),
        ("PROXY tcp4 ", Fault::Protocol),
        ("PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", Fault::Protocol),
        ("PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", Fault::Protocol),
        ("PROXY UNKNOWNS", Fault::Protocol),
        ("PROXY \r\n", Fault::Protocol),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n", Fault::Character),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx", Fault::Character),
        ("PROXY TCP4 1.1.1.1\t", Fault::Character),
        ("PROXY UNKNOWN \u{7f}", Fault::Character),
        ("PROXY TCP4\r\n", Fault::Words),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", Fault::Words),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n", Fault::Words),
        ("PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", Fault::Words),
        ("PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n", Fault::Address),
        ("PROXY TCP4 ::1 ::1 1 1\r\n", Fault::Address),
        ("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n", Fault::Address),
        ("PROXY TCP4 1.1.1.1 1.1.1 1 1\r\n", Fault::Address),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n", Fault::Port),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n", Fault::Port),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n", Fault::Port),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 x\r\n", Fault::Port),
    ];
    for (line, fault) in cases {
        assert_eq!(refusal(line.as_bytes()), Refusal::Malformed(fault), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(91));
    assert!(matches!(inspect(long.as_bytes()), Ok(Progress::Need { .. })), "107 bytes with their end");
    // The same whether what no line holds comes at its last place or one behind it.
    for last in ["x", "\u{7f}", "\n"] {
        assert_eq!(inspect(format!("{long}{last}").as_bytes()), Err(Refusal::Malformed(Fault::LineTooLong)));
        sekisho_peek::fuzz::proxy(format!("{long}{last}\r\n").as_bytes());
    }
}

#[test]
fn each_fault_of_a_binary_header_has_its_name() {
    let with = |values: &[u8]| v2(0x21, 0x11, &[V4, values].concat());
    let endpoint = |id: &[u8]| value(0xea, &[b"\x01", id].concat());
    let wrong_sum = |mut header: Vec<u8>| {
        *header.last_mut().unwrap() ^= 1;
        header
    };
    let cases = [
        (v2(0x11, 0x11, V4), Fault::Version),
        (v2(0x31, 0x11, V4), Fault::Version),
        (v2(0x22, 0x11, V4), Fault::Command),
        (v2(0x21, 0x12, V4), Fault::Family),
        (v2(0x21, 0x22, &v6()), Fault::Family),
        (v2(0x21, 0x31, &[0; 216]), Fault::Family),
        (v2(0x21, 0x01, V4), Fault::Family),
        (v2(0x21, 0x11, &V4[..11]), Fault::Length),
        (v2(0x21, 0x21, V4), Fault::Length),
        (with(&[4]), Fault::Values),
        (with(&[4, 0]), Fault::Values),
        (with(&[4, 0, 1]), Fault::Values),
        (with(&[&value(4, b"x")[..], &[0, 0]].concat()), Fault::Values),
        (with(&value(3, &[0; 4])), Fault::Checksum),
        (with(&value(3, &[0; 3])), Fault::Checksum),
        (wrong_sum(sum(with(&value(3, &[0; 4])))), Fault::Checksum),
        (sum(with(&[value(3, &[0; 4]), value(3, &[0; 4])].concat())), Fault::Checksum),
        (with(&endpoint(b"")), Fault::Endpoint),
        (with(&endpoint(b"vpce-")), Fault::Endpoint),
        (with(&endpoint(b"vpce-0\n1")), Fault::Endpoint),
        (with(&endpoint(b"vpce-\xc3\xa9")), Fault::Endpoint),
        (with(&endpoint(&[b"vpce-", &[b'0'; 65][..]].concat())), Fault::Endpoint),
        (with(&[endpoint(b"vpce-1"), endpoint(b"vpce-2")].concat()), Fault::Endpoint),
        (with(&value(4, &vec![0; 65_535 - 12 - 3])), Fault::TooLong),
    ];
    for (bytes, fault) in cases {
        assert_eq!(refusal(&bytes), Refusal::Malformed(fault), "{}", bytes.escape_ascii());
        assert_eq!(refusal(&bytes).label(), "proxy_header_malformed");
    }
    // None of what the fixed part decides waits for the rest.
    assert_eq!(refusal(&[SIGNATURE, &[0x10]].concat()), Refusal::Malformed(Fault::Version));
    assert_eq!(refusal(&[SIGNATURE, &[0x21, 0x99]].concat()), Refusal::Malformed(Fault::Family));
    assert_eq!(refusal(&[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat()), Refusal::Malformed(Fault::TooLong));
}

#[test]
fn no_changed_byte_makes_it_wait_past_what_it_declares_or_answers_twice() {
    for bytes in good() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                sekisho_peek::fuzz::proxy(&changed);
            }
        }
    }
}
