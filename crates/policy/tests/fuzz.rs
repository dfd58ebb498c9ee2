//! The fuzz bodies over the golden files and what a small slip makes of them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sekisho_policy::fuzz;

fn corpus() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all.into_iter()
        .filter(|path| path.extension().is_some_and(|e| e != "expected"))
        .map(|p| fs::read(p).unwrap())
        .collect()
}

#[test]
fn every_file_and_every_prefix_of_it() {
    let corpus = corpus();
    assert!(corpus.len() > 20);
    for file in corpus {
        for end in (0..=file.len()).step_by(7).chain([file.len()]) {
            fuzz::policy(&file[..end]);
            fuzz::dstdomain(&file[..end]);
        }
    }
}

#[test]
fn every_byte_of_the_operators_page_replaced() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/operator-page.yaml");
    let page = fs::read(path).unwrap();
    for at in 0..page.len() {
        for byte in [b' ', b'\n', b':', b'*', b'&', b'[', b'"', 0, 0xff] {
            let mut mutated = page.clone();
            mutated[at] = byte;
            fuzz::policy(&mutated);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::policy(&data);
        fuzz::dstdomain(&data);
    }

    #[test]
    fn anything_like_a_list(text in "([-_.*#a-z0-9 \u{e9}\u{1b}\r\n]|\\.amazonaws\\.com|s3|-an){0,40}") {
        fuzz::dstdomain(text.as_bytes());
    }

    #[test]
    fn anything_like_a_policy(text in "(version: 1\n|rules:\n|  - name: a\n|    hosts: \\[[-a-z.*0-9]{1,12}\\]\n|    [a-z_]{3,8}: |[\\[\\]{}&*!|>'\"%@,:#-]|\n|  ){0,30}") {
        fuzz::policy(text.as_bytes());
    }
}
