//! How sekisho's cost grows: one number is varied, all else stays.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::metrics::Metrics;
use sekisho_benches::http::Way;
use serde::{Deserialize, Serialize};

use crate::figures::{Summary, divided, number};
use crate::gate::{Gate, Setting};
use crate::lab::{Lab, NAMES};
use crate::load;
use crate::options::{Options, Scale};
use crate::peers::Peer;
use crate::policies;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// What `--only` and the results call it, after `growth-`.
    pub(crate) id: &'static str,
    /// What the picture shows.
    pub(crate) title: &'static str,
    /// What is varied, for people.
    pub(crate) by: &'static str,
    /// What the figure is of.
    pub(crate) unit: &'static str,
    kind: Kind,
    full: &'static [u32],
    check: &'static [u32],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Names,
    Ranges,
    Open,
    Bytes,
    Threads,
    Reload,
}

const CPU: &str = "CPU µs of a connection";

/// Every axis.
pub(crate) const AXES: &[Axis] = &[
    Axis {
        id: "names",
        title: "CPU of a new connection by names in the policy, µs",
        by: "names",
        unit: CPU,
        kind: Kind::Names,
        full: &[10, 1_000, 10_000, 100_000, 1_000_000],
        check: &[10, 2_000],
    },
    Axis {
        id: "ranges",
        title: "CPU of a new connection by rules for other clients, µs",
        by: "rules with a client range before the one that matches",
        unit: CPU,
        kind: Kind::Ranges,
        // A policy has at most 10,000 rules, and one more lets the clients through.
        full: &[1, 10, 100, 1_000, 9_999],
        check: &[1, 50],
    },
    Axis {
        id: "open",
        title: "CPU of a new connection by connections that are open, µs",
        by: "idle connections beside",
        unit: CPU,
        kind: Kind::Open,
        full: &[100, 1_000, 3_000, 9_000],
        check: &[10, 30],
    },
    Axis {
        id: "bytes",
        title: "CPU of a connection by bytes to the client, µs",
        by: "bytes",
        unit: CPU,
        kind: Kind::Bytes,
        full: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000],
        check: &[1_000, 100_000],
    },
    Axis {
        id: "threads",
        title: "CPU of a new connection by threads, µs",
        by: "threads",
        unit: CPU,
        kind: Kind::Threads,
        full: &[1, 2],
        check: &[1, 2],
    },
    Axis {
        id: "reload",
        title: "p99.9 of a round trip without and with a reload of 1,000,000 names, µs",
        by: "reloads meanwhile",
        unit: "p99.9 µs of a round trip",
        kind: Kind::Reload,
        full: &[0, 1],
        check: &[0, 1],
    },
    Axis {
        id: "reload-new",
        title: "p99.9 of a new connection without and with a reload of 1,000,000 names, µs",
        by: "reloads meanwhile",
        unit: "p99.9 µs of a new connection",
        kind: Kind::Reload,
        full: &[0, 1],
        check: &[0, 1],
    },
];

/// How often at most.
const ROUNDS: usize = 3;

/// One figure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) axis: String,
    /// Where on the axis.
    pub(crate) at: u32,
    pub(crate) round: usize,
    /// In the axis's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) figure: Option<f64>,
    /// The gate's memory before any connection, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Whether `--only` may say this: all of them, or one.
pub(crate) fn is_axis(only: &str) -> bool {
    only == "growth" || AXES.iter().any(|axis| only.strip_prefix("growth-") == Some(axis.id))
}

impl Axis {
    /// Whether `--only` wants it.
    pub(crate) fn is_wanted(&self, options: &Options) -> bool {
        let only = &options.only;
        let named = only.iter().any(|only| only == "growth" || only.strip_prefix("growth-") == Some(self.id));
        named || only.is_empty() && options.scale() != Scale::Quick
    }

    /// Where it was measured, each with its figure and the memory in KiB before any connection.
    pub(crate) fn summaries(&self, points: &[Point]) -> Vec<(u32, Summary, Option<Summary>)> {
        let own = || points.iter().filter(|point| point.axis == self.id);
        let places: BTreeSet<_> = own().map(|point| point.at).collect();
        let at = |at: u32| {
            let here = || own().filter(move |point| point.at == at);
            let memory = here().filter_map(|point| point.memory.map(|kib| divided(kib, 1))).collect();
            Some((at, Summary::of(here().filter_map(|point| point.figure).collect())?, Summary::of(memory)))
        };
        places.into_iter().filter_map(at).collect()
    }

