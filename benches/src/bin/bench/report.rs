//! The table of a run, from its cells.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;
use sekisho_benches::http::Way;

use crate::cell::Cell;
use crate::figures::{self, Metric, number};
use crate::growth::AXES;
use crate::options::{Options, Scale};
use crate::results::Results;
use crate::{plots, targets, ways, work};

/// How much faster the clients and servers have to be by themselves than through any gate.
const GENERATOR: f64 = 1.5;

/// Writes `table.md` and what was asked for besides; prints the table. Whether every cell has figures.
pub(crate) fn write(results: &Results, out: &Path, options: &Options) -> Result<bool> {
    let table = table(results);
    fs::write(out.join("table.md"), &table)?;
    plots::draw(results, plots::BARS, out)?;
    plots::draw(results, plots::BARS_OF_WAYS, out)?;
    plots::draw_growth(results, out)?;
    results.save(out)?;
    if let Some(file) = &options.json {
        results.save_as(file)?;
    }
    println!("\n{table}");
    if let Some(doubt) = doubt(results) {
        println!("{doubt}");
    }
    let failed = results.cells.iter().filter(|cell| cell.error.is_some()).count()
        + results.growth.iter().filter(|point| point.error.is_some()).count();
    println!(
        "{} cells, {failed} without figures; all of it is in {}",
        results.cells.len() + results.growth.len(),
        out.display()
    );
    Ok(options.scale() != Scale::Check || failed == 0)
}

/// The columns of a kind of work.
fn columns(kind: &str) -> &'static [(&'static str, Metric)] {
    match kind {
        "bulk-down" | "bulk-up" => &[("CPU s/GB", figures::cpu_per_gb), ("MB/s", figures::throughput)],
        "round-trips" => &[("p50 µs", figures::p50), ("p99 µs", figures::p99), ("p99.9 µs", figures::p999)],
        "idle" => &[
            ("KiB each", figures::memory_each),
            ("KiB base", figures::memory_base),
            ("KiB left after", figures::memory_left),
        ],
        _ => &[
            ("CPU µs each", figures::cpu_per_connection),
            ("of it user", figures::user_per_connection),
            ("per second", figures::rate),
            ("p50 µs", figures::p50),
            ("p99 µs", figures::p99),
            ("switches each", figures::switches),
        ],
    }
}

/// Everything about a run.
fn table(results: &Results) -> String {
    let targets = targets::table(&targets::all(results));
    let others = if ways::has(results, true) {
        format!("\n## Other ways in\n\n{}", ways::table(results))
    } else {
        String::new()
    };
    format!(
        "# Bench\n\n{}\n\n## The targets\n\n{targets}{}{others}{}{}{}",
        run_line(results),
        works(results, false),
        works(results, true),
        growth(results),
        micro(results)
    )
}

/// Where, when and how often.
pub(crate) fn run_line(results: &Results) -> String {
    let run = &results.run;
    format!(
        "{}, {}, {} cores, {} MiB, Linux {}; {} rounds ({}), {} threads for each gate, sekisho {}. Figures are medians (least–greatest).",
        run.date, run.processor, run.cores, run.memory_mib, run.kernel, run.rounds, run.scale, run.threads, run.commit
    )
}

/// A table for each work, of those by TLS or of those by other ways.
pub(crate) fn works(results: &Results, others: bool) -> String {
    let mut text = String::new();
    for work in work::ALL.iter().filter(|work| (work.way != Way::Tls) == others) {
        let cells = || results.cells.iter().filter(|cell| cell.work == work.id);
        if cells().next().is_none() {
            continue;
        }
        let columns = columns(work.kind);
        let _ = writeln!(text, "\n## {}: {}\n", work.id, work.about);
        if work.is_traced() {
            text += &calls(results, work.id);
            continue;
        }
        text += "| |";
        let titles: Vec<_> = columns.iter().map(|(title, _)| *title).collect();
        let _ = writeln!(text, " {} |\n|---|{}", titles.join(" | "), "---:|".repeat(columns.len()));
        for gate in &results.gates {
            let row = row(results, &gate.id, work.id, columns);
            if let Some(row) = row {
                let _ = writeln!(text, "| {} {} | {row} |", gate.id, gate.version);
            }
        }
    }
    text
}

