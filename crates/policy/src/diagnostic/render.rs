//! Faults as text for a person. A file's content never reaches the terminal raw: what could move the cursor, colour the
//! screen or reverse the reading is written as an escape.

use std::fmt::Write as _;

use super::{Diagnostic, Diagnostics, Location, Severity};

/// What a piece of the text is, and so how a terminal shows it.
#[derive(Clone, Copy)]
enum Piece {
    Severity(Severity),
    /// What is wrong.
    Message,
    /// Arrows, line numbers and bars.
    Margin,
    /// `help` and `note`.
    Word,
}

/// How pieces are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// As text alone.
    Plain,
    /// With a terminal's colours (ECMA-48).
    Colour,
}

impl Paint {
    fn piece(self, piece: Piece, text: &str) -> String {
        let code = match piece {
            Piece::Severity(Severity::Error) => "1;31",
            Piece::Severity(Severity::Warning) => "1;33",
            Piece::Message => "1",
            Piece::Margin => "34",
            Piece::Word => "36",
        };
        match self {
            Self::Colour if !text.trim().is_empty() => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

pub(super) fn human(diagnostics: &Diagnostics, paint: Paint) -> String {
    let mut out = String::new();
    if diagnostics.is_empty() {
        return out;
    }
    for diagnostic in diagnostics {
        one(&mut out, diagnostic, paint);
        out.push('\n');
    }
    let hidden = diagnostics.hidden();
    let counts: Vec<String> = [(diagnostics.errors, "error"), (diagnostics.warnings, "warning")]
        .into_iter()
        .filter(|&(n, _)| n > 0)
        .map(|(n, word)| format!("{n} {word}{}", if n == 1 { "" } else { "s" }))
        .collect();
    out.push_str(&counts.join(", "));
    if hidden > 0 {
        let _ = write!(out, " ({hidden} not shown)");
    }
    out.push('\n');
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, paint: Paint) {
    // Writing to a String cannot fail.
    let what = format!("{}[{}]", diagnostic.severity.label(), diagnostic.code);
    let what = paint.piece(Piece::Severity(diagnostic.severity), &what);
    let _ = writeln!(out, "{what}{}", paint.piece(Piece::Message, &format!(": {}", visible(&diagnostic.message))));
    let mut margin = 1;
    if let Some(location) = &diagnostic.location {
        margin = if location.line == 0 { 1 } else { location.line.to_string().len() };
        place(out, location, margin, (diagnostic.severity, paint));
    }
    let help = diagnostic.help.iter().map(|help| ("help", help));
    for (word, text) in help.chain(diagnostic.notes.iter().map(|note| ("note", note))) {
        let word = paint.piece(Piece::Word, &format!("= {word}:"));
        let _ = writeln!(out, "{:margin$} {word} {}", "", visible(text));
    }
}

fn place(out: &mut String, location: &Location, margin: usize, (severity, paint): (Severity, Paint)) {
    let (arrow, bar) = (paint.piece(Piece::Margin, "-->"), paint.piece(Piece::Margin, "|"));
    let file = visible(&location.file);
    if location.line == 0 {
        let _ = writeln!(out, "{:margin$}{arrow} {file}", "");
        return;
    }
    let _ = writeln!(out, "{:margin$}{arrow} {file}:{}:{}", "", location.line, location.column);
    let Some(text) = &location.text else { return };
    let mut shown = String::new();
    let (mut before, mut under) = (0, 0);
    if location.skipped > 0 {
        shown.push('…');
        before += 1;
    }
    let mut column = location.skipped;
    for c in text.chars() {
        column += 1;
        let start = shown.len();
        push_visible(&mut shown, c);
        let width: usize = shown.get(start..).unwrap_or_default().chars().map(width).sum();
        if column < location.column {
            before += width;
        } else if column - location.column < location.length {
            under += width;
        }
    }
    let line = paint.piece(Piece::Margin, &format!("{:margin$}", location.line));
    let under = paint.piece(Piece::Severity(severity), &"^".repeat(under.max(1)));
    let _ = writeln!(out, "{:margin$} {bar}", "");
    let _ = writeln!(out, "{line} {bar} {}", shown.trim_end());
    let _ = writeln!(out, "{:margin$} {bar} {:before$}{under}", "", "");
}

/// Text in which nothing is hidden: control characters and those that reorder or hide text become `\u{…}`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut out, c);
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' => out.push(' '),
        c if is_hidden(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// Whether a character does something else than to show itself: controls, line separators, bidirectional overrides,
/// zero-width and tag characters.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns on a terminal: CJK characters take two.
fn width(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
