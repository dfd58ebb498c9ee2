//! The Python programs (awscli, boto3, moto) in a virtual environment of their own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{cargo, say};

/// Debian's package that the system's Python lacks for making an environment, if it does.
pub(super) fn missing_package() -> Option<&'static str> {
    if environment().join("bin/python").exists() {
        return None;
    }
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).stdout(Stdio::null()).stderr(Stdio::null());
    let able = python.status().is_ok_and(|status| status.success());
    (!able).then_some("python3-venv")
}

/// Makes the environment and installs what `tests/requirements.txt` says, unless that was done already.
pub(super) fn ensure() -> Result<()> {
    install("tests/requirements.txt", "requirements.txt", "awscli, boto3 and moto")
}

/// The same for what only the bench needs.
pub(super) fn ensure_for_bench() -> Result<()> {
    install("benches/peers/requirements.txt", "requirements-bench.txt", "Envoy")
}

/// `done` is a copy, in the environment, of the list that was last installed from.
fn install(list: &str, done: &str, what: &str) -> Result<()> {
    let requirements = lab::workspace().join(list);
    let wanted =
        fs::read_to_string(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let done = environment().join(done);
    let python = environment().join("bin/python");
    if python.exists() && fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    say::progress(format_args!("installing {what} into target/venv (pip, about half a minute)"));
    if !python.exists() {
        cargo::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment()))?;
    }
    let options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"];
    cargo::run(Command::new(&python).args(["-m", "pip", "install"]).args(options).arg("-r").arg(&requirements))?;
    fs::write(&done, wanted).with_context(|| format!("cannot write {}", done.display()))
}

/// Where the environment is.
pub(crate) fn environment() -> PathBuf {
    lab::workspace().join("target/venv")
}
