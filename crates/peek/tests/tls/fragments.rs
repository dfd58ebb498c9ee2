//! However the bytes are cut, over reads and over records, the answer is the same.

use sekisho_peek::fuzz::Declared;
use sekisho_peek::tls::{ClientHello, Inspector, Limits, Progress, Refusal, inspect};

use crate::corpus::{Flight, hellos, refused};
use crate::craft::records;

/// The last answer of one inspector that gets the bytes in pieces of `size`, up to the first final one.
pub(crate) fn final_answer_in_pieces(bytes: &[u8], size: usize) -> Result<Progress, Refusal> {
    let mut inspector = Inspector::new(Limits::default());
    let mut declared = Declared::default();
    let mut end = 0;
    loop {
        end = (end + size).min(bytes.len());
        let answer = inspector.inspect(&bytes[..end]);
        let Ok(Progress::Need { at_least }) = answer else { return answer };
        assert!(at_least > end && at_least <= declared.total(&bytes[..end]), "has {end}, waits for {at_least}");
        if end == bytes.len() {
            return answer;
        }
    }
}

fn read(Flight { file, bytes }: &Flight) -> ClientHello {
    match inspect(bytes, &Limits::default()) {
        Ok(Progress::Done(hello)) => hello,
        other => panic!("{file}: {other:?}"),
    }
}

#[test]
fn every_prefix_of_a_hello_needs_exactly_its_record() {
    for flight in hellos() {
        let whole = read(&flight).raw_len;
        for end in 0..whole {
            let prefix = &flight.bytes[..end];
            let at_least = Declared::default().total(prefix);
            let expected = Ok(Progress::Need { at_least });
            assert_eq!(inspect(prefix, &Limits::default()), expected, "{} at {end}", flight.file);
            assert!(at_least <= whole, "{} at {end}", flight.file);
        }
    }
}

#[test]
fn every_two_way_split_gives_the_same_answer() {
    for flight in hellos().into_iter().chain(refused().into_iter().map(|(_, flight)| flight)) {
        let whole = inspect(&flight.bytes, &Limits::default());
        for end in 0..=flight.bytes.len() {
            let mut inspector = Inspector::new(Limits::default());
            let first = inspector.inspect(&flight.bytes[..end]);
            let is_final = !matches!(first, Ok(Progress::Need { .. }));
            let answer = if is_final { first } else { inspector.inspect(&flight.bytes) };
            assert_eq!(answer, whole, "{} split at {end}", flight.file);
        }
    }
}

#[test]
fn reads_of_any_size_give_the_same_answer() {
    for flight in hellos() {
        for size in [1, 2, 3, 5, 16, 1448] {
            let expected = Ok(Progress::Done(read(&flight)));
            assert_eq!(final_answer_in_pieces(&flight.bytes, size), expected, "{} by {size}", flight.file);
        }
    }
}

#[test]
fn records_of_any_size_give_the_same_answer() {
    for flight in hellos() {
        let hello = read(&flight);
        let message = message(&flight.bytes[..hello.raw_len]);
        assert_eq!(message.len(), hello.handshake_len);
        for size in [1, 2, 3, 4, 5, 6, 7, 64, 255, 256, 1000, message.len() - 1] {
            let wire = records(&message, size);
            let expected = ClientHello { raw_len: wire.len(), ..hello.clone() };
            let expected = Ok(Progress::Done(expected));
            assert_eq!(inspect(&wire, &Limits::default()), expected, "{} in records of {size}", flight.file);
            assert_eq!(final_answer_in_pieces(&wire, 1), expected, "{} in records of {size}", flight.file);
            assert_eq!(final_answer_in_pieces(&wire, size + 4), expected, "{} in records of {size}", flight.file);
        }
    }
}

/// The handshake bytes of whole records.
pub(crate) fn message(mut wire: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    while let Some((&[_, _, _, high, low], rest)) = wire.split_first_chunk() {
        let (fragment, rest) = rest.split_at(usize::from(u16::from_be_bytes([high, low])));
        message.extend(fragment);
        wire = rest;
    }
    message
}
