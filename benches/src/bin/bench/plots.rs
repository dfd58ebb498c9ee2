//! What the tables say, as pictures.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use crate::figures::{self, Metric, Summary, number};
use crate::growth::AXES;
use crate::results::Results;

const WIDTH: u32 = 760;
const BAR: u32 = 34;
const OURS: RGBColor = RGBColor(0xb3, 0x3a, 0x2b);
const LIMIT: RGBColor = RGBColor(0x9a, 0x9a, 0x9a);
const PEER: RGBColor = RGBColor(0x4a, 0x6f, 0xa5);

/// One picture of bars: file, what it shows, work, figure.
pub(crate) type Bars = (&'static str, &'static str, &'static str, Metric);

/// Of the works by TLS.
pub(crate) const BARS: &[Bars] = &[
    (
        "cpu-per-connection",
        "CPU time of a new connection with a 1.5 KB hello, µs",
        "new-large",
        figures::cpu_per_connection,
    ),
    ("connections-per-second", "new connections per second", "new-large", figures::rate),
    ("cpu-per-gb-down", "CPU time of a GB to the client over 8 connections, s", "down-8", figures::cpu_per_gb),
    ("cpu-per-gb-up", "CPU time of a GB to the server over 8 connections, s", "up-8", figures::cpu_per_gb),
    ("round-trip-p99", "p99 of a round trip, 64 connections, µs", "trips-64", figures::p99),
    ("memory-per-connection", "memory of an idle connection, KiB", "idle", figures::memory_each),
    ("cpu-per-refusal", "CPU time of a refusal, µs", "refused", figures::cpu_per_connection),
];

/// Of those by other ways.
pub(crate) const BARS_OF_WAYS: &[Bars] = &[
    ("cpu-per-connect", "CPU time of a new connection by CONNECT, µs", "connect-new", figures::cpu_per_connection),
    ("cpu-per-get", "CPU time of a connection to port 80, µs", "http-new", figures::cpu_per_connection),
    ("memory-per-tunnel", "memory of an idle tunnel, KiB", "connect-idle", figures::memory_each),
];

/// Draws what there are cells for; the files that were written and what they show.
pub(crate) fn draw(results: &Results, bars_of: &[Bars], directory: &Path) -> Result<Vec<(String, &'static str)>> {
    let mut drawn = Vec::new();
    for (name, title, work, metric) in bars_of {
        let rows: Vec<_> = results
            .gates
            .iter()
            .filter_map(|g| Some((g.id.as_str(), results.summary(&g.id, work, *metric)?)))
            .collect();
        if rows.len() > 1 {
            let file = format!("{name}.svg");
            fs::write(directory.join(&file), bars(title, &rows).map_err(|error| anyhow!("{file}: {error}"))?)?;
            drawn.push((file, *title));
        }
    }
    Ok(drawn)
}

/// The same for how cost grows.
pub(crate) fn draw_growth(results: &Results, directory: &Path) -> Result<Vec<(String, &'static str)>> {
    let mut drawn = Vec::new();
    for axis in AXES {
        let points: Vec<_> =
            axis.summaries(&results.growth).into_iter().map(|(at, figure, _)| (f64::from(at), figure)).collect();
        if points.len() > 2 {
            let file = format!("growth-{}.svg", axis.id);
            fs::write(directory.join(&file), growth(axis.title, axis.by, &points)?)?;
            drawn.push((file, axis.title));
        }
    }
    Ok(drawn)
}

/// A bar for each row, its least and greatest as a line over its end.
fn bars(title: &str, rows: &[(&str, Summary)]) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    let count = rows.len();
    let height = 70 + BAR * u32::try_from(count)?;
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let most = rows.iter().map(|(_, summary)| summary.max).fold(0.0, f64::max);
        // Plots count from below, tables from above.
        let row = |at: usize| count - 1 - at;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 17))
            .margin(10)
            .x_label_area_size(24)
            .y_label_area_size(130)
            .build_cartesian_2d(0.0..most * 1.15, (0..count).into_segmented())?;
        let name = |value: &SegmentValue<usize>| match value {
            SegmentValue::CenterOf(at) if *at < count => rows.get(row(*at)).map_or("", |(name, _)| name).to_owned(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_max_light_lines(0)
            .y_labels(count)
            .y_label_formatter(&name)
            .x_label_formatter(&|value| number(*value))
            .label_style(("sans-serif", 13))
            .draw()?;
        for (at, (name, summary)) in rows.iter().enumerate() {
            let (low, middle, high) =
                (SegmentValue::Exact(row(at)), SegmentValue::CenterOf(row(at)), SegmentValue::Exact(row(at) + 1));
            let mut bar = Rectangle::new([(0.0, low), (summary.median, high)], colour(name).filled());
            bar.set_margin(5, 5, 0, 0);
            let range = PathElement::new([(summary.min, middle.clone()), (summary.max, middle.clone())], BLACK);
            let value = Text::new(number(summary.median), (summary.max + most * 0.01, middle), ("sans-serif", 13));
            chart.draw_series([bar])?;
            chart.draw_series([range])?;
            chart.draw_series([value])?;
        }
        area.present()?;
    }
    Ok(text)
}

