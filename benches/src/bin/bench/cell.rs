//! One cell: one kind of work through one gate, and what it cost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sekisho_benches::figures::Figures;
use serde::{Deserialize, Serialize};

use crate::figures::divided;
use crate::gate::Gate;
use crate::lab::Lab;
use crate::options::Scale;
use crate::peers::Peer;
use crate::trace::Trace;
use crate::usage::{Processes, Usage};
use crate::work::Work;

/// The longest that a work may take: a gate that hangs must not hang the bench.
const LIMIT: Duration = Duration::from_secs(120);
/// After the work's end, until what the gate does about it is done.
const SETTLE: Duration = Duration::from_millis(100);
/// After all idle connections have closed, until memory is looked at.
const AFTER_CLOSE: Duration = Duration::from_secs(2);

/// What `load` counts a connection as that was to be refused and was not.
const SERVED: &str = "served, not refused";

/// What is written down of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) gate: String,
    pub(crate) work: String,
    pub(crate) round: usize,
    /// In which order the gates had their turn: 0 was the first.
    pub(crate) turn: usize,
    /// What kept it from being measured. Nothing below is there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What `load` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<Figures>,
    /// What the gate used; nothing for `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    /// System calls for each connection, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calls: Option<Calls>,
}

/// How many for each connection, by name.
pub(crate) type Calls = BTreeMap<String, f64>;

/// The gate's memory in KiB of PSS.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Before the first connection.
    pub(crate) start: u64,
    /// After those of the warming up.
    pub(crate) warm: u64,
    /// With all connections open.
    pub(crate) open: u64,
    /// Two seconds after they have closed.
    pub(crate) after: u64,
}

/// Starts the gate, warms it up, does the work. A failure is a cell too.
pub(crate) fn measure(lab: &mut Lab, peer: &Peer, work: &Work, scale: Scale, threads: usize) -> Cell {
    let empty = Cell {
        gate: peer.id.clone(),
        work: work.id.to_owned(),
        round: 0,
        turn: 0,
        error: None,
        load: None,
        usage: None,
        memory: None,
        calls: None,
    };
    let started = Gate::start(lab, peer, threads);
    let mut gate = match started {
        Ok(gate) => gate,
        Err(error) => return Cell { error: Some(format!("{error:#}")), ..empty },
    };
    if work.is_traced() {
        return match traced(lab, &gate, work, scale) {
            Ok(calls) => Cell { calls: Some(calls), ..empty },
            Err(error) => Cell { error: Some(format!("{error:#}")), ..empty },
        };
    }
    match work_through(lab, &mut gate, work, scale) {
        Ok((load, usage, memory)) => Cell {
            load: Some(load),
            usage: peer.is_gate().then_some(usage),
            memory: memory.filter(|_| peer.is_gate()),
            ..empty
        },
        Err(error) => {
            let said = gate.last_words();
            let said = if said.is_empty() { said } else { format!("; the gate says: {said}") };
            Cell { error: Some(format!("{error:#}{said}")), ..empty }
        }
    }
}

fn work_through(lab: &Lab, gate: &mut Gate, work: &Work, scale: Scale) -> Result<(Figures, Usage, Option<Memory>)> {
    let start = memory(gate)?;
    warm_up(lab, work, scale)?;
    thread::sleep(SETTLE);
    let warm = memory(gate)?;
    let before = usage(gate)?;
    let mut open = 0;
    let load = run(lab, work, scale, || {
        open = memory(gate)?;
        Ok(())
    })?;
    thread::sleep(SETTLE);
    let used = usage(gate)?.since(before);
    gate.check()?;
    if work.is_refusal() {
        // Some gates close without an alert, which `load` counts as failed. It must not have been answered.
        let served = load.errors.get(SERVED).copied().unwrap_or(0);
        ensure!(
            served == 0 && load.connections == load.refused + load.failed,
            "{served} names that are not listed were let through"
        );
    } else {
        ensure!(
            load.failed == 0 && load.refused == 0,
            "{} of {} failed: {:?}",
            load.failed + load.refused,
            load.connections,
            load.errors
        );
    }
    if let Some(bytes) = work.bulk(scale) {
        let carried = load.bytes_up.max(load.bytes_down);
        ensure!(carried >= bytes, "{carried} bytes arrived of {bytes}");
    }
    let memory = if work.is_idle() {
        thread::sleep(AFTER_CLOSE);
        Some(Memory { start, warm, open, after: memory(gate)? })
    } else {
        None
    };
    Ok((load, used, memory))
}

fn traced(lab: &Lab, gate: &Gate, work: &Work, scale: Scale) -> Result<Calls> {
    warm_up(lab, work, scale)?;
    let pids: Vec<_> = gate.processes().flat_map(Processes::pids).collect();
    let trace = Trace::start(&pids, &lab.directory)?;
    let load = run(lab, work, scale, || Ok(()))?;
    thread::sleep(SETTLE);
    let calls = trace.end()?;
    ensure!(load.failed == 0, "{} of {} failed under strace: {:?}", load.failed, load.connections, load.errors);
    Ok(calls.into_iter().map(|(name, count)| (name, divided(count, load.connections))).collect())
}

/// Every name once or twice, so that each is resolved; for refusals, some of these.
fn warm_up(lab: &Lab, work: &Work, scale: Scale) -> Result<()> {
    let count = if scale == Scale::Check { "64" } else { "2000" };
    let kind = if work.is_refusal() { "refused" } else { "new" };
    let mut command = lab.load()?;
    command.args(["--work", kind, "--hello", "large", "--concurrency", "32", "--count", count]);
    let load = finish(towards(lab, command, !work.is_refusal()), || Ok(())).context("while warming up")?;
    ensure!(work.is_refusal() || load.failed == 0, "{} failed while warming up: {:?}", load.failed, load.errors);
    Ok(())
}

fn run(lab: &Lab, work: &Work, scale: Scale, at_ready: impl FnMut() -> Result<()>) -> Result<Figures> {
    let mut command = lab.load()?;
    command.args(work.arguments(scale));
    finish(towards(lab, command, !work.is_refusal()), at_ready)
}

fn towards(lab: &Lab, mut command: Command, listed: bool) -> Command {
    let threads = crate::options::cores().to_string();
    command
        .args(["--to", &Lab::addresses(), "--port", "443", "--threads", &threads])
        .arg("--names")
        .arg(lab.names(listed));
    command
}

/// Runs `load` to its end; where it says `ready`, `at_ready` is called before it may go on.
fn finish(mut command: Command, mut at_ready: impl FnMut() -> Result<()>) -> Result<Figures> {
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

fn usage(gate: &Gate) -> Result<Usage> {
    gate.processes().try_fold(Usage::default(), |sum, processes| {
        let one = processes.usage()?;
        Ok(Usage {
            user: sum.user + one.user,
            system: sum.system + one.system,
            voluntary: sum.voluntary + one.voluntary,
            involuntary: sum.involuntary + one.involuntary,
        })
    })
}

fn memory(gate: &Gate) -> Result<u64> {
    gate.processes().map(Processes::memory).sum()
}
