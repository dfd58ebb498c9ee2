//! From cells to figures: per connection, per GB, their medians, and ratios within a round.

use std::fmt;

use sekisho_benches::figures::Latency;

use crate::cell::Cell;
use crate::results::Results;
use crate::work;

/// One number of a cell.
pub(crate) type Metric = fn(&Cell) -> Option<f64>;

/// New connections in a second.
pub(crate) fn rate(cell: &Cell) -> Option<f64> {
    cell.load.as_ref().map(|load| positive(load.connections) / load.seconds)
}

/// Microseconds of CPU for each connection.
pub(crate) fn cpu_per_connection(cell: &Cell) -> Option<f64> {
    let load = cell.load.as_ref()?;
    cell.usage.map(|usage| (usage.user + usage.system) * 1e6 / positive(load.connections))
}

/// The part of it in user mode.
pub(crate) fn user_per_connection(cell: &Cell) -> Option<f64> {
    let load = cell.load.as_ref()?;
    cell.usage.map(|usage| usage.user * 1e6 / positive(load.connections))
}

/// Seconds of CPU for each GB (10⁹ bytes) of both directions.
pub(crate) fn cpu_per_gb(cell: &Cell) -> Option<f64> {
    let load = cell.load.as_ref()?;
    cell.usage.map(|usage| (usage.user + usage.system) * 1e9 / positive(load.bytes_up + load.bytes_down))
}

/// MB (10⁶ bytes) in a second, of both directions.
pub(crate) fn throughput(cell: &Cell) -> Option<f64> {
    cell.load.as_ref().map(|load| positive(load.bytes_up + load.bytes_down) / 1e6 / load.seconds)
}

/// Context switches for each connection.
pub(crate) fn switches(cell: &Cell) -> Option<f64> {
    let load = cell.load.as_ref()?;
    cell.usage.map(|usage| positive(usage.voluntary + usage.involuntary) / positive(load.connections))
}

/// System calls for each connection, all of them.
pub(crate) fn calls(cell: &Cell) -> Option<f64> {
    cell.calls.as_ref().map(|calls| calls.values().sum())
}

/// Microseconds, the median.
pub(crate) fn p50(cell: &Cell) -> Option<f64> {
    latency(cell, |latency| latency.p50)
}

/// Microseconds that one of a hundred exceeds.
pub(crate) fn p99(cell: &Cell) -> Option<f64> {
    latency(cell, |latency| latency.p99)
}

/// Microseconds that one of a thousand exceeds.
pub(crate) fn p999(cell: &Cell) -> Option<f64> {
    latency(cell, |latency| latency.p999)
}

/// None where no connection was answered: a gate that refuses without an alert.
fn latency(cell: &Cell, quantile: fn(&Latency) -> f64) -> Option<f64> {
    cell.load.as_ref().map(|load| quantile(&load.latency_us)).filter(|value| *value > 0.0)
}

/// KiB of memory before any connection, the names resolved.
pub(crate) fn memory_base(cell: &Cell) -> Option<f64> {
    cell.memory.map(|memory| positive(memory.warm))
}

/// KiB of memory for each idle connection.
pub(crate) fn memory_each(cell: &Cell) -> Option<f64> {
    let load = cell.load.as_ref()?;
    cell.memory.map(|memory| (positive(memory.open) - positive(memory.warm)) / positive(load.connections))
}

/// KiB of memory above the base, two seconds after all have closed.
pub(crate) fn memory_left(cell: &Cell) -> Option<f64> {
    cell.memory.map(|memory| positive(memory.after) - positive(memory.warm))
}

/// Median, least and greatest of so many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) count: usize,
}

impl Summary {
    /// Nothing of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values.get((count - 1) / 2)?, values.get(count / 2)?);
        Some(Self { median: f64::midpoint(*low, *high), min, max, count })
    }
}

impl Summary {
    /// In another unit.
    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, min: self.min * by, max: self.max * by, count: self.count }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 1 {
            return write!(f, "{}", number(self.median));
        }
        write!(f, "{} ({}–{})", number(self.median), number(self.min), number(self.max))
    }
}

/// Three digits or so: more were noise.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 10_000.0 => format!("{:.1} k", value / 1000.0),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Results {
    /// The cells of one gate and work.
    pub(crate) fn of<'a>(&'a self, gate: &'a str, work: &'a str) -> impl Iterator<Item = &'a Cell> + 'a {
        self.cells.iter().filter(move |cell| cell.gate == gate && cell.work == work)
    }

    /// A metric of one gate and work over the rounds.
    pub(crate) fn summary(&self, gate: &str, work: &str, metric: Metric) -> Option<Summary> {
        Summary::of(self.of(gate, work).filter_map(metric).collect())
    }

    /// One gate's metric by another's, within each round.
    pub(crate) fn ratio(&self, gate: &str, other: &str, work: &str, metric: Metric) -> Option<Summary> {
        self.within_rounds((gate, work), (other, work), metric)
    }

    /// One work's metric by another's, of the same gate, within each round.
    pub(crate) fn ratio_of_works(&self, gate: &str, (work, other): (&str, &str), metric: Metric) -> Option<Summary> {
        self.within_rounds((gate, work), (gate, other), metric)
    }

    fn within_rounds(&self, above: (&str, &str), below: (&str, &str), metric: Metric) -> Option<Summary> {
        let one = |cell: &Cell| {
            let other = self.of(below.0, below.1).find(|candidate| candidate.round == cell.round)?;
            Some(metric(cell)? / metric(other)?)
        };
        Summary::of(self.of(above.0, above.1).filter_map(one).collect())
    }
}

/// What is printed when a cell is done.
pub(crate) fn line(cell: &Cell) -> String {
    if let Some(error) = &cell.error {
        return format!("FAILED: {error}");
    }
    let shown = |metric: Metric, unit: &str| metric(cell).map(|value| format!("{} {unit}", number(value)));
    let traced = cell.calls.is_some();
    let parts = match work::of(&cell.work).map_or("", |work| work.kind) {
        _ if traced => vec![shown(calls, "system calls")],
        "bulk-down" | "bulk-up" => vec![shown(cpu_per_gb, "s/GB"), shown(throughput, "MB/s")],
        "round-trips" => vec![shown(p50, "µs p50"), shown(p99, "µs p99"), shown(p999, "µs p99.9")],
        "idle" => vec![shown(memory_each, "KiB each"), shown(memory_base, "KiB base"), shown(memory_left, "KiB left")],
        _ => vec![
            shown(cpu_per_connection, "µs CPU"),
            shown(rate, "/s"),
            shown(p99, "µs p99"),
            shown(switches, "switches"),
        ],
    };
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// One count by another.
pub(crate) fn divided(count: u64, by: u64) -> f64 {
    positive(count) / positive(by)
}

/// A count as a number that can be divided. Counts here are far below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
fn positive(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Summary, number};

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let summary = Summary::of(vec![4.0, 1.0, 3.0, 2.0]).expect("there are four");
        assert_eq!(summary, Summary { median: 2.5, min: 1.0, max: 4.0, count: 4 });
        assert_eq!(Summary::of(vec![7.0]).map(|one| one.median), Some(7.0));
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn numbers_have_three_digits_or_so() {
        assert_eq!([0.123, 12.34, 123.4, 12_345.0].map(number), ["0.12", "12.3", "123", "12.3 k"]);
    }
}
