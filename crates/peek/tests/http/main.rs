//! HTTP requests: what is read of each, what goes on, and what is refused as what.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod fuzz;
mod read;
mod refused;
