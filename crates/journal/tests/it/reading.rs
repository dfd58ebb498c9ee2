//! Files as they are found: rotated, packed, damaged, of any bytes.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use sekisho_journal::{BadLine, Log, Reading};

use crate::common::{Line, log};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// A frame that unpackers pass over.
fn skippable(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&[0x5a, 0x2a, 0x4d, 0x18], &length.to_le_bytes()[..], bytes].concat()
}

/// How many records these bytes have, and what is wrong with them.
fn read(bytes: Vec<u8>) -> (usize, Reading) {
    let mut records = 0;
    let reading = Reading::of_bytes("log", bytes, |_| {
        records += 1;
        Ok(())
    });
    (records, reading)
}

fn lines(count: usize) -> String {
    let lines: Vec<_> = (0..count).map(|n| Line::audited("10.20.0.1", &format!("h{n}.example"))).collect();
    log(&lines)
}

#[test]
fn plain_gzip_and_zstd_are_told_apart_by_what_they_hold() {
    let (one, two) = (lines(2000), lines(300));
    let both = format!("{one}{two}");
    let (one, two) = (one.as_bytes(), two.as_bytes());
    for (what, bytes) in [
        ("plain", both.clone().into_bytes()),
        ("gzip", gzip(both.as_bytes())),
        ("gzip, two members", [gzip(one), gzip(two)].concat()),
        ("zstd", zstd(both.as_bytes())),
        ("zstd, two frames", [zstd(one), zstd(two)].concat()),
        (
            "zstd with frames to skip",
            [skippable(b""), zstd(one), skippable(b"1234567"), zstd(two), skippable(b"x")].concat(),
        ),
    ] {
        let (records, reading) = read(bytes);
        assert_eq!((records, reading.lines, reading.notes()), (2300, 2300, String::new()), "{what}");
        assert_eq!(reading.bytes, both.len() as u64, "{what}");
    }
    for nothing in [Vec::new(), gzip(b""), zstd(b""), b"\n\r\n \n".to_vec()] {
        let (records, reading) = read(nothing);
        assert_eq!((records, reading.lines, reading.notes()), (0, 0, String::new()));
    }
}

#[test]
fn a_packed_file_that_is_cut_or_damaged_gives_what_is_whole_and_says_so() {
    let text = lines(400);
    for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        for cut in [5, 20, packed.len() / 2, packed.len() - 1] {
            let (records, reading) = read(packed[..cut].to_vec());
            assert!(records < 400 || cut == packed.len() - 1, "{cut}");
            assert_eq!(reading.unread.len(), 1, "{cut}: {}", reading.notes());
            assert!(reading.notes().starts_with("error: log: not read to its end: "), "{}", reading.notes());
        }
        for at in (0..packed.len()).step_by(packed.len() / 40) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            // Whatever it unpacks to, it ends; and a whole text is one that has its checksum.
            let (records, reading) = read(damaged);
            assert!(records <= 400 && (reading.whole() || reading.unread.len() == 1 || records == 0));
            assert!(records > 0 || !reading.whole(), "what has become no packing at all is told too");
        }
    }
}

#[test]
fn lines_that_are_no_records_are_counted_with_the_place_of_the_first() {
    let good = lines(1);
    let long = "x".repeat(sekisho_journal::MAX_LINE + 1);
    let text =
        format!("\u{feff}{good}\r\nnot json\n{good}{{}}\n{long}\n{good}{long}\n[1]\n\0\u{1b}[2J\n{{\"time\":\"20");
    let (records, reading) = read(text.into_bytes());
    assert_eq!((records, reading.lines), (3, 10));
    let told = |kind| reading.bad.get(&kind).map(|bad| (bad.count, bad.first.as_str()));
    assert_eq!(told(BadLine::NoRecord), Some((4, "log:3")));
    assert_eq!(told(BadLine::TooLong), Some((2, "log:6")));
    assert_eq!(told(BadLine::Unfinished), Some((1, "log:11")));
    assert_eq!(told(BadLine::BadHost), None);
    assert!(reading.notes().contains("the first is log:3 (not JSON from column 2 on)"), "{}", reading.notes());
    assert!(reading.whole(), "every byte was read");
}

#[test]
fn a_file_with_lines_and_not_one_record_is_no_log() {
    let nginx = "10.20.0.15 - - [24/Nov/2026:09:15:02 +0000] \"GET / HTTP/1.1\" 200 12\n";
    for bytes in [nginx.as_bytes().to_vec(), gzip(nginx.as_bytes()), b"{}\n".to_vec(), b"\x1f\x8c".to_vec()] {
        let (records, reading) = read(bytes);
        assert_eq!((records, &reading.no_log[..], reading.whole()), (0, &["log".to_owned()][..], false));
        assert!(reading.notes().starts_with("error: log: not one record in it: "), "{}", reading.notes());
    }
    // A record that its reader cannot use is none.
    let reading = Reading::of_bytes("log", lines(2).into_bytes(), |_| Err(BadLine::BadHost));
    assert_eq!((reading.no_log.len(), reading.bad[&BadLine::BadHost].count), (1, 2));
    // One is enough, whatever it is about.
    let (_, reading) = read(b"x\n{\"time\":\"2026-11-24T09:15:02Z\",\"event\":\"lost\",\"count\":7}\n".to_vec());
    assert!(reading.no_log.is_empty() && reading.whole());
}

#[test]
fn bytes_that_are_not_utf8_are_bad_lines_and_nothing_more() {
    let mut bytes = lines(1).into_bytes();
    bytes.extend(b"{\"time\":\"2026-11-24T09:15:02Z\",\"event\":\"close\",\"host\":\"\xff\"}\n");
    bytes.extend(lines(1).into_bytes());
    let (records, reading) = read(bytes);
    assert_eq!((records, reading.bad[&BadLine::NoRecord].count), (2, 1));
}

#[test]
fn a_log_that_says_that_it_lost_records_is_believed() {
    let lost = "{\"time\":\"2026-11-24T09:15:02Z\",\"event\":\"lost\",\"count\":7}\n";
    let (_, reading) = read(format!("{lost}{lost}").into_bytes());
    assert_eq!(reading.lost, 14);
    assert!(reading.notes().contains("14 records were lost"));
}

#[test]
fn several_files_are_read_and_one_that_cannot_be_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("access.jsonl"), lines(3)).unwrap();
    fs::write(path("access.jsonl.1"), gzip(lines(4).as_bytes())).unwrap();
    fs::write(path("access.jsonl.2.gz"), zstd(lines(5).as_bytes())).unwrap();
    let names = ["access.jsonl", "missing", "access.jsonl.1", ".", "access.jsonl.2.gz"];
    let logs: Vec<_> = names.iter().map(|name| Log::of(path(name))).collect();
    let (mut records, mut taken) = (0, 0);
    let reading = Reading::of(
        &logs,
        |bytes| taken = bytes,
        |_| {
            records += 1;
            Ok(())
        },
    );
    assert_eq!(records, 12);
    assert!(taken > 0, "progress is told");
    let unread: Vec<_> = reading.unread.iter().map(|unread| Path::new(&unread.file).file_name()).collect();
    assert_eq!(unread, [Path::new(&path("missing")).file_name(), Path::new(&path(".")).file_name()]);
    assert_eq!(Log::of("-".into()), Log::Stdin);
    assert_eq!(Log::of(path("access.jsonl")).size(), Some(lines(3).len() as u64));
}
