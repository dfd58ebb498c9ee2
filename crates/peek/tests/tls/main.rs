//! The TLS reader, seen from outside.
//!
//! `SEKISHO_LONG=1 cargo test -p sekisho-peek --test tls` makes the mutations every value of every byte.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod accepted;
mod allocations;
mod corpus;
mod craft;
mod differential;
mod fragments;
mod fuzz;
mod ja4;
mod limits;
mod mutations;
mod refused;
mod retry;