/// How sekisho's cost grows: a table for each axis.
pub(crate) fn growth(results: &Results) -> String {
    let mut text = String::new();
    for axis in AXES {
        let rows = axis.summaries(&results.growth);
        let errors = results
            .growth
            .iter()
            .filter(|point| point.axis == axis.id)
            .filter_map(|point| Some((point.at, point.error.as_ref()?)));
        if rows.is_empty() && errors.clone().next().is_none() {
            continue;
        }
        let _ = writeln!(
            text,
            "\n## growth-{}: {}\n\n| {} | {} | MiB at start |\n|---:|---:|---:|",
            axis.id, axis.title, axis.by, axis.unit
        );
        for (at, figure, memory) in rows {
            let memory = memory.map_or_else(|| "–".to_owned(), |kib| number(kib.median / 1024.0));
            let _ = writeln!(text, "| {at} | {figure} | {memory} |");
        }
        for (at, error) in errors {
            let _ = writeln!(text, "\nAt {at} it failed: {}", error.replace('\n', " "));
        }
    }
    text
}

/// What the microbenches say.
pub(crate) fn micro(results: &Results) -> String {
    if results.micro.is_empty() {
        return String::new();
    }
    let mut text = "\n## What a connection passes, by itself\n\n| | ns, median |\n|---|---:|\n".to_owned();
    for one in &results.micro {
        let _ = writeln!(text, "| {} | {} |", one.name, number(one.ns));
    }
    text
}

/// System calls for each connection: a row for each call, a column for each gate.
pub(crate) fn calls(results: &Results, work: &str) -> String {
    let gates: Vec<_> =
        results.gates.iter().filter_map(|gate| Some((&gate.id, results.of(&gate.id, work).next()?))).collect();
    let names: BTreeSet<_> =
        gates.iter().filter_map(|(_, cell)| cell.calls.as_ref()).flat_map(BTreeMap::keys).collect();
    let often = |name: &&&String| {
        gates.iter().any(|(_, cell)| cell.calls.as_ref().and_then(|calls| calls.get(**name)) >= Some(&0.05))
    };
    let heads: Vec<_> = gates.iter().map(|(id, _)| id.as_str()).collect();
    let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len()));
    let mut row = |name: &str, of: &dyn Fn(&Cell) -> Option<f64>| {
        let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"));
        let values: Vec<_> = gates.iter().map(|(_, cell)| shown(of(cell))).collect();
        let _ = writeln!(text, "| {name} | {} |", values.join(" | "));
    };
    row("**all**", &figures::calls);
    for name in names.iter().filter(often) {
        row(name, &|cell| cell.calls.as_ref().and_then(|calls| calls.get(*name)).copied());
    }
    for (gate, error) in gates.iter().filter_map(|(id, cell)| Some((id, cell.error.as_deref()?))) {
        let _ = writeln!(text, "\n{gate} could not be traced: {}", error.replace('\n', " "));
    }
    text
}

fn row(results: &Results, gate: &str, work: &str, columns: &[(&str, Metric)]) -> Option<String> {
    let mut cells = results.of(gate, work).peekable();
    cells.peek()?;
    let shown =
        |metric: &Metric| results.summary(gate, work, *metric).map_or_else(|| "–".to_owned(), |s| s.to_string());
    let mut row: Vec<_> = columns.iter().map(|(_, metric)| shown(metric)).collect();
    let all = results.of(gate, work).count();
    let errors: Vec<_> = cells.filter_map(|cell| cell.error.as_deref()).collect();
    if let (Some(error), Some(last)) = (errors.first(), row.last_mut()) {
        let error = error.replace(['\n', '|'], " ");
        let _ = write!(last, "; failed in {} of {all}: {error}", errors.len());
    }
    Some(row.join(" | "))
}

/// What is to be said where the gates were not what was measured.
fn doubt(results: &Results) -> Option<String> {
    let rate = |gate: &str| results.summary(gate, "new-large", figures::rate).map(|summary| summary.median);
    let gates = results.gates.iter().filter(|gate| gate.id != "direct");
    let (fastest, most) =
        gates.filter_map(|gate| Some((&gate.id, rate(&gate.id)?))).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let Some(direct) = rate("direct") else {
        return Some("`direct` was not run, so nobody knows whether the generator was the limit.".to_owned());
    };
    let factor = direct / most;
    (factor < GENERATOR).then(|| {
        format!(
            "This measured the generator: routed straight, it makes {factor:.2} times the connections that {fastest} lets through, \
             and should make {GENERATOR} times as many."
        )
    })
}
