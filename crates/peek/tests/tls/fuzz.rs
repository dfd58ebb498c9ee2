//! The fuzz body over the corpus, over what the fuzzer has found, over crafted hellos and over any bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sekisho_peek::fuzz;

use crate::corpus::{hellos, refused};
use crate::craft::{Hello, record, records};

#[test]
fn every_flight_of_the_corpus() {
    for flight in hellos().into_iter().chain(refused().into_iter().map(|(_, flight)| flight)) {
        fuzz::hello(&flight.bytes);
    }
}

#[test]
fn every_refused_case() {
    for case in crate::refused::cases() {
        fuzz::hello(&case.bytes);
    }
}

#[test]
fn what_the_fuzzer_has_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/hello");
    let kept: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(kept.len() > 100, "{} files", kept.len());
    for path in kept {
        fuzz::hello(&fs::read(path).unwrap());
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::hello(&bytes);
    }

    #[test]
    fn any_handshake(message in proptest::collection::vec(any::<u8>(), 1..300)) {
        fuzz::hello(&record(&[&[1, 0, 0], &message[..]].concat()));
    }

    #[test]
    fn any_extensions_in_any_records(
        extensions in proptest::collection::vec((0_u16..50, proptest::collection::vec(any::<u8>(), 0..20)), 0..6),
        size in 1_usize..80,
        cut in 0_usize..400,
    ) {
        let mut hello = Hello::named("reports.example");
        hello.extensions.get_or_insert_default().extend(extensions);
        let wire = records(&hello.message(), size);
        fuzz::hello(&wire);
        fuzz::hello(&wire[..cut.min(wire.len())]);
    }
}
