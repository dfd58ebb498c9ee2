//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Measures sekisho beside other gates, in network namespaces of its own.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
pub(crate) struct Options {
    /// A second for each gate and work, in one round: to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// As --quick with a handful of connections, failing where a figure or a byte is missing: what CI runs
    #[arg(long)]
    pub(crate) check: bool,
    /// Only these gates and works (comma-separated or repeated): sekisho, haproxy, …; new-large, or new for all of them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// How often everything is measured [default: 5, or 1 with --quick and --check]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<usize>,
    /// Write all results into this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Another HAProxy beside Debian's, in a row of its own
    #[arg(long, value_name = "PATH")]
    pub(crate) haproxy: Option<PathBuf>,
    /// Where results go (else `benches/results/<date>-<machine>`, or below target/bench unless it is a whole run)
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with a run that was interrupted: cells that are in this directory are not measured again
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    pub(crate) resume: Option<PathBuf>,
    /// Measure nothing: fill docs/performance.md and docs/sizing.md from the results in this directory
    #[arg(long, value_name = "DIR", exclusive = true)]
    pub(crate) publish: Option<PathBuf>,
    /// What the microbenches printed; `cargo xtask bench` gives this
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) micro: Option<PathBuf>,
    /// Threads of each gate [default: the machine's cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// For figures that are published.
    Full,
    /// A second or so for each cell.
    Quick,
    /// As little as shows that it works.
    Check,
}

impl Options {
    /// How much of everything.
    pub(crate) fn scale(&self) -> Scale {
        match (self.check, self.quick) {
            (true, _) => Scale::Check,
            (false, true) => Scale::Quick,
            (false, false) => Scale::Full,
        }
    }

    /// How often.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.scale() == Scale::Full { 5 } else { 1 })
    }

    /// The threads of a gate.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// How many cores there are.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
