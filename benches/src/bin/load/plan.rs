//! What a connection asks for, one request after the other.

use clap::ValueEnum;
use sekisho_benches::wire::{HEADER, Request};

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// A hello, a small answer, and the next connection.
    New,
    /// Requests of 100 bytes, each answered by as many.
    RoundTrips,
    /// One long answer.
    BulkDown,
    /// One long request.
    BulkUp,
    /// A hello and an answer of one byte; then all connections stay open until a line comes in on stdin.
    Idle,
    /// A hello that is answered by an alert.
    Refused,
    /// As S3 is used: many small objects, some large, several on a connection.
    Mix,
}

/// What each connection asks for. The same for every run, so that all gates carry the same bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    /// Of an answer to a new connection.
    pub(crate) answer: u64,
    /// Of bulk, for each connection.
    pub(crate) bytes: u64,
    /// Round trips of each connection.
    pub(crate) rounds: u64,
}

const KIB: u64 = 1024;
/// What the headers of an S3 request and of its answer take.
const HEADERS: (u64, u64) = (700, 400);
/// What the server sends in a TLS 1.3 handshake.
const HANDSHAKE: u64 = 4 * KIB + 300;

/// The requests of a connection of [`Work::Mix`]: bytes of objects that are put, and that are got.
const MIX: [(u64, u64); 16] = {
    let (small, middle, large) = ((0, 8 * KIB), (0, 64 * KIB), (0, KIB * KIB));
    let (put, put_large) = ((16 * KIB, 0), (256 * KIB, 0));
    [small, small, middle, small, put, small, small, middle, small, large, small, put, small, middle, small, put_large]
};
/// One in so many of these connections gets an object of this size at the end.
const LARGEST: (u64, u64) = (8, 8 * KIB * KIB);

impl Plan {
    /// The request of a connection's step, of which the first goes with the hello. `None` when there is no more.
    pub(crate) fn request(&self, connection: u64, step: u64) -> Option<Request> {
        let only = |up, down| (step == 0).then_some(Request { up, down });
        match self.work {
            Work::New | Work::Refused => only(0, self.answer),
            Work::Idle => only(0, 1),
            Work::BulkDown => only(0, self.bytes),
            // As TLS does: nothing but the hello is sent before the server has said something.
            Work::BulkUp => match step {
                0 => Some(Request { up: 0, down: 1 }),
                1 => Some(Request { up: self.bytes.saturating_sub(HEADER as u64), down: 1 }),
                _ => None,
            },
            Work::RoundTrips if step == 0 => Some(Request { up: 0, down: 100 }),
            Work::RoundTrips => (step <= self.rounds).then_some(Request { up: 100 - HEADER as u64, down: 100 }),
            Work::Mix if step == 0 => Some(Request { up: 0, down: HANDSHAKE }),
            Work::Mix => mixed(connection, step - 1)
                .map(|(put, got)| Request { up: HEADERS.0 - HEADER as u64 + put, down: HEADERS.1 + got }),
        }
    }

    /// Whether a step's time is one of those that are reported.
    pub(crate) fn timed(&self, step: u64) -> bool {
        let opening_first = matches!(self.work, Work::RoundTrips | Work::BulkUp | Work::Mix);
        (step > 0) == opening_first
    }
}

fn mixed(connection: u64, index: u64) -> Option<(u64, u64)> {
    let largest = (index == MIX.len() as u64 && connection.is_multiple_of(LARGEST.0)).then_some((0, LARGEST.1));
    usize::try_from(index).ok().and_then(|index| MIX.get(index).copied()).or(largest)
}
