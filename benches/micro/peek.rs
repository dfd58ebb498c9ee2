//! Reading a hello, from real programs' first flights.

use divan::{Bencher, black_box};
use sekisho_peek::tls::{Inspector, Limits, Progress, inspect};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Curl's of 517 bytes, and the AWS runtime's of about 1,550 whose name stands behind byte 1,500.
const HELLOS: [(&str, &[u8]); 2] = [
    ("curl", include_bytes!("../../tests/corpus/hello/curl.bin")),
    ("awscrt", include_bytes!("../../tests/corpus/hello/awscrt.bin")),
];

fn hello(name: &str) -> &'static [u8] {
    HELLOS.iter().find(|(known, _)| *known == name).map_or(&[], |(_, bytes)| bytes)
}

#[divan::bench(args = ["curl", "awscrt"], sample_size = 1000, sample_count = 300)]
fn whole_in_one_read(bencher: Bencher<'_, '_>, name: &str) {
    let (bytes, limits) = (hello(name), Limits::default());
    bencher.bench_local(|| inspect(black_box(bytes), &limits));
}

#[divan::bench(args = ["curl", "awscrt"], sample_size = 1000, sample_count = 300)]
fn in_64_pieces(bencher: Bencher<'_, '_>, name: &str) {
    let (bytes, limits) = (hello(name), Limits::default());
    bencher.bench_local(|| piecemeal(black_box(bytes), bytes.len().div_ceil(64), limits));
}

/// In one read, but cut into records, so that the message has to be put together.
#[divan::bench(args = ["curl", "awscrt"], sample_size = 1000, sample_count = 300)]
fn in_records_of_500_bytes(bencher: Bencher<'_, '_>, name: &str) {
    in_records(bencher, name, 500);
}

#[divan::bench(args = ["curl", "awscrt"], sample_size = 100, sample_count = 300)]
fn in_records_of_one_byte(bencher: Bencher<'_, '_>, name: &str) {
    in_records(bencher, name, 1);
}

fn in_records(bencher: Bencher<'_, '_>, name: &str, size: usize) {
    let limits = Limits::default();
    let message = hello(name).get(5..).unwrap_or_default();
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap_or_default().to_be_bytes();
        [&[0x16, 3, 1], &length[..], part].concat()
    };
    let records: Vec<u8> = message.chunks(size).flat_map(record).collect();
    bencher.bench_local(|| inspect(black_box(&records), &limits));
}

/// As a connection does it: everything so far, after each read.
fn piecemeal(bytes: &[u8], step: usize, limits: Limits) -> bool {
    let mut inspector = Inspector::new(limits);
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        match inspector.inspect(bytes.get(..end).unwrap_or_default()) {
            Ok(Progress::Need { .. }) => {}
            Ok(Progress::Done(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}
