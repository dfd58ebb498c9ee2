//! Where things are: the workspace, the tools under `target/`, a directory for a lab's files.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::netns;

/// The workspace's root directory.
pub fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The directory of the Python programs that `cargo xtask setup` installs (`aws`, `python`, `moto_server`).
pub fn tools() -> PathBuf {
    workspace().join("target/venv/bin")
}

/// The `sekisho` binary: what `SEKISHO_BIN` says, or the one built beside this program.
///
/// # Errors
/// Fails, saying what to do, when there is none.
pub fn gate_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("SEKISHO_BIN") {
        return Ok(path.into());
    }
    let own = env::current_exe().context("cannot tell where this program is")?;
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join("sekisho")).find(|path| path.is_file());
    found.context("no sekisho binary beside this program: run `cargo build --package sekisho`, or set SEKISHO_BIN")
}

/// A fresh directory that other users may enter: under `target/lab`, or where a parent forbids that, in `/tmp`. Its name
/// begins with this process's id.
///
/// # Errors
/// Fails when it cannot be made.
pub fn run_directory(name: &str) -> Result<PathBuf> {
    let path = run_directories().join(format!("{}{name}", own_prefix()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Removes every directory of this process: for a signal handler.
pub(crate) fn remove_own_directories() {
    let own = own_prefix();
    for entry in fs::read_dir(run_directories()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&own) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn run_directories() -> PathBuf {
    let target = workspace().join("target");
    if enterable(&target) { target.join("lab") } else { PathBuf::from("/tmp/sekisho-lab") }
}

fn own_prefix() -> String {
    format!("{}-", std::process::id())
}

/// Whether any user may reach what lies at `path`.
pub(crate) fn enterable(path: &Path) -> bool {
    path.ancestors()
        .filter(|up| up.is_dir())
        .all(|up| fs::metadata(up).is_ok_and(|meta| meta.permissions().mode() & 1 == 1))
}

/// The binary, or where another user cannot reach it (a checkout under /root), a copy in `directory` that it can.
///
/// # Errors
/// Fails when it cannot be copied.
pub fn reachable(binary: PathBuf, directory: &Path) -> Result<PathBuf> {
    if enterable(&binary) {
        return Ok(binary);
    }
    let copy = directory.join(binary.file_name().unwrap_or(binary.as_os_str()));
    if !copy.exists() {
        netns::run(Command::new("cp").arg("--reflink=auto").arg(&binary).arg(&copy))?;
    }
    Ok(copy)
}
