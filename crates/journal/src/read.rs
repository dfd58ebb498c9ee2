//! Logs from their files to records, one at a time, and what could not be read of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sekisho_policy::diagnostic::visible;
use serde::{Serialize, Serializer};

use crate::lines::{Line, Lines, MAX_LINE};
use crate::record::{Event, Record};
use crate::source::{Log, unpacked};
use crate::tally::rfc3339;

/// What a line is when it is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BadLine {
    /// Not a line of an access log.
    NoRecord,
    /// Longer than [`MAX_LINE`].
    TooLong,
    /// The file ends within it: it was being written, or the host fell.
    Unfinished,
    /// Its `host` is no host name: the gate never writes such a line.
    BadHost,
}

/// Bad lines of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadLines {
    /// How many.
    pub count: u64,
    /// The first, `file:line`, the line counted from 1 in what the file unpacks to.
    pub first: String,
    /// What is wrong with that one.
    pub why: String,
}

/// A file that could not be read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Its name.
    pub file: String,
    /// What the system, or the unpacking, said.
    pub error: String,
}

/// What was read, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// Bytes, unpacked.
    pub bytes: u64,
    /// Lines, bad ones included, empty ones not.
    pub lines: u64,
    /// Records that the log itself says were lost.
    pub lost: u64,
    /// The first and last time in it, Unix seconds; for a program, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_times")]
    pub span: Option<(i64, i64)>,
    /// Lines that are no records, by kind.
    pub bad: BTreeMap<BadLine, BadLines>,
    /// Files that could not be read, or not to their end.
    pub unread: Vec<Unread>,
    /// Files with lines of which none was a record: another program's log, or a packing that is not known here.
    pub no_log: Vec<String>,
}

impl Reading {
    /// Reads every log in the order given, which does not matter: no consumer of records relies on it. A file that cannot
    /// be read is noted and the next one read. `each` may call a line bad; `progress` hears, now and then, how many bytes
    /// were taken from disk.
    pub fn of(
        logs: &[Log],
        mut progress: impl FnMut(u64),
        mut each: impl FnMut(&Record<'_>) -> Result<(), BadLine>,
    ) -> Self {
        let (mut reading, taken) = (Self::default(), Arc::new(AtomicU64::new(0)));
        for log in logs {
            let name = log.name();
            let source = log.open(&taken);
            let result = source.and_then(|source| {
                reading.take(&name, source, &mut || progress(taken.load(Ordering::Relaxed)), &mut each)
            });
            if let Err(error) = result {
                reading.unread.push(Unread { file: visible(&name), error: visible(&error.to_string()) });
            }
        }
        reading
    }

    /// Reads one log from bytes, packed or not.
    pub fn of_bytes(name: &str, bytes: Vec<u8>, mut each: impl FnMut(&Record<'_>) -> Result<(), BadLine>) -> Self {
        let mut reading = Self::default();
        let result =
            unpacked(io::Cursor::new(bytes)).and_then(|source| reading.take(name, source, &mut || (), &mut each));
        if let Err(error) = result {
            reading.unread.push(Unread { file: visible(name), error: visible(&error.to_string()) });
        }
        reading
    }

    fn take(
        &mut self,
        name: &str,
        source: impl Read,
        progress: &mut dyn FnMut(),
        each: &mut dyn FnMut(&Record<'_>) -> Result<(), BadLine>,
    ) -> io::Result<()> {
        let mut lines = Lines::new(source);
        let (mut number, before, mut records) = (0_u64, self.lines, 0_u64);
        while let Some(line) = lines.next()? {
            number += 1;
            if number % 4096 == 1 {
                progress();
            }
            let (bytes, finished) = match line {
                Line::Whole(bytes) => (bytes, true),
                Line::Unfinished(bytes) => (bytes, false),
                Line::TooLong => {
                    self.lines += 1;
                    self.bad(BadLine::TooLong, name, number, || format!("more than {MAX_LINE} bytes"));
                    continue;
                }
            };
            self.bytes += bytes.len() as u64 + u64::from(finished);
            // A byte order mark, if somebody's tool has put one there.
            let bytes = if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            self.lines += 1;
            let record = match Record::parse(bytes) {
                Ok(record) => record,
                Err(why) => {
                    let kind = if finished { BadLine::NoRecord } else { BadLine::Unfinished };
                    self.bad(kind, name, number, || why);
                    continue;
                }
            };
            let (first, last) = self.span.unwrap_or((record.time, record.time));
            self.span = Some((first.min(record.time), last.max(record.time)));
            if record.event == Event::Lost {
                self.lost = self.lost.saturating_add(record.count);
            }
            match each(&record) {
                Ok(()) => records += 1,
                Err(kind) => self.bad(kind, name, number, || "no host name".to_owned()),
            }
        }
        if records == 0 && self.lines > before {
            self.no_log.push(visible(name));
        }
        Ok(())
    }

    fn bad(&mut self, kind: BadLine, name: &str, line: u64, why: impl FnOnce() -> String) {
        let bad = self.bad.entry(kind);
        bad.or_insert_with(|| BadLines { count: 0, first: format!("{}:{line}", visible(name)), why: why() }).count += 1;
    }

    /// Whether every file was read to its end, and every one that is not empty was a log.
    pub fn whole(&self) -> bool {
        self.unread.is_empty() && self.no_log.is_empty()
    }

    /// What a person should know about it, one line each; empty when all is well.
    pub fn notes(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for Unread { file, error } in &self.unread {
            let _ = writeln!(out, "error: {file}: not read to its end: {error}");
        }
        for file in &self.no_log {
            let _ =
                writeln!(out, "error: {file}: not one record in it: is it an access log of the gate's or of Squid's?");
        }
        for (kind, BadLines { count, first, why }) in &self.bad {
            let what = match kind {
                BadLine::NoRecord => "no access log lines",
                BadLine::TooLong => "too long",
                BadLine::Unfinished => "cut off by the file's end",
                BadLine::BadHost => "with a host that is no host name",
            };
            let _ = writeln!(out, "warning: lines passed over, {what}: {count}; the first is {first} ({why})");
        }
        if self.lost > 0 {
            let _ =
                writeln!(out, "warning: the log says that {} records were lost: what they held is not here", self.lost);
        }
        out
    }
}

// Serde hands over a reference to the field.
#[expect(clippy::ref_option, reason = "serde's form")]
fn as_times<S: Serializer>(span: &Option<(i64, i64)>, serializer: S) -> Result<S::Ok, S::Error> {
    span.map(|(first, last)| [rfc3339(first), rfc3339(last)]).serialize(serializer)
}
