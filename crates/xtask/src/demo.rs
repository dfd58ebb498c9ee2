//! `cargo xtask demo`: a real AWS CLI, redirected through the gate, in a screen or two.

mod stage;
mod story;
mod teller;

use anyhow::Result;
use lab::Lab;

use self::stage::Stage;
use crate::setup::{self, Need};
use crate::{cargo, say};

/// Installs what is missing, builds, tells the story; with `shell`, leaves the user on the client's machine until they
/// are done. Nothing of it remains.
///
/// # Errors
/// Fails when something that it needs is missing and cannot be installed, and when the gate does not do as told here.
pub(crate) fn run(shell: bool) -> Result<()> {
    setup::ensure(&[Need::Demo])?;
    say::progress("building sekisho");
    cargo::run(&mut cargo::command(&["build", "--locked", "--package", "sekisho"]))?;

    say::progress("making three network namespaces, two DNS servers that never agree, an S3 server over TLS");
    let lab = Lab::new("demo")?;
    let stage = Stage::set(&lab)?;
    story::tell(&stage)?;
    if shell {
        stage.shell()?;
    } else {
        story::what_next();
    }
    drop(stage);
    drop(lab);
    println!("\n{}", say::dim("All of it is gone again: namespaces, servers, files."));
    Ok(())
}
