//! `cargo xtask regions` and `suffixes`: what others keep (botocore's regions and names of S3; the Public Suffix List), as
//! source of the policy crate.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Need};
use crate::{cargo, say};

/// A file of the policy crate, and the script of `tests/oracle` that prints it.
pub(crate) struct Generated {
    script: &'static str,
    file: &'static str,
}

/// AWS's regions and the forms of S3's names.
pub(crate) const REGIONS: Generated = Generated { script: "regions.py", file: "s3/data.rs" };
/// The Public Suffix List.
pub(crate) const SUFFIXES: Generated = Generated { script: "suffixes.py", file: "suffix/list.txt" };

/// Writes the file, unless all that would change is the date.
///
/// # Errors
/// Fails when the Python environment cannot be made, or what is in it is not as the script expects.
pub(crate) fn run(generated: &Generated) -> Result<()> {
    setup::ensure(&[Need::Python])?;
    let mut command = Command::new(setup::python_environment().join("bin/python"));
    command.arg(lab::workspace().join("tests/oracle").join(generated.script));
    let output = command.output().with_context(|| format!("cannot start {}", cargo::shown(&command)))?;
    if !output.status.success() {
        bail!("`{}` failed:\n{}", cargo::shown(&command), String::from_utf8_lossy(&output.stderr));
    }
    let fresh = String::from_utf8(output.stdout)?;
    let path = lab::workspace().join("crates/policy/src").join(generated.file);
    if fs::read_to_string(&path).is_ok_and(|old| undated(&old) == undated(&fresh)) {
        say::progress("nothing has changed");
        return Ok(());
    }
    fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
    say::progress(format_args!("{} is written: look at the difference, and run the policy's tests", path.display()));
    Ok(())
}

fn undated(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("//! Taken on ")).collect()
}
