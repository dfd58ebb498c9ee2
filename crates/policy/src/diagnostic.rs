//! Faults in files: what is wrong, where, and what to write instead; all of them at once.

mod github;
mod render;
mod sarif;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and is likely not what its author meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where a fault stands. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line; 0 when the fault is the file itself.
    pub line: u32,
    /// The column of the first character.
    pub column: u32,
    /// How many characters it spans on this line.
    pub length: u32,
    /// The line as it stands, or the part of a long one around the fault; nothing of one that is longer than any author's.
    #[serde(rename = "source", skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Characters left out before `text`.
    #[serde(skip)]
    skipped: u32,
}

/// Characters of a long line that are kept before the fault, and in all.
const BEFORE: u32 = 40;
const WINDOW: usize = 120;
/// The last column that is looked for: finding a character means counting those before it.
const FAR: u32 = 1 << 18;
/// Characters of a message, a help or a note that are kept.
const SENTENCE: usize = 600;

impl Location {
    /// A place on a line whose text is given, without its line break.
    pub fn new(file: &Arc<str>, line: u32, column: u32, length: u32, text: &str) -> Self {
        let skipped = if text.len() > WINDOW { column.saturating_sub(1 + BEFORE) } else { 0 };
        let text = (column <= FAR).then(|| text.chars().skip(skipped as usize).take(WINDOW).collect());
        Self { file: Arc::clone(file), line, column, length: length.max(1), text, skipped }
    }

    /// A whole file.
    pub fn file(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), line: 0, column: 0, length: 0, text: None, skipped: 0 }
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its stable name, as in the policy reference.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// Where, if it is anywhere.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What else helps to understand it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        let message = clipped(message.into());
        Self { severity: Severity::Error, code, message, location: None, help: None, notes: Vec::new() }
    }

    /// A warning.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(clipped(help.into()));
        self
    }

    /// Adds what helps to understand it.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(clipped(note.into()));
        self
    }

    /// The message, the help and the notes, each on a line of its own.
    fn whole(&self) -> String {
        let mut text = self.message.clone();
        let help = self.help.iter().map(|help| ("help", help));
        for (word, more) in help.chain(self.notes.iter().map(|note| ("note", note))) {
            text.extend(["\n", word, ": ", more]);
        }
        text
    }
}

/// Text that may quote a file, and a file's one word may have megabytes.
fn clipped(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SENTENCE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Faults of one or more files, at most [`Diagnostics::KEPT`] of each severity; the others are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// How many of each severity are kept.
    pub const KEPT: usize = 500;

    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let count = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= Self::KEPT {
            self.kept.push(diagnostic);
        }
    }

    /// Adds one with its place, which is worked out only for one that is kept: a line may have a million faults.
    pub fn push_at(&mut self, diagnostic: Diagnostic, place: impl FnOnce() -> Location) {
        let kept = self.keeps(diagnostic.severity);
        self.push(if kept { diagnostic.at(place()) } else { diagnostic });
    }

    /// Whether one more of this severity is kept, and not only counted.
    pub fn keeps(&self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
        };
        count < Self::KEPT
    }

    /// Adds all of another collection.
    pub fn extend(&mut self, other: Self) {
        let (errors, warnings) = (self.errors + other.errors, self.warnings + other.warnings);
        for diagnostic in other.kept {
            self.push(diagnostic);
        }
        (self.errors, self.warnings) = (errors, warnings);
    }

    /// Sorts by file, line and column. A fault without a place comes first.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.kept.sort_by(|a, b| {
            let key = |d: &Diagnostic| d.location.as_ref().map(|l| (Arc::clone(&l.file), l.line, l.column));
            key(a).cmp(&key(b)).then(a.severity.cmp(&b.severity)).then(a.code.cmp(b.code))
        });
        self
    }

    /// Those that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// How many errors there are, those not kept included.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are, those not kept included.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Whether there is no fault at all.
    pub fn is_empty(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// Text for a person: each fault with its line underlined, and a count at the end. Empty when there is none.
    pub fn human(&self) -> String {
        render::human(self, render::Paint::Plain)
    }

    /// The same in a terminal's colours.
    pub fn coloured(&self) -> String {
        render::human(self, render::Paint::Colour)
    }

    /// One JSON object: `errors`, `warnings` (counts), and `diagnostics`, each flat.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "errors": self.errors, "warnings": self.warnings, "diagnostics": self.kept })
    }

    /// Workflow commands for GitHub Actions, one a line. Empty when there is none.
    pub fn github(&self) -> String {
        github::github(self)
    }

    /// A SARIF 2.1.0 log with one run, in which each code is a rule. A log without faults has no results, which tells its
    /// reader that earlier ones are gone.
    pub fn sarif(&self) -> serde_json::Value {
        sarif::sarif(self)
    }

    /// How many are counted but not kept.
    fn hidden(&self) -> usize {
        (self.errors + self.warnings).saturating_sub(self.kept.len())
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.human())
    }
}

impl std::error::Error for Diagnostics {}

pub use render::{is_hidden, visible};