    fn points(&self, scale: Scale) -> &'static [u32] {
        if scale == Scale::Check { self.check } else { self.full }
    }
}

/// The gate's memory in KiB before any connection, for each place of an axis.
pub(crate) fn memory(points: &[Point], axis: &str) -> Vec<(u32, f64)> {
    let axis = AXES.iter().find(|one| one.id == axis);
    let summaries = axis.map(|axis| axis.summaries(points)).unwrap_or_default();
    summaries.into_iter().filter_map(|(at, _, memory)| Some((at, memory?.median))).collect()
}

/// One place of an axis by another, within each round.
pub(crate) fn compared(
    points: &[Point],
    axis: &str,
    (one, other): (u32, u32),
    how: fn(f64, f64) -> f64,
) -> Option<Summary> {
    let at = |at: u32, round: usize| {
        points.iter().find(|point| point.axis == axis && point.at == at && point.round == round)?.figure
    };
    Summary::of((0..ROUNDS).filter_map(|round| Some(how(at(one, round)?, at(other, round)?))).collect())
}

/// Measures every axis that is wanted, as often as [`ROUNDS`] says, and writes each point down at once.
pub(crate) fn run(lab: &mut Lab, sekisho: &Peer, raw: &Path, options: &Options) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    let axes: Vec<_> = AXES.iter().filter(|axis| axis.is_wanted(options)).collect();
    for round in 0..options.rounds().min(ROUNDS) {
        for axis in &axes {
            for at in axis.points(options.scale()) {
                let file = raw.join(format!("growth-{}-{at}-{round}.json", axis.id));
                if let Ok(text) = fs::read_to_string(&file) {
                    points
                        .push(serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?);
                    continue;
                }
                let begun = Instant::now();
                let point = point(lab, sekisho, axis, *at, round, options);
                if point.error.is_some() {
                    lab::await_interruption();
                }
                fs::write(&file, serde_json::to_string_pretty(&point)? + "\n")?;
                let figure =
                    point.figure.map_or_else(String::new, |figure| format!("{} {}", number(figure), axis.unit));
                let said = point.error.as_ref().map_or(figure, |error| format!("FAILED: {error}"));
                println!("growth-{:<11} {at:>8} {:>5.1} s  {said}", axis.id, begun.elapsed().as_secs_f64());
                points.push(point);
            }
        }
    }
    Ok(points)
}

fn point(lab: &mut Lab, sekisho: &Peer, axis: &Axis, at: u32, round: usize, options: &Options) -> Point {
    let empty = Point { axis: axis.id.to_owned(), at, round, figure: None, memory: None, error: None };
    let small = options.scale() == Scale::Check;
    match Stage::set(lab, sekisho, axis, at, options).and_then(|stage| stage.measure(axis, at, small)) {
        Ok((figure, memory)) => Point { figure: Some(figure), memory: Some(memory), ..empty },
        Err(error) => Point { error: Some(format!("{error:#}")), ..empty },
    }
}

/// The gate for one point, and the names that it is asked for.
struct Stage<'lab> {
    lab: &'lab Lab,
    gate: Gate,
    names: PathBuf,
}

impl<'lab> Stage<'lab> {
    fn set(lab: &'lab mut Lab, sekisho: &Peer, axis: &Axis, at: u32, options: &Options) -> Result<Self> {
        let usual = usize::try_from(at)?;
        let small = options.scale() == Scale::Check;
        let (asked, policy) = match axis.kind {
            Kind::Names => (usual.min(NAMES), Some(policies::names(lab, usual)?)),
            Kind::Ranges => (policies::OF_RANGES, Some(policies::ranges(at))),
            Kind::Reload => (NAMES, Some(policies::names(lab, if small { 2_000 } else { 1_000_000 })?)),
            Kind::Open | Kind::Bytes | Kind::Threads => (NAMES, None),
        };
        let names = lab.directory.join("asked.txt");
        let all = fs::read_to_string(lab.names(true))?;
        fs::write(&names, all.split_inclusive('\n').take(asked).collect::<String>())?;
        let threads = if axis.kind == Kind::Threads { usual } else { options.threads() };
        let gate = Gate::start(lab, sekisho, &Setting { threads, way: Way::Tls, policy })?;
        Ok(Self { lab, gate, names })
    }

