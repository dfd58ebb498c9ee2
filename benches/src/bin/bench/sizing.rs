//! What docs/sizing.md takes from a run: what things cost, and its examples worked out.

use crate::figures::{self, number};
use crate::results::Results;

/// Figures of sekisho, medians.
struct Costs {
    /// CPU microseconds of a connection.
    connection: Option<f64>,
    /// CPU seconds of a gigabyte.
    gigabyte: Option<f64>,
    /// KiB of an idle connection.
    idle: Option<f64>,
    /// MiB without any.
    base: Option<f64>,
}

impl Costs {
    fn of(results: &Results) -> Self {
        let median = |work, metric| results.summary("sekisho", work, metric).map(|summary| summary.median);
        Self {
            connection: median("new-large", figures::cpu_per_connection),
            gigabyte: median("down-8", figures::cpu_per_gb),
            idle: median("idle", figures::memory_each),
            base: median("idle", figures::memory_base).map(|kib| kib / 1024.0),
        }
    }

    /// CPUs for so many new connections and gigabytes a second.
    fn cpus(&self, connections: f64, gigabytes: f64) -> Option<f64> {
        Some(connections * self.connection? / 1e6 + gigabytes * self.gigabyte?)
    }
}

/// The table of costs.
pub(crate) fn costs(results: &Results) -> String {
    let Costs { connection, gigabyte, idle, base } = Costs::of(results);
    let rows = [
        ("*c*", "CPU of a connection, from its first packet to its record", connection, "µs"),
        ("*g*", "CPU of a gigabyte of bulk data", gigabyte, "s"),
        ("*m*", "Memory of the process for an idle connection", idle, "KiB"),
        ("", "Memory of the process without any", base, "MiB"),
    ];
    let row = |(sign, what, value, unit): &(&str, &str, Option<f64>, &str)| {
        format!("| {sign} | {what} | {} |\n", shown(*value, unit))
    };
    format!("| Sign | What | Measured |\n|---|---|---|\n{}", rows.iter().map(row).collect::<String>())
}

/// What the page's 10,000 hosts take.
pub(crate) fn hosts(results: &Results) -> String {
    let costs = Costs::of(results);
    let (cpus, process) = (costs.cpus(2000.0, 1.25), costs.idle.zip(costs.base));
    let process = process.map(|(idle, base)| 100_000.0 * idle / 1024.0 + base);
    format!(
        "- **CPU**: 2,000 × *c* + 1.25 × *g* is {}; so plan for twice that, {}.\n- **Memory** of the process: 100,000 × *m* and its base are {}.\n",
        shown(cpus, "CPUs"),
        shown(cpus.map(|cpus| 2.0 * cpus), "CPUs"),
        shown(process, "MiB"),
    )
}

/// What the page's 100 Gbit/s take, over seven gates.
pub(crate) fn gigabits(results: &Results) -> String {
    let costs = Costs::of(results);
    let each = costs.cpus(200.0 / 7.0, 12.5 / 7.0);
    let small = costs.cpus(190_000.0, 12.5);
    format!(
        "- In large objects, over seven gates, each needs {}.\n- In 64 KiB objects, each on a connection of its own, all together need about {}.\n",
        shown(each, "CPUs"),
        shown(small, "CPUs"),
    )
}

fn shown(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "not measured".to_owned(), |value| format!("{} {unit}", number(value)))
}

#[cfg(test)]
mod tests {
    use super::{Costs, shown};

    #[test]
    fn what_was_not_measured_is_not_computed_with() {
        let costs = Costs { connection: Some(100.0), gigabyte: None, idle: None, base: None };
        assert_eq!(costs.cpus(2000.0, 1.25), None);
        assert_eq!(shown(None, "CPUs"), "not measured");
        let costs = Costs { gigabyte: Some(0.4), ..costs };
        assert_eq!(shown(costs.cpus(2000.0, 1.25), "CPUs"), "0.70 CPUs");
    }
}
