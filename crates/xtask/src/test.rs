//! `cargo xtask test`: every suite to its end, then what it all came to.

mod suites;
mod tally;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::args::TestOptions;
use crate::{say, setup};
use suites::{SUITES, Suite};
use tally::Tally;

/// Whether `--only` may name this.
pub(crate) fn is_suite(name: &str) -> bool {
    SUITES.iter().any(|suite| suite.name == name)
}

/// Runs the suites, the later ones whatever became of the earlier; whether all passed. The last line printed is
/// `N passed, N failed`.
///
/// # Errors
/// Fails when something that the suites need is missing and cannot be installed.
pub(crate) fn run(options: &TestOptions) -> Result<bool> {
    let chosen: Vec<&Suite> =
        SUITES.iter().filter(|suite| options.only.is_empty() || options.only.iter().any(|n| n == suite.name)).collect();
    let needs: Vec<_> = chosen.iter().filter_map(|suite| suite.needs).collect();
    let begun = Instant::now();
    setup::ensure(&needs)?;

    let mut results = Vec::new();
    for (at, suite) in chosen.iter().enumerate() {
        say::headline(format_args!("{}/{} {}: {}", at + 1, chosen.len(), suite.name, suite.about));
        let suite_begun = Instant::now();
        let tally = suite.run(options.long);
        let took = suite_begun.elapsed();
        println!("== {}: {tally} in {}", suite.name, clock(took));
        results.push((suite.name, tally, took));
    }

    say::headline(format_args!("all suites, in {}", clock(begun.elapsed())));
    for (name, tally, took) in &results {
        let mark = if tally.good() { say::verdict(true, "ok    ") } else { say::verdict(false, "FAILED") };
        println!("  {mark}  {name:<7} {:>7}  {tally}", clock(*took));
    }
    let total: Tally = results.into_iter().map(|(_, tally, _)| tally).sum();
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(total.good())
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