fn colour(gate: &str) -> RGBColor {
    match gate {
        "sekisho" => OURS,
        "direct" => LIMIT,
        _ if gate.starts_with("floor") => LIMIT,
        _ => PEER,
    }
}

/// A line through the medians of one figure as one number grows, each with its range.
fn growth(title: &str, by: &str, points: &[(f64, Summary)]) -> Result<String> {
    line(title, by, points).map_err(|error| anyhow!("{title}: {error}"))
}

fn line(title: &str, by: &str, points: &[(f64, Summary)]) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, 300)).into_drawing_area();
        area.fill(&WHITE)?;
        let most = points.iter().map(|(_, summary)| summary.max).fold(0.0, f64::max);
        let (first, last) = points.iter().fold((f64::MAX, 0.0_f64), |(a, b), (x, _)| (a.min(*x), b.max(*x)));
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 17))
            .margin(10)
            .margin_right(30)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((first..last.max(first + 1.0)).log_scale(), 0.0..most * 1.2)?;
        chart
            .configure_mesh()
            .x_desc(by)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .label_style(("sans-serif", 13))
            .draw()?;
        chart.draw_series(LineSeries::new(points.iter().map(|(x, summary)| (*x, summary.median)), &OURS))?;
        chart.draw_series(points.iter().map(|(x, summary)| Circle::new((*x, summary.median), 3, OURS.filled())))?;
        chart.draw_series(points.iter().map(|(x, s)| PathElement::new([(*x, s.min), (*x, s.max)], BLACK)))?;
        area.present()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{bars, line};
    use crate::figures::Summary;

    fn summary(median: f64) -> Summary {
        Summary { median, min: median * 0.9, max: median * 1.2, count: 5 }
    }

    #[test]
    fn bars_have_every_row_in_order_with_its_figure() {
        let rows = [("floor-copy", summary(90.0)), ("sekisho", summary(97.0)), ("squid", summary(301.0))];
        let svg = bars("CPU", &rows).expect("it can be drawn");
        let places: Vec<_> = ["CPU", "squid", "sekisho", "floor-copy"].map(|text| svg.find(text)).into();
        assert!(places.iter().all(Option::is_some), "{places:?} in {svg}");
        assert!(["90.0", "97.0", "301"].iter().all(|figure| svg.contains(figure)), "{svg}");
    }

    #[test]
    fn a_line_is_drawn_through_places_that_are_powers_apart() {
        let points = [(10.0, summary(90.0)), (1_000.0, summary(91.0)), (1_000_000.0, summary(95.0))];
        let svg = line("CPU by names", "names", &points).expect("it can be drawn");
        assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
        assert!(svg.contains("CPU by names") && svg.contains("1000.0 k"), "{svg}");
    }
}
