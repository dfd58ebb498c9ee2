//! Microbenches, run by `cargo bench --package sekisho-benches`. What they print depends on the machine: compare two
//! versions in one session, and quote ratios.
