//! `cargo xtask bench`: sekisho and the bench, built as for a release; then the bench, which does the rest.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Need};
use crate::{cargo, say};

/// Whether the bench could measure all that it was asked for.
///
/// # Errors
/// Fails when what it needs is missing and cannot be installed, and when something does not compile.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    if !help {
        setup::ensure(&[Need::Bench])?;
        say::progress("building sekisho and the bench, as for a release");
        // Each by itself: together they would share features that the gate alone does not have.
        cargo::run(&mut cargo::command(&["build", "--locked", "--release", "--package", "sekisho"]))?;
    }
    cargo::run(&mut cargo::command(&["build", "--locked", "--release", "--package", "sekisho-benches", "--bins"]))?;
    let mut bench = Command::new(lab::workspace().join("target/release/bench"));
    bench.args(arguments).current_dir(lab::workspace());
    // Whatever is picked out or hurried does without.
    if !help
        && arguments
            .iter()
            .all(|argument| WHOLE_RUN.iter().any(|option| argument.starts_with(option)) || !argument.starts_with("--"))
    {
        bench.arg("--micro").arg(microbenches()?);
    }
    let status = bench.status().with_context(|| format!("cannot start {}", cargo::shown(&bench)))?;
    Ok(status.success())
}

/// Options with which a run is still one of everything.
const WHOLE_RUN: &[&str] = &["--rounds", "--json", "--haproxy", "--out", "--resume"];

/// Runs the microbenches; the file with what they printed.
fn microbenches() -> Result<PathBuf> {
    say::progress("building and running the microbenches, which takes some minutes");
    let file = lab::workspace().join("target/microbenches.txt");
    let output = fs::File::create(&file).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = cargo::command(&["bench", "--locked", "--package", "sekisho-benches", "--bench", "*"]);
    cargo::run(command.stdout(output))?;
    Ok(file)
}
