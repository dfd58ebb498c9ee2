//! Edits of a policy's text, and their patch. What an edit means is not known here: whoever makes one loads what it gives.

use std::fmt::Write as _;

use crate::document::{Node, Span, Value};

/// A text by its lines, breaks included.
pub(super) struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self(text.split_inclusive('\n').collect())
    }

    fn line(&self, number: u32) -> Option<&'a str> {
        self.0.get((number as usize).checked_sub(1)?).copied()
    }

    /// The text with something put between two characters, by line and column from 1.
    fn insert(&self, line: u32, column: u32, remove: u32, insert: &str) -> Option<String> {
        let whole = self.line(line)?;
        let start = (column as usize).checked_sub(1)?;
        let before: String = whole.chars().take(start).collect();
        let after: String = whole.chars().skip(start + remove as usize).collect();
        let mut out = String::new();
        for (number, text) in (1_u32..).zip(&self.0) {
            if number == line {
                let _ = write!(out, "{before}{insert}{after}");
            } else {
                out.push_str(text);
            }
        }
        Some(out)
    }

    /// The text with whole lines put after a line.
    fn insert_after(&self, line: u32, insert: &[String]) -> String {
        let ending = self.ending();
        let mut out = String::new();
        for (number, text) in (1_u32..).zip(&self.0) {
            out.push_str(text);
            if number == line {
                if !text.ends_with('\n') {
                    out.push_str(ending);
                }
                for line in insert {
                    let _ = write!(out, "{line}{ending}");
                }
            }
        }
        out
    }

    /// The text with another scalar in the place of one.
    pub(super) fn replace(&self, span: Span, with: &str) -> Option<String> {
        self.insert(span.line, span.column, span.length, with)
    }

    /// The text with one more item at the end of a list.
    pub(super) fn append(&self, list: &Node, item: &str) -> Option<String> {
        let Value::Sequence(items) = &list.value else { return None };
        let last = items.last()?;
        if self.character(list.span)? == '[' {
            // After the last item, wherever the bracket stands.
            let (line, column) = self.end(last)?;
            return self.insert(line, column, 0, &format!(", {item}"));
        }
        let (number, column) = (last_line(last), last.span.column);
        let dash = self.dash(last)?;
        let gap = " ".repeat((column as usize).checked_sub(dash + 1)?);
        Some(self.insert_after(number, &[format!("{}-{gap}{item}", " ".repeat(dash.checked_sub(1)?))]))
    }

    /// The text with one more item of several lines at the end of a list; their first line begins the item.
    pub(super) fn append_lines(&self, list: &Node, lines: &[String]) -> Option<String> {
        let Value::Sequence(items) = &list.value else { return None };
        let Some(last) = items.last() else { return self.fill(list, lines) };
        if self.character(list.span)? == '[' {
            return None;
        }
        let dash = self.dash(last)?;
        let indent = " ".repeat(dash.checked_sub(1)?);
        let lines: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| format!("{indent}{} {line}", if i == 0 { "-" } else { " " }))
            .collect();
        Some(self.insert_after(last_line(last), &lines))
    }

    /// The text with lines in the place of `[]`.
    fn fill(&self, list: &Node, lines: &[String]) -> Option<String> {
        let Span { line, column, .. } = list.span;
        let blanks = self.line(line)?.chars().take((column as usize).checked_sub(1)?);
        let blanks =
            u32::try_from(blanks.collect::<Vec<_>>().into_iter().rev().take_while(|c| *c == ' ').count()).ok()?;
        let mut text = String::new();
        for (i, line) in lines.iter().enumerate() {
            let _ = write!(text, "{}  {} {line}", self.ending(), if i == 0 { "-" } else { " " });
        }
        let brackets: String = self.line(line)?.chars().skip((column as usize).checked_sub(1)?).take(2).collect();
        (brackets == "[]").then(|| self.insert(line, column - blanks, 2 + blanks, &text)).flatten()
    }

    fn ending(&self) -> &'static str {
        if self.0.first().is_some_and(|first| first.ends_with("\r\n")) { "\r\n" } else { "\n" }
    }

    fn character(&self, span: Span) -> Option<char> {
        self.line(span.line)?.chars().nth((span.column as usize).checked_sub(1)?)
    }

    /// The column, from 1, of the dash before a block item.
    fn dash(&self, item: &Node) -> Option<usize> {
        let before: Vec<char> =
            self.line(item.span.line)?.chars().take((item.span.column as usize).checked_sub(1)?).collect();
        let at = before.iter().rposition(|c| !c.is_whitespace())?;
        (before.get(at) == Some(&'-')).then_some(at + 1)
    }

    /// Just after a node: the end of a scalar, or of the bracket that closes it.
    fn end(&self, node: &Node) -> Option<(u32, u32)> {
        let (line, column) = match &node.value {
            Value::Null => return None,
            Value::Scalar { .. } => return Some((node.span.line, node.span.column + node.span.length)),
            Value::Sequence(items) => self.end(items.last()?)?,
            Value::Mapping(entries) => self.end(&entries.last()?.value)?,
        };
        let rest = self.line(line)?.chars().enumerate().skip((column as usize).checked_sub(1)?);
        let close = rest.into_iter().find(|(_, c)| !c.is_whitespace() && *c != ',')?;
        matches!(close.1, ']' | '}').then(|| Some((line, u32::try_from(close.0 + 2).ok()?))).flatten()
    }
}

/// The last line on which something of a node stands.
fn last_line(node: &Node) -> u32 {
    let inner = match &node.value {
        Value::Null | Value::Scalar { .. } => None,
        Value::Sequence(items) => items.iter().map(last_line).max(),
        Value::Mapping(entries) => entries.iter().map(|entry| last_line(&entry.value).max(entry.key_span.line)).max(),
    };
    inner.unwrap_or(node.span.line).max(node.span.line)
}

/// A unified diff of two texts that differ in one place, and how many lines it adds and removes together.
pub(super) fn unified(file: &str, old: &str, new: &str) -> (String, usize) {
    const CONTEXT: usize = 3;
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let start = same.saturating_sub(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let after = CONTEXT.min(tail);
    let mut out = format!("--- a/{file}\n+++ b/{file}\n");
    let range = |from: usize, count: usize| if count == 1 { format!("{from}") } else { format!("{from},{count}") };
    let (was, is) = (old_end + after - start, new_end + after - start);
    let first = |count: usize| if count == 0 { start } else { start + 1 };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "@@ -{} +{} @@", range(first(was), was), range(first(is), is));
    let mut put = |mark: char, lines: &[&str], from: usize, to: usize| {
        for line in lines.get(from..to).unwrap_or_default() {
            let _ = write!(out, "{mark}{line}");
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    };
    put(' ', &old, start, same);
    put('-', &old, same, old_end);
    put('+', &new, same, new_end);
    put(' ', &old, old_end, old_end + after);
    (out, (old_end - same) + (new_end - same))
}
