//! The programs of npm's that tests run, in a directory of their own.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cargo, say};

/// Installs what `tests/node/package.json` says into `target/node`, unless that was done already.
pub(super) fn ensure() -> Result<()> {
    let packages = lab::workspace().join("tests/node/package.json");
    let wanted = fs::read_to_string(&packages).with_context(|| format!("cannot read {}", packages.display()))?;
    let directory = lab::workspace().join("target/node");
    // Written last: a copy of the file that the directory was made from.
    let done = directory.join("installed.json");
    if fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    say::progress("installing an evaluator of AWS's policies and HTTP clients into target/node (npm, a few seconds)");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    fs::write(directory.join("package.json"), &wanted)?;
    // No script of a package's is run, and the file has every version.
    let options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"];
    let mut npm = Command::new("npm");
    cargo::run(npm.arg("install").args(options).current_dir(&directory))
        .context("cannot install by npm, which `cargo xtask setup` brings")?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))
}