    /// The figure, and the memory before any connection.
    fn measure(&self, axis: &Axis, at: u32, small: bool) -> Result<(f64, u64)> {
        let memory = self.gate.memory()?;
        load::warm_up(self.lab, Way::Tls, &self.names, if small { 64 } else { 2000 })?;
        let new =
            if small { "--work new --concurrency 16 --count 64" } else { "--work new --concurrency 64 --count 15000" };
        let figure = match axis.kind {
            Kind::Names | Kind::Ranges | Kind::Threads => self.cpu(new)?,
            Kind::Open => self.beside_idle(at, new)?,
            Kind::Bytes => {
                let count = if small { 16 } else { (500_000_000 / at).clamp(50, 15_000) };
                self.cpu(&format!("--work bulk-down --bytes {at} --concurrency 16 --count {count}"))?
            }
            Kind::Reload => self.while_reloading(axis.id == "reload-new", at == 1, small)?,
        };
        Ok((figure, memory))
    }

    /// Microseconds of CPU for each connection of this work.
    fn cpu(&self, words: &str) -> Result<f64> {
        thread::sleep(Duration::from_millis(100));
        let before = self.gate.usage()?;
        let figures = load::run(&mut load::command(self.lab, Way::Tls, &self.names, words)?, || Ok(()))?;
        ensure!(figures.failed + figures.refused == 0, "{} failed: {:?}", figures.failed, figures.errors);
        thread::sleep(Duration::from_millis(100));
        let used = self.gate.usage()?.since(before);
        Ok((used.user + used.system) * 1e6 / divided(figures.connections, 1))
    }

    fn beside_idle(&self, count: u32, words: &str) -> Result<f64> {
        let idle = format!("--work idle --concurrency {count} --count {count}");
        let mut figure = 0.0;
        let figures = load::run(&mut load::command(self.lab, Way::Tls, &self.names, &idle)?, || {
            figure = self.cpu(words)?;
            Ok(())
        })?;
        ensure!(figures.failed == 0, "{} of the idle ones failed: {:?}", figures.failed, figures.errors);
        Ok(figure)
    }

    /// The p99.9 of some seconds in which, after the first of them, the policy is replaced by one that has a name more.
    fn while_reloading(&self, new: bool, reload: bool, small: bool) -> Result<f64> {
        let words = match (new, small) {
            (true, true) => "--work new --concurrency 4 --seconds 3",
            (true, false) => "--work new --concurrency 8 --seconds 6",
            (false, true) => "--work round-trips --concurrency 4 --count 4 --rounds 20000",
            (false, false) => "--work round-trips --concurrency 8 --count 8 --rounds 50000",
        };
        let before = self.reloads()?;
        let mut command = load::command(self.lab, Way::Tls, &self.names, words)?;
        let figures = thread::scope(|scope| {
            let replacing = scope.spawn(|| -> Result<()> {
                thread::sleep(Duration::from_millis(500));
                if reload {
                    self.replace_policy()?;
                }
                Ok(())
            });
            let figures = load::run(&mut command, || Ok(()));
            if !matches!(replacing.join(), Ok(Ok(()))) {
                bail!("the policy could not be replaced");
            }
            figures
        })?;
        ensure!(figures.failed + figures.refused == 0, "{} failed: {:?}", figures.failed, figures.errors);
        let reloads = self.reloads()? - before;
        ensure!(reload == (reloads > 0.5), "{reloads} reloads while the load ran for {:.1} s", figures.seconds);
        Ok(figures.latency_us.p999)
    }

    fn replace_policy(&self) -> Result<()> {
        let (policy, next) = (self.gate.directory.join("policy.yaml"), self.gate.directory.join("policy.next"));
        let text = fs::read_to_string(&policy)?;
        // It has to mean something else, or the gate keeps what it has.
        fs::write(&next, format!("{text}  - {{ name: one more, hosts: [one-more.example.com] }}\n"))?;
        fs::rename(next, policy).context("cannot replace the policy")
    }

    fn reloads(&self) -> Result<f64> {
        let admin = SocketAddr::from(([127, 0, 0, 1], 9180));
        let (_, text) = lab::gate::get(&self.lab.gate, admin, "/metrics")?;
        Ok(Metrics::parse(&text)?.sum("sekisho_policy_reloads_total", &[("result", "loaded")]))
    }
}
