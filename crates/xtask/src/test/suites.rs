//! The suites, and how one is run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::setup::{self, Need};
use crate::test::tally::Tally;
use crate::{cargo, say};

/// One suite: commands of cargo's, in order.
pub(super) struct Suite {
    /// What `--only` calls it.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) about: &'static str,
    /// What must be installed for it.
    pub(super) needs: Option<Need>,
    steps: &'static [Step],
}

enum Step {
    /// Passes or fails as a whole, and counts as one test.
    Check(&'static [&'static str]),
    /// Counts only when it fails.
    Prepare(&'static [&'static str]),
    /// `cargo test`, whose own lines give the counts.
    Test(&'static [&'static str]),
    /// cargo-deny, as a check.
    Deny(&'static [&'static str]),
}

/// All suites: quick ones first, and what needs a build before what needs a machine.
pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "fmt",
        about: "every file is formatted",
        needs: None,
        steps: &[Step::Check(&["fmt", "--all", "--check"])],
    },
    Suite {
        name: "clippy",
        about: "no lint complains",
        needs: None,
        steps: &[Step::Check(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])],
    },
    Suite {
        name: "deny",
        about: "no dependency is banned, unlicensed, or from elsewhere",
        needs: Some(Need::Deny),
        steps: &[Step::Deny(&["--locked", "check", "bans", "licenses", "sources"])],
    },
    Suite {
        name: "docs",
        about: "the documentation builds without a warning",
        needs: None,
        steps: &[Step::Check(&["doc", "--locked", "--workspace", "--no-deps"])],
    },
    Suite {
        name: "unit",
        about: "every crate by itself",
        needs: Some(Need::Oracles),
        steps: &[Step::Test(&["--workspace", "--exclude", "sekisho-tests"])],
    },
    Suite {
        name: "e2e",
        about: "real programs through the gate, in network namespaces",
        needs: Some(Need::EndToEnd),
        // Two at a time: most of a test is waiting, but each has servers and programs of its own.
        steps: &[
            Step::Prepare(&["build", "--locked", "--package", "sekisho"]),
            // Of the whole workspace, so that no dependency is built once more with fewer features.
            Step::Test(&["--workspace", "--test", "e2e", "--", "--test-threads", "2"]),
        ],
    },
    Suite {
        name: "bench",
        about: "the bench works: every gate passes every work, and no byte is lost. It says nothing about speed",
        needs: Some(Need::Bench),
        steps: &[
            Step::Prepare(&["build", "--locked", "--package", "sekisho"]),
            Step::Prepare(&["build", "--locked", "--package", "sekisho-benches", "--bins"]),
            Step::Check(&["run", "--locked", "--package", "sekisho-benches", "--bin", "bench", "--", "--check"]),
        ],
    },
];

impl Suite {
    /// Runs the suite's commands; the first that fails as a whole ends it.
    pub(super) fn run(&self, long: bool) -> Tally {
        let mut tally = Tally::default();
        for step in self.steps {
            let one = step.run(long).unwrap_or_else(|error| {
                say::error(&error);
                Tally::one(false)
            });
            let good = one.good();
            tally += one;
            if !good {
                break;
            }
        }
        tally
    }
}

impl Step {
    fn run(&self, long: bool) -> Result<Tally> {
        let mut command = self.command(long);
        println!("{}", say::dim(format_args!("$ {}", cargo::shown(&command))));
        if let Step::Test(_) = self {
            return counted(&mut command);
        }
        let passed = command.status().with_context(|| format!("cannot start {}", cargo::shown(&command)))?.success();
        Ok(match self {
            Step::Prepare(_) if passed => Tally::default(),
            _ => Tally::one(passed),
        })
    }

    fn command(&self, long: bool) -> Command {
        match self {
            Step::Check(args) | Step::Prepare(args) => {
                let mut command = cargo::command(args);
                command.env("RUSTDOCFLAGS", "-D warnings");
                command
            }
            Step::Test(args) => {
                let mut command = cargo::command(&["test", "--locked", "--no-fail-fast"]);
                command.args(*args);
                if long {
                    if !args.contains(&"--") {
                        command.arg("--");
                    }
                    command.arg("--include-ignored").env("SEKISHO_LONG", "1");
                }
                command
            }
            Step::Deny(args) => {
                let mut command = Command::new(setup::deny_program());
                command.args(*args).current_dir(lab::workspace());
                command
            }
        }
    }
}

/// Runs `cargo test` with its lines on the terminal, and counts by them.
fn counted(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {command:?}"))?;
    let mut tally = Tally::default();
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let succeeded = child.wait()?.success();
    // A test program that does not compile, or dies, prints no result.
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}
