//! One worker's counters.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Histogram;
use crate::outcome::{DstMatches, Outcome, Verdict};
use crate::reason::Reason;

/// Counters that one thread writes and a scrape reads: an increment meets no other thread's cache line.
#[derive(Debug)]
pub struct Shard {
    listeners: Box<[PerListener]>,
    up: AtomicU64,
    down: AtomicU64,
    /// From accept to a whole hello.
    pub(super) hello: Histogram,
    /// Spent dialling.
    pub(super) connect: Histogram,
}

/// One listener's counters.
#[derive(Debug)]
struct PerListener {
    opened: AtomicU64,
    closed: AtomicU64,
    /// By whether the client's own destination is one of its name's.
    destinations: [AtomicU64; DstMatches::ALL.len()],
    /// By verdict, then by reason; the first of a row is "no reason".
    ended: [[AtomicU64; Reason::ALL.len() + 1]; Verdict::ALL.len()],
}

impl Default for PerListener {
    fn default() -> Self {
        let ended = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0)));
        Self { opened: AtomicU64::new(0), closed: AtomicU64::new(0), destinations: Default::default(), ended }
    }
}

impl Shard {
    pub(super) fn new(listeners: usize) -> Self {
        Self {
            listeners: (0..listeners).map(|_| PerListener::default()).collect(),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            hello: Histogram::default(),
            connect: Histogram::default(),
        }
    }

    /// A connection was accepted.
    pub fn opened(&self, listener: u16) {
        if let Some(counters) = self.listeners.get(usize::from(listener)) {
            counters.opened.fetch_add(1, Relaxed);
        }
    }

    /// A connection has ended. Its bytes are not counted here but as they move, by [`Shard::add_bytes`].
    pub fn closed(&self, outcome: &Outcome) {
        if let Some(counters) = self.listeners.get(usize::from(outcome.listener)) {
            counters.closed.fetch_add(1, Relaxed);
            if let Some(cell) = counters.cell(outcome.verdict, outcome.reason) {
                cell.fetch_add(1, Relaxed);
            }
            let matches = outcome.dst_matches.and_then(|matches| counters.destinations.get(matches as usize));
            if let Some(cell) = matches {
                cell.fetch_add(1, Relaxed);
            }
        }
        if let Some(hello) = outcome.hello {
            self.hello.observe(hello.into());
        }
        if let Some(connect) = outcome.connect {
            self.connect.observe(connect.into());
        }
    }

    /// So many bytes more were relayed, from clients and to them.
    pub fn add_bytes(&self, up: u64, down: u64) {
        self.up.fetch_add(up, Relaxed);
        self.down.fetch_add(down, Relaxed);
    }

    pub(super) fn active(&self, listener: usize) -> u64 {
        self.listeners.get(listener).map_or(0, |counters| {
            // Read in this order, a connection that ends meanwhile is still counted, never one too few.
            let closed = counters.closed.load(Relaxed);
            counters.opened.load(Relaxed).saturating_sub(closed)
        })
    }

    pub(super) fn ended(&self, listener: usize, verdict: Verdict, reason: Option<Reason>) -> u64 {
        let counters = self.listeners.get(listener);
        counters.and_then(|counters| counters.cell(verdict, reason)).map_or(0, |cell| cell.load(Relaxed))
    }

    pub(super) fn destinations(&self, listener: usize, matches: DstMatches) -> u64 {
        let counters = self.listeners.get(listener);
        let cell = counters.and_then(|counters| counters.destinations.get(matches as usize));
        cell.map_or(0, |cell| cell.load(Relaxed))
    }

    pub(super) fn bytes_up(&self) -> u64 {
        self.up.load(Relaxed)
    }

    pub(super) fn bytes_down(&self) -> u64 {
        self.down.load(Relaxed)
    }
}

impl PerListener {
    fn cell(&self, verdict: Verdict, reason: Option<Reason>) -> Option<&AtomicU64> {
        self.ended.get(verdict as usize)?.get(reason.map_or(0, |reason| reason as usize + 1))
    }
}
