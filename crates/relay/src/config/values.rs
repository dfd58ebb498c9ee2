//! Durations, sizes and addresses as the file writes them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SignedDuration;
use sekisho_policy::Diagnostic;
use sekisho_policy::document::{Fields, Node, Value};

use super::Builder;

/// Whether a node is this word.
pub(super) fn is_word(node: &Node, word: &str) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if &**text == word)
}

impl<'n> Builder<'_, '_> {
    /// The mapping at `key`, its keys checked; `None` when it is absent or faulty.
    pub(super) fn section(&mut self, fields: &Fields<'n>, key: &str, known: &[&str]) -> Option<Fields<'n>> {
        self.reader.fields(fields.get(key)?, &format!("`{key}`"), known)
    }

    /// A whole number that counts something.
    pub(super) fn count(&mut self, node: &Node, what: &str, range: RangeInclusive<u64>) -> Option<usize> {
        self.reader.integer(node, what, range).and_then(|number| usize::try_from(number).ok())
    }

    /// The number at `key`, or the default.
    pub(super) fn count_at(
        &mut self,
        section: Option<&Fields<'n>>,
        key: &str,
        range: RangeInclusive<u64>,
        default: usize,
    ) -> usize {
        let node = section.and_then(|fields| fields.get(key));
        node.and_then(|node| self.count(node, &format!("`{key}`"), range)).unwrap_or(default)
    }

    /// The duration at `key`, or the default.
    pub(super) fn duration_at(
        &mut self,
        section: Option<&Fields<'n>>,
        key: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let node = section.and_then(|fields| fields.get(key));
        node.and_then(|node| self.duration(node, key, range)).unwrap_or(default)
    }

    fn duration(&mut self, node: &Node, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.reader.text(node, "a duration like `10s`")?;
        let Some(duration) = parse_duration(text) else {
            let fault = Diagnostic::error("bad-duration", format!("`{text}` is no duration"));
            self.reader.push(fault.help("write a number and its unit: `250ms`, `10s`, `5m` or `1h`"), node.span);
            return None;
        };
        if !range.contains(&duration) {
            let fault = Diagnostic::error("out-of-range", format!("`{key}` cannot be {}", written(duration)));
            let help = format!("write {} to {}", written(*range.start()), written(*range.end()));
            self.reader.push(fault.help(help), node.span);
            return None;
        }
        Some(duration)
    }

    /// An address and a port to listen on.
    pub(super) fn address(&mut self, node: &Node) -> Option<SocketAddr> {
        self.reader.parsed(node, "bad-address", "an address and port", "0.0.0.0:8443` or `[::]:8443")
    }
}

/// Reads `10s`, `1h 30m`, `250ms`, `0s`; nothing negative, and no bare number, whose unit nobody could be sure of.
fn parse_duration(text: &str) -> Option<Duration> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.len() > 40 {
        return None;
    }
    Duration::try_from(text.parse::<SignedDuration>().ok()?).ok()
}

/// A duration in the file's own spelling.
pub(super) fn written(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, 0) => "0s".to_owned(),
        (s, 0) if s % 3600 == 0 => format!("{}h", s / 3600),
        (s, 0) if s % 60 == 0 => format!("{}m", s / 60),
        (s, 0) => format!("{s}s"),
        (s, ms) => format!("{}ms", s * 1000 + u64::from(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        for (text, ms) in [("10s", 10_000), ("250ms", 250), ("1h", 3_600_000), ("1h 30m", 5_400_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["10", "-1s", "s", "", "1 fortnight", "1e9s", "P1D", "99999999999999999999s", "10s ago"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["10s", "250ms", "1h", "90s", "0s", "5m"] {
            assert_eq!(written(parse_duration(text).unwrap()), text);
        }
    }
}
