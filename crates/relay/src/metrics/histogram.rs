//! Durations in fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The buckets' upper bounds, in microseconds: from what a cached answer takes to the default deadlines.
const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.buckets.get(BOUNDS.partition_point(|&bound| bound < micros)).unwrap_or(&self.beyond);
        bucket.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }

    /// Adds another's counts.
    pub fn add(&self, other: &Self) {
        for (mine, theirs) in self.buckets.iter().zip(&other.buckets) {
            mine.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        self.beyond.fetch_add(other.beyond.load(Relaxed), Relaxed);
        self.micros.fetch_add(other.micros.load(Relaxed), Relaxed);
    }

    /// Of each bucket but the last: its upper bound in seconds, and how many were at most that.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut below = 0;
        let counts = self.buckets.iter().map(|bucket| {
            below += bucket.load(Relaxed);
            below
        });
        BOUNDS.iter().map(|&bound| seconds(bound)).zip(counts).collect()
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(self.beyond.load(Relaxed), |sum, bucket| sum + bucket.load(Relaxed))
    }

    /// Their sum, in seconds.
    pub fn sum(&self) -> f64 {
        seconds(self.micros.load(Relaxed))
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
