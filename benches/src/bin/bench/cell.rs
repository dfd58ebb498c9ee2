//! One cell: one kind of work through one gate, and what it cost.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sekisho_benches::figures::Figures;
use serde::{Deserialize, Serialize};

use crate::figures::divided;
use crate::gate::{Gate, Setting};
use crate::lab::Lab;
use crate::load;
use crate::options::Scale;
use crate::peers::Peer;
use crate::trace::Trace;
use crate::usage::{Processes, Usage};
use crate::work::Work;

/// After the work's end, until what the gate does about it is done; and after all idle connections have closed, until memory
/// is looked at.
fn pauses(scale: Scale) -> (Duration, Duration) {
    let (settle, after_close) = if scale == Scale::Check { (20, 200) } else { (100, 2000) };
    (Duration::from_millis(settle), Duration::from_millis(after_close))
}

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
    let started = Gate::start(lab, peer, &Setting { threads, way: work.way, policy: None });
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
            let said = gate.words();
            let said = if said.is_empty() { said } else { format!("; the gate says: {said}") };
            Cell { error: Some(format!("{error:#}{said}")), ..empty }
        }
    }
}

fn work_through(lab: &Lab, gate: &mut Gate, work: &Work, scale: Scale) -> Result<(Figures, Usage, Option<Memory>)> {
    let (settle, after_close) = pauses(scale);
    let start = gate.memory()?;
    warm_up(lab, work, scale)?;
    thread::sleep(settle);
    let warm = gate.memory()?;
    let before = gate.usage()?;
    let mut open = 0;
    let load = run(lab, work, scale, || {
        open = gate.memory()?;
        Ok(())
    })?;
    thread::sleep(settle);
    let used = gate.usage()?.since(before);
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
        thread::sleep(after_close);
        Some(Memory { start, warm, open, after: gate.memory()? })
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
    thread::sleep(pauses(scale).0);
    let calls = trace.end()?;
    let failed = load.failed + load.refused;
    ensure!(failed == 0, "{failed} of {} failed under strace: {:?}", load.connections, load.errors);
    Ok(calls.into_iter().map(|(name, count)| (name, divided(count, load.connections))).collect())
}

/// Every name twice, so that each is resolved; for refusals, as many of these.
fn warm_up(lab: &Lab, work: &Work, scale: Scale) -> Result<()> {
    if work.is_refusal() {
        let mut command =
            load::command(lab, work.way, &lab.names(false), "--work refused --concurrency 32 --count 64")?;
        return load::run(&mut command, || Ok(())).map(drop).context("while warming up");
    }
    load::warm_up(lab, work.way, &lab.names(true), if scale == Scale::Check { 64 } else { 2000 })
}

fn run(lab: &Lab, work: &Work, scale: Scale, at_ready: impl FnMut() -> Result<()>) -> Result<Figures> {
    let mut command = load::command(lab, work.way, &lab.names(!work.is_refusal()), &work.arguments(scale))?;
    if scale == Scale::Check {
        command.arg("--verify");
    }
    load::run(&mut command, at_ready)
}
