//! cargo-deny, built into `target/tools`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, say};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Where the program is once [`ensure`] has been called.
pub(crate) fn program() -> PathBuf {
    tools().join("bin/cargo-deny")
}

/// Builds it, unless this very version is there.
pub(super) fn ensure() -> Result<()> {
    let printed = Command::new(program()).arg("--version").output();
    if printed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-deny {VERSION}")) {
        return Ok(());
    }
    say::progress(format_args!("building cargo-deny {VERSION} into target/tools (once; some minutes)"));
    let build = tools().join("build");
    let mut install = cargo::command(&["install", "--locked", "--force", "--version", VERSION, "cargo-deny"]);
    install.arg("--root").arg(tools()).arg("--target-dir").arg(&build);
    // It runs for a second on a graph of ours: what counts is how soon it is built.
    for (key, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "1"), ("DEBUG", "false")] {
        install.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    cargo::run(&mut install)?;
    let _ = fs::remove_dir_all(build);
    Ok(())
}

fn tools() -> PathBuf {
    lab::workspace().join("target/tools")
}
