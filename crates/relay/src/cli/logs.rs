//! What the commands that read access logs have in common: the files, the time from which on, and a progress bar.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sekisho_journal::{BadLine, Log, Reading, Record};

use super::complain;

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Access logs (JSON lines): rotated ones too, plain, gzip or zstd, in any order; `-` is standard input
    #[arg(value_name = "LOG", required = true)]
    logs: Vec<PathBuf>,
    /// Only what happened from then on: `2027-03-31` (its beginning, UTC) or a full RFC 3339 time
    #[arg(long, value_name = "DATE", value_parser = beginning)]
    pub(super) since: Option<i64>,
}

impl Logs {
    /// Reads every log. On a terminal a bar says how far; what could not be read is told at the end.
    pub(super) fn read(&self, each: impl FnMut(&Record<'_>) -> Result<(), BadLine>) -> Reading {
        let logs: Vec<Log> = self.logs.iter().cloned().map(Log::of).collect();
        let bar = bar(&logs);
        let reading = Reading::of(&logs, |bytes| bar.set_position(bytes), each);
        bar.finish_and_clear();
        let notes = reading.notes();
        if !notes.is_empty() {
            complain(&notes);
        }
        reading
    }
}

/// A bar by bytes on disk, where standard error is a terminal; a count alone where nobody knows how many there will be.
fn bar(logs: &[Log]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes: Option<Vec<u64>> = logs.iter().map(Log::size).collect();
    let (bar, template) = match sizes {
        Some(sizes) => {
            (ProgressBar::new(sizes.iter().sum()), "{bytes} of {total_bytes} [{wide_bar}] {bytes_per_sec}, {eta} left")
        }
        None => (ProgressBar::no_length(), "{spinner} {bytes}, {bytes_per_sec}"),
    };
    // The templates are known to be good; without one the bar is plainer.
    let bar = match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    };
    // The first tick draws at once: the style has to be there.
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A date's first second (UTC) or a full time, in Unix seconds.
fn beginning(text: &str) -> Result<i64, String> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2027-03-31".len()
    {
        let midnight = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_err(|error| error.to_string())?;
        return Ok(midnight.as_second());
    }
    let time: Timestamp = text.parse().map_err(|_| "write `2027-03-31` or `2027-03-31T18:00:00+09:00`".to_owned())?;
    Ok(time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_second() {
        assert_eq!(beginning("1970-01-02"), Ok(86_400));
        assert_eq!(beginning("1970-01-02T09:00:00+09:00"), Ok(86_400));
        assert!(beginning("yesterday").is_err());
        assert!(beginning("2027-02-30").is_err());
    }
}
