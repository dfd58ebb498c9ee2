//! A connection's record: made by its worker, written as a line by the log's thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use sekisho::outcome::{ClosedBy, Offered, Outcome, Verdict};
use sekisho::record::Lines;
use sekisho::settings::AccessFormat;
use sekisho_name::Name;

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A served connection, with all that the log tells of one.
fn served() -> Option<Outcome> {
    let at = |last: u8, port: u16| SocketAddr::from(([10, 20, 0, last], port));
    let mut outcome = Outcome::new(0x9f3c_1a55_0000_0012, 0, at(15, 51514));
    outcome.original_dst = Some(at(12, 443).into());
    outcome.host = Name::parse("reports.s3.ap-northeast-1.amazonaws.com").ok();
    outcome.port = Some(443);
    outcome.verdict = Verdict::Allowed;
    outcome.rule = Some(Arc::from("reports"));
    outcome.upstream = Some(at(12, 443).into());
    (outcome.bytes_up, outcome.bytes_down) = (48_211, 6_120);
    outcome.duration = Duration::from_micros(412_906).into();
    outcome.hello = Some(Duration::from_micros(310).into());
    outcome.dns = Some(Duration::from_micros(4).into());
    outcome.connect = Some(Duration::from_micros(2_113).into());
    outcome.closed_by = Some(ClosedBy::Client);
    let alpn = vec!["h2".into(), "http/1.1".into()];
    outcome.offered = Some(Arc::new(Offered { alpn, versions: vec![0x304, 0x303], ech: false, ja4: None }));
    outcome.host.is_some().then_some(outcome)
}

#[divan::bench(sample_size = 1000, sample_count = 300)]
fn made(bencher: Bencher<'_, '_>) {
    let Some(outcome) = served() else { return };
    bencher.bench_local(|| Box::new(black_box(&outcome).clone()));
}

fn line(bencher: Bencher<'_, '_>, format: AccessFormat) {
    let Some(mut outcome) = served() else { return };
    let mut lines = Lines::new(vec![(Arc::from("tls"), "tls")]);
    let mut out = Vec::with_capacity(1 << 20);
    bencher.bench_local(|| {
        if out.len() > 1 << 19 {
            out.clear();
        }
        // Two thousand connections a second.
        outcome.accepted += Duration::from_micros(500);
        lines.closed(&mut out, format, black_box(&outcome));
    });
}

#[divan::bench(sample_size = 1000, sample_count = 300)]
fn json(bencher: Bencher<'_, '_>) {
    line(bencher, AccessFormat::Json);
}

#[divan::bench(sample_size = 1000, sample_count = 300)]
fn squid(bencher: Bencher<'_, '_>) {
    line(bencher, AccessFormat::Squid);
}
