//! Prometheus text, read back.

use anyhow::{Context, Result};

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

type Labels = Vec<(String, String)>;
type Sample = (String, Labels, f64);

impl Metrics {
    /// Reads the text format.
    ///
    /// # Errors
    /// Fails on a line that is neither a comment nor a sample.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).with_context(|| format!("no sample: {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()? })
    }

    /// The sum of all series of this name that have these labels among theirs; 0 when there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |own: &[(String, String)]| {
            labels.iter().all(|(key, value)| own.iter().any(|(k, v)| k == key && v == value))
        };
        self.samples.iter().filter(|(n, own, _)| n == name && has(own)).map(|(_, _, value)| value).sum()
    }

    /// The series that differ from an earlier scrape, as `name{labels} before → now`.
    pub fn moved_since(&self, earlier: &Self) -> Vec<String> {
        let before = |name: &str, labels: &[(String, String)]| {
            earlier.samples.iter().find(|(n, l, _)| n == name && l == labels).map_or(0.0, |(_, _, value)| *value)
        };
        let mut moved = Vec::new();
        for (name, labels, value) in &self.samples {
            let old = before(name, labels);
            if old.to_bits() != value.to_bits() {
                let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
                moved.push(format!("{name}{{{}}} {old} → {value}", labels.join(",")));
            }
        }
        moved
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else { return Some((series.to_owned(), Vec::new(), value)) };
    // No label of sekisho's has a quote or a comma-quote in it: rule names are the only free text, and tests choose them.
    let labels = labels.strip_suffix('}')?.split_terminator("\",").map(|label| {
        let (key, value) = label.split_once("=\"")?;
        Some((key.trim_start_matches(',').to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some((name.to_owned(), labels.collect::<Option<_>>()?, value))
}
