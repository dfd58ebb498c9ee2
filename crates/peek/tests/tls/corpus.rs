//! The first flights of real programs, and what tshark reads in them.

use std::fs;
use std::path::{Path, PathBuf};

use sekisho_peek::tls::{Limits, Progress, inspect};
use serde_json::Value;

/// One captured first flight.
pub(crate) struct Flight {
    pub(crate) file: String,
    pub(crate) bytes: Vec<u8>,
}

/// The flights that are read.
pub(crate) fn hellos() -> Vec<Flight> {
    let flights = flights(&folder());
    assert!(flights.len() > 60, "{} hellos", flights.len());
    flights
}

/// The flights that are refused, each with the label in its file's name.
pub(crate) fn refused() -> Vec<(String, Flight)> {
    let flights = flights(&folder().join("refused"));
    assert!(flights.len() >= 8, "{} refused", flights.len());
    flights.into_iter().map(|flight| (flight.file.split('-').next().unwrap().to_owned(), flight)).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/hello")
}

fn flights(folder: &Path) -> Vec<Flight> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|end| end == "bin"));
    let flight = |path: PathBuf| Flight {
        file: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        bytes: fs::read(&path).unwrap(),
    };
    paths.into_iter().map(flight).collect()
}

#[test]
fn every_hello_says_what_tshark_reads_in_it() {
    let text = fs::read_to_string(folder().join("versions.json")).unwrap();
    let mut known: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    known.retain(|file, _| !file.starts_with("refused/"));
    for Flight { file, bytes } in hellos() {
        let entry = known.remove(&file).unwrap_or_else(|| panic!("{file} is not in versions.json"));
        let reads = &entry["reads"];
        let Ok(Progress::Done(hello)) = inspect(&bytes, &Limits::default()) else { panic!("{file} is not read") };

        assert_eq!(hello.name.as_str(), reads["host"].as_str().unwrap(), "{file}");
        let legacy = code_point(&reads["legacy"]);
        assert_eq!(hello.legacy_version, legacy, "{file}");
        let mut versions: Vec<_> = list(&reads["versions"]).iter().map(code_point).collect();
        versions.sort_unstable();
        versions.reverse();
        assert_eq!(hello.versions, if versions.is_empty() { vec![legacy] } else { versions }, "{file}");
        let alpn: Vec<_> = list(&reads["alpn"]).iter().map(|protocol| protocol.as_str().unwrap()).collect();
        assert_eq!(hello.alpn.iter().map(|protocol| &**protocol).collect::<Vec<_>>(), alpn, "{file}");
        assert_eq!(hello.ech, reads["ech"].as_bool().unwrap(), "{file}");

        let message = 4 + number(&reads["body"]);
        assert_eq!(hello.handshake_len, message, "{file}");
        // tshark lists the records behind the hello too.
        let (mut raw, mut held) = (0, 0);
        for record in list(&reads["records"]) {
            if held < message {
                raw += 5 + number(record);
                held += number(record);
            }
        }
        assert_eq!((hello.raw_len, held), (raw, message), "{file}");
    }
    assert!(known.is_empty(), "without a file: {:?}", known.keys());
}

#[test]
fn every_refused_hello_gets_the_label_in_its_files_name() {
    for (label, Flight { file, bytes }) in refused() {
        let refusal = inspect(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(refusal.label(), label, "{file}");
    }
}

#[test]
fn the_corpus_holds_what_is_hard_about_real_hellos() {
    let hellos = hellos();
    let at = |file: &str, text: &[u8]| {
        let flight = hellos.iter().find(|flight| flight.file == file).unwrap();
        flight.bytes.windows(text.len()).position(|window| window == text)
    };
    // AWS's own client: the name comes behind byte 1,500, past the first segment of an ordinary network.
    assert!(at("awscrt", b"reports.s3").unwrap() > 1500);
    // A name that records cut in two, and data behind a hello.
    assert_eq!(at("rustls-fragments", b"reports.s3.ap-northeast-1.amazonaws.com"), None);
    assert!(at("openssl-early-data", b"\x14\x03\x03\x00\x01\x01\x17\x03\x03").is_some());
    // Post-quantum key shares of several makers.
    let large = |maker: &str| hellos.iter().any(|flight| flight.file.starts_with(maker) && flight.bytes.len() > 1500);
    for maker in ["chromium", "imitation-chrome", "imitation-firefox", "imitation-safari"] {
        assert!(large(maker), "{maker}");
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn code_point(value: &Value) -> u16 {
    u16::from_str_radix(value.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}
