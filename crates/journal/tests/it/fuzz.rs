//! The fuzz body over the corpus, over small changes to it, and over any bytes.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sekisho_journal::fuzz;

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/log");
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_file_of_the_corpus_and_its_prefixes() {
    let corpus = corpus();
    assert!(corpus.len() >= 8);
    for file in corpus {
        for end in (0..=file.len()).step_by(file.len() / 20 + 1).chain([file.len()]) {
            fuzz::log(&file[..end]);
        }
    }
}

#[test]
fn every_file_with_bytes_replaced() {
    for file in corpus() {
        for at in (0..file.len()).step_by(file.len() / 20 + 1) {
            for byte in [0, b'"', b'\n'] {
                let mut mutated = file.clone();
                mutated[at] = byte;
                fuzz::log(&mutated);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("SEKISHO_LONG").is_some() { 5000 } else { 64 }))]

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::log(&data);
        fuzz::log(&[&[0x1f, 0x8b][..], &data].concat());
        fuzz::log(&[&[0x28, 0xb5, 0x2f, 0xfd][..], &data].concat());
    }

    #[test]
    fn anything_like_a_line(text in "(\\{|\\}|\"|,|:|\n|\\\\u0000|\"time\":\"2026-11-24T09:15:02Z\"|\"event\":\"(close|open|lost)\"|\"host\":\"[-a-z.0-9_]{0,12}\"|\"client\":\"(10\\.0\\.0\\.1|\\[fd00::1\\]):1\"|\"verdict\":\"(audited|refused)\"|\"reason\":\"(no_rule|no_sni)\"|\"port\":[0-9]{1,6}){0,20}") {
        fuzz::log(text.as_bytes());
    }
}
