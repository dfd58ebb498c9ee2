//! Access logs read back: gigabytes of lines in bounded memory, and what they say about a policy.
//!
//! A crate of its own beside `policy` and under `relay`: it reads files and knows rules, but neither sockets nor tokio nor the
//! clock, so that a log can be studied on a machine that never runs a gate, and tests need no node.

#[doc(hidden)]
pub mod fuzz;
pub mod learn;
mod lines;
mod read;
mod record;
mod source;
mod tally;
pub mod usage;
mod words;

pub use lines::MAX_LINE;
pub use read::{BadLine, BadLines, Reading, Unread};
pub use record::{Event, Record, Text, Verdict};
pub use source::Log;
pub use tally::{MAX_NAMES, MAX_PAIRS};
