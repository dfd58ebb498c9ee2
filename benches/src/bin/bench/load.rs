//! `load` among the clients: what it is told, and the line that it prints.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sekisho_benches::figures::Figures;
use sekisho_benches::http::Way;

use crate::lab::{self, Lab};
use crate::options::cores;

/// The longest that a work may take: a gate that hangs must not hang the bench.
const LIMIT: Duration = Duration::from_secs(120);

/// `load` towards the origin, or towards the gate where it is the client's proxy, with a thread for each core and the names
/// of this file; the rest of its words has no spaces.
pub(crate) fn command(lab: &Lab, way: Way, names: &Path, words: &str) -> Result<Command> {
    let mut command = lab.load()?;
    match way {
        Way::Tls => command.args(["--to", &Lab::addresses()]),
        Way::Connect => command.args(["--way", "connect", "--to", lab::GATE, "--port", lab::PORT]),
        Way::Http => command.args(["--way", "http", "--to", &Lab::addresses()]),
    };
    command.args(["--threads", &cores().to_string(), "--names"]).arg(names);
    command.args(words.split_ascii_whitespace());
    Ok(command)
}

/// So many connections, so that every name is resolved and every thread has been at work.
pub(crate) fn warm_up(lab: &Lab, way: Way, names: &Path, count: u64) -> Result<()> {
    let mut command = command(lab, way, names, &format!("--work new --concurrency 32 --count {count}"))?;
    let figures = run(&mut command, || Ok(())).context("while warming up")?;
    let failed = figures.failed + figures.refused;
    ensure!(failed == 0, "{failed} of {count} failed while warming up: {:?}", figures.errors);
    Ok(())
}

/// Runs it to its end. Where it says `ready`, `at_ready` is called before it may go on.
pub(crate) fn run(command: &mut Command, mut at_ready: impl FnMut() -> Result<()>) -> Result<Figures> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let said = listen(&mut child, &mut at_ready);
    if said.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    let mut stderr = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_string(&mut stderr);
    }
    let line = said?;
    serde_json::from_str(&line).with_context(|| format!("load printed {line:?}, {}", stderr.trim_end()))
}

fn listen(child: &mut Child, at_ready: &mut impl FnMut() -> Result<()>) -> Result<String> {
    let stdout = child.stdout.take().context("no output")?;
    let (send, lines) = mpsc::channel();
    // Its own thread, so that a load that never says anything can be given up.
    thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line == "ready" => {
                at_ready()?;
                child.stdin.take().context("no input")?.write_all(b"\n")?;
            }
            Ok(line) => return Ok(line),
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("not done after {} s", LIMIT.as_secs()),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(String::new()),
        }
    }
}
