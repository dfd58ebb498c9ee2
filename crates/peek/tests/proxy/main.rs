//! PROXY headers: what is read of each, and what of every prefix, split and mutation.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod craft;
mod fuzz;
mod read;
mod refused;
mod write;
