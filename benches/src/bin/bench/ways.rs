//! The other ways in, CONNECT and port 80: sekisho's figures as multiples of the others'.

use std::fmt::Write as _;

use sekisho_benches::http::Way;

use crate::figures::{self, Metric};
use crate::report;
use crate::results::Results;
use crate::targets::OURS;
use crate::work;

/// What is compared: what it is, work, figure.
const ROWS: &[(&str, &str, Metric)] = &[
    ("CPU of a connection by CONNECT", "connect-new", figures::cpu_per_connection),
    ("connections by CONNECT per second", "connect-new", figures::rate),
    ("CPU of a GB to the client, by CONNECT", "connect-down-8", figures::cpu_per_gb),
    ("memory of an idle tunnel", "connect-idle", figures::memory_each),
    ("CPU of a connection to port 80", "http-new", figures::cpu_per_connection),
    ("connections to port 80 per second", "http-new", figures::rate),
    ("CPU of a GB to the client, from port 80", "http-down-8", figures::cpu_per_gb),
];

/// Whether a run has figures of these works, or of those by TLS.
pub(crate) fn has(results: &Results, others: bool) -> bool {
    let is_other = |id: &str| work::of(id).is_some_and(|work| work.way != Way::Tls);
    results.cells.iter().any(|cell| is_other(&cell.work) == others)
}

/// Everything about them: where it was measured, what is compared, each work.
pub(crate) fn section(results: &Results) -> String {
    format!("{}\n\n{}\n{}", report::run_line(results), table(results), report::works(results, true))
}

/// A row for each figure, a column for each other gate.
pub(crate) fn table(results: &Results) -> String {
    let others = results.gates.iter().map(|gate| gate.id.as_str()).filter(|id| *id != OURS && *id != "direct");
    let is_there =
        |gate: &&str| ROWS.iter().any(|(_, work, metric)| results.ratio(OURS, gate, work, *metric).is_some());
    let others: Vec<_> = others.filter(is_there).collect();
    if others.is_empty() {
        return "Nothing to compare sekisho with was measured.\n".to_owned();
    }
    let heads: Vec<_> = others.iter().map(|gate| format!("× {gate}")).collect();
    let mut text = format!("| sekisho's | {} |\n|---|{}\n", heads.join(" | "), "---:|".repeat(heads.len()));
    for (what, work, metric) in ROWS {
        let shown = |gate: &&str| {
            results.ratio(OURS, gate, work, *metric).map_or_else(|| "–".to_owned(), |summary| summary.to_string())
        };
        let cells: Vec<_> = others.iter().map(shown).collect();
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{has, table};
    use crate::results::Results;

    fn cell(gate: &str, round: usize, cpu: f64) -> Value {
        let load = json!({
            "work": "new", "connections": 1000, "failed": 0, "refused": 0, "requests": 1000, "bytes_up": 1, "bytes_down": 1,
            "seconds": 1.0, "latency_us": { "p50": 1.0, "p99": 1.0, "p999": 1.0 }, "cpu_user": 0.0, "cpu_system": 0.0,
            "errors": {}
        });
        let usage = json!({ "user": cpu, "system": 0.0, "voluntary": 0, "involuntary": 0 });
        json!({ "gate": gate, "work": "connect-new", "round": round, "turn": 0, "load": load, "usage": usage })
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_only_of_gates_that_were_measured() {
        let run = json!({
            "date": "", "processor": "", "cores": 1, "memory_mib": 1, "kernel": "", "threads": 1, "rounds": 2, "scale": "",
            "commit": ""
        });
        let gates = ["direct", "sekisho", "haproxy", "squid"].map(|id| json!({ "id": id, "version": "1" }));
        let cells = [cell("sekisho", 0, 1.0), cell("squid", 0, 2.0), cell("sekisho", 1, 30.0), cell("squid", 1, 40.0)];
        let results = json!({ "run": run, "gates": gates, "cells": cells });
        let results: Results = serde_json::from_value(results).expect("the form of results");
        let table = table(&results);
        assert!(table.starts_with("| sekisho's | × squid |\n|---|---:|\n"), "{table}");
        assert!(table.contains("| CPU of a connection by CONNECT | 0.62 (0.50–0.75) |"), "{table}");
        assert!(table.contains("| CPU of a connection to port 80 | – |"), "{table}");
        assert_eq!((has(&results, true), has(&results, false)), (true, false));
    }
}
