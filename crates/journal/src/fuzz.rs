//! The body of a fuzz target: any bytes as a log, no panic, and what holds for every log holds.

use sekisho_policy::{Policy, diagnostic::is_hidden};

use crate::learn::{self, Learner};
use crate::read::Reading;
use crate::usage::{self, Usage};

const NOW: i64 = 1_795_521_600;
const POLICY: &str = "version: 1\nmode: audit\nrules:\n  - name: few\n    hosts: [a.example, .b.example]\n  - name: old\n    expires: 2020-01-01\n    hosts: [c.example]\n";

/// A log of any bytes, plain, gzip or zstd: read, learned from, and compared with a policy.
pub fn log(data: &[u8]) {
    let Ok(loaded) = Policy::parse("policy.yaml", POLICY, NOW) else { return };
    let policy = loaded.policy;
    for refused in [false, true] {
        let options = learn::Options { refused, ..learn::Options::default() };
        let mut learner = Learner::new(options, refused.then_some((&policy, NOW)));
        let mut usage = Usage::new(&policy, usage::Options::default());
        let reading = Reading::of_bytes("log", data.to_vec(), |record| {
            usage.take(record)?;
            learner.take(record)
        });
        printable(&reading.notes());
        let bad: u64 = reading.bad.values().map(|bad| bad.count).sum();
        assert!(bad <= reading.lines);
        let learned = learner.finish();
        printable(&learned.yaml("a heading"));
        assert_eq!(learned.prove(NOW), Ok(()));
        printable(&usage.finish(NOW).to_string());
    }
}

fn printable(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
}
