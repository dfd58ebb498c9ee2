//! The bench's programs over loopback: what they count is what was, and what they lose is nothing.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod counts;
mod failures;
mod peer;
mod program;
mod relay;
mod syscalls;
mod ways;
