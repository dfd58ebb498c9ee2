//! The caps are inclusive, and a slow or wasteful delivery costs no more than its bytes.

use sekisho_peek::tls::{Cap, Inspector, Limits, Progress, Refusal, inspect};

use crate::craft::{Hello, record, records};

fn padded_to(len: usize) -> Vec<u8> {
    let hello = |padding| Hello::named("reports.example").with(21, vec![0; padding]).message();
    let message = hello(len - hello(0).len());
    assert_eq!(message.len(), len);
    message
}

fn is_read(bytes: &[u8], limits: Limits) -> bool {
    match inspect(bytes, &limits) {
        Ok(Progress::Done(hello)) => hello.raw_len == bytes.len(),
        Ok(Progress::Need { .. }) => panic!("whole, and waits for more"),
        Err(Refusal::HelloTooLarge(_)) => false,
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_hello_of_exactly_the_default_caps_is_read() {
    assert!(is_read(&record(&padded_to(16_384)), Limits::default()));
    assert!(!is_read(&records(&padded_to(16_385), 16_384), Limits::default()));
    // 32,768 raw bytes: 5,461 records of six bytes and two bytes to spare.
    assert!(is_read(&records(&padded_to(5_461), 1), Limits::default()));
    assert!(!is_read(&records(&padded_to(5_462), 1), Limits::default()));
}

#[test]
fn each_cap_is_inclusive_in_any_records() {
    for size in [1, 7, 100, 299, 300] {
        let wire = records(&padded_to(300), size);
        let of = |handshake, raw| Limits { handshake, raw };
        assert!(is_read(&wire, of(300, wire.len())), "in records of {size}");
        assert!(!is_read(&wire, of(299, wire.len())), "in records of {size}");
        assert!(!is_read(&wire, of(300, wire.len() - 1)), "in records of {size}");
    }
}

#[test]
fn what_cannot_fit_is_refused_when_its_lengths_say_so() {
    // The message declares 16,000 bytes; its first record declares one byte too few for the raw cap to hold the rest.
    let limits = Limits { handshake: 16_384, raw: 16_000 + 5 + 4 };
    let start = b"\x16\x03\x01\x20\x00\x01\x00\x3e\x7c";
    let refused = Err(Refusal::HelloTooLarge(Cap::Raw));
    assert_eq!(inspect(&start[..8], &limits), Ok(Progress::Need { at_least: 5 + 0x2000 }));
    assert_eq!(inspect(start, &limits), refused);
    assert_eq!(inspect(start, &Limits { raw: limits.raw + 1, ..limits }), Ok(Progress::Need { at_least: 5 + 0x2000 }));
    // One byte of the message's header in a record, so three at least and a record header still to come.
    let start = b"\x16\x03\x01\x00\x01\x01";
    assert_eq!(inspect(start, &Limits { raw: 13, ..limits }), refused);
    assert_eq!(inspect(start, &Limits { raw: 14, ..limits }), Ok(Progress::Need { at_least: 11 }));
}

#[test]
fn caps_above_a_records_length_take_hellos_of_many_records() {
    let limits = Limits { handshake: 60_000, raw: 70_000 };
    assert!(is_read(&records(&padded_to(60_000), 16_384), limits));
    assert!(!is_read(&records(&padded_to(60_001), 16_384), limits));
}

#[test]
fn one_byte_records_in_one_byte_reads_of_the_largest_hello() {
    let wire = records(&padded_to(16_384), 1);
    let limits = Limits { handshake: 16_384, raw: wire.len() };
    let mut inspector = Inspector::new(limits);
    for end in 0..wire.len() {
        // Each look says exactly what is declared: the next byte of a record, or the rest of the next header.
        let at_least = if end % 6 == 5 { end + 1 } else { end - end % 6 + 5 };
        assert_eq!(inspector.inspect(&wire[..end]), Ok(Progress::Need { at_least }), "at {end}");
    }
    let answer = inspector.inspect(&wire);
    assert_eq!(answer, inspect(&wire, &limits));
    assert!(matches!(answer, Ok(Progress::Done(hello)) if hello.raw_len == wire.len()));
}
