//! All cells, round by round, each written down at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cell::{self, Cell};
use crate::growth;
use crate::lab::Lab;
use crate::micro;
use crate::options::{Options, Scale};
use crate::peers::{self, Peer};
use crate::results::{Gate, Results, Run};
use crate::work::{self, Work};

/// A cell that took longer than this is measured in fewer rounds.
const SLOW: Duration = Duration::from_secs(5);
/// In so many.
const ROUNDS_OF_SLOW: usize = 3;

/// What the microbenches printed.
const MICRO: &str = "micro.txt";

/// Measures all that is asked for and not there already.
pub(crate) fn run(options: &Options) -> Result<(Results, PathBuf)> {
    let mut lab = Lab::new(options.threads(), options.scale() == Scale::Check)?;
    let (peers, works) = chosen(&lab, options)?;
    let run = Run::here(options);
    let out = directory(options, &run);
    let raw = out.join("raw");
    fs::create_dir_all(&raw).with_context(|| format!("cannot make {}", raw.display()))?;
    println!("{} cells in {} rounds; results go to {}", peers.len() * works.len(), options.rounds(), out.display());

    let gates = peers.iter().map(|peer| Gate { id: peer.id.clone(), version: peer.version.clone() }).collect();
    let mut results = Results { run, gates, cells: Vec::new(), growth: Vec::new(), micro: Vec::new() };
    if let Some(file) = &options.micro {
        fs::copy(file, raw.join(MICRO)).with_context(|| format!("cannot read {}", file.display()))?;
    }
    results.micro = micro::parse(&fs::read_to_string(raw.join(MICRO)).unwrap_or_default());
    let begun = Instant::now();
    let rounds = if works.is_empty() { 0 } else { options.rounds() };
    for round in 0..rounds {
        for (at, work) in works.iter().enumerate() {
            if round >= work.rounds() {
                continue;
            }
            for turn in 0..peers.len() {
                // Another gate is first for each work and in each round.
                let peer = &peers[(turn + at + round) % peers.len()];
                let place = Place { round, turn, file: raw.join(format!("{round}-{}-{}.json", work.id, peer.id)) };
                results.cells.extend(one(&mut lab, peer, work, &place, options)?);
            }
        }
        results.save(&out)?;
        let left = options.rounds() - round - 1;
        let each = begun.elapsed() / u32::try_from(round + 1).unwrap_or(1);
        println!(
            "-- round {} of {} done; about {} to go",
            round + 1,
            options.rounds(),
            clock(each * u32::try_from(left).unwrap_or(1))
        );
    }
    if let Some(sekisho) = peers.iter().find(|peer| peer.id == "sekisho") {
        results.growth = growth::run(&mut lab, sekisho, &raw, options)?;
        results.save(&out)?;
    }
    Ok((results, out))
}

struct Place {
    round: usize,
    turn: usize,
    file: PathBuf,
}

/// A cell that is there already with its figures is read, one that makes no sense or is too slow is left out, any other is measured.
fn one(lab: &mut Lab, peer: &Peer, work: &Work, place: &Place, options: &Options) -> Result<Option<Cell>> {
    if let Ok(text) = fs::read_to_string(&place.file) {
        let cell: Cell =
            serde_json::from_str(&text).with_context(|| format!("cannot read {}", place.file.display()))?;
        if cell.error.is_none() {
            return Ok(Some(cell));
        }
    }
    if !peer.serves(work.way)
        || work.is_refusal() && !peer.refuses()
        || (work.is_idle() || work.is_traced()) && !peer.is_gate()
    {
        return Ok(None);
    }
    if place.round >= ROUNDS_OF_SLOW && is_slow(peer, work, place) {
        return Ok(None);
    }
    let begun = Instant::now();
    let mut cell = cell::measure(lab, peer, work, options.scale(), options.threads());
    if cell.error.is_some() {
        // The gate may have been interrupted together with us, and a moment earlier.
        thread::sleep(Duration::from_millis(100));
        lab::await_interruption();
    }
    (cell.round, cell.turn) = (place.round, place.turn);
    fs::write(&place.file, serde_json::to_string_pretty(&cell)? + "\n")?;
    println!(
        "{:<10} {:<14} {:>5.1} s  {}",
        work.id,
        peer.id,
        begun.elapsed().as_secs_f64(),
        crate::figures::line(&cell)
    );
    Ok(Some(cell))
}

fn is_slow(peer: &Peer, work: &Work, place: &Place) -> bool {
    let first = place.file.with_file_name(format!("0-{}-{}.json", work.id, peer.id));
    let cell = fs::read_to_string(first).ok().and_then(|text| serde_json::from_str::<Cell>(&text).ok());
    cell.and_then(|cell| cell.load).is_some_and(|load| load.seconds > SLOW.as_secs_f64())
}

/// The gates and works that `--only` names, or all.
fn chosen(lab: &Lab, options: &Options) -> Result<(Vec<Peer>, Vec<Work>)> {
    let (peers, works) = (peers::all(lab, options)?, work::chosen(&options.only));
    let known = |only: &String| {
        peers.iter().any(|peer| peer.id == *only)
            || works.iter().any(|work| work.is_named(only))
            || growth::is_axis(only)
    };
    if let Some(unknown) = options.only.iter().find(|only| !known(only)) {
        bail!("there is no gate and no work `{unknown}`");
    }
    Ok((peers, works))
}

fn directory(options: &Options, run: &Run) -> PathBuf {
    let whole = options.scale() == Scale::Full && options.only.is_empty();
    let parent = if whole { "benches/results" } else { "target/bench" };
    let usual = || lab::workspace().join(parent).join(run.name());
    let given = options.resume.as_ref().or(options.out.as_ref());
    let directory = given.cloned().unwrap_or_else(usual);
    // Cells of another run are not ours, unless it is resumed.
    if options.resume.is_none() && given.is_none() {
        let _ = fs::remove_dir_all(Path::new(&directory));
    }
    directory
}

fn clock(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
