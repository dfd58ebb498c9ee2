//! YAML as a tree that remembers where everything stands, built under limits from text that nobody vouches for.
//!
//! YAML's ways to say one thing in many places are refused outright: anchors and aliases (a few hundred bytes can mean
//! gigabytes), tags, several documents, keys that are not plain text, keys given twice.

mod read;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

pub use read::{Fields, Reader, nearest};

use crate::diagnostic::{Diagnostic, Diagnostics, Location, is_hidden};
use crate::files::Files;

/// How much of a document is read before it is refused.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of text.
    pub bytes: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Scalars, sequences and mappings together.
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 20, depth: 32, nodes: 1_000_000 }
    }
}

/// A file's text with its lines.
#[derive(Debug)]
pub struct Source {
    file: Arc<str>,
    text: String,
    /// Where each line begins, in bytes.
    starts: Vec<u32>,
}

impl Source {
    /// Reads a file. One that cannot be read, and whatever [`Source::new`] refuses, are faults.
    pub fn open(path: &Path, files: &dyn Files, limits: &Limits, out: &mut Diagnostics) -> Option<Self> {
        let file: Arc<str> = Arc::from(path.display().to_string());
        match files.read(path, limits.bytes) {
            Ok(bytes) => Self::new(&file, bytes, limits, out),
            Err(error) => {
                out.push(error.fault(&file, limits.bytes));
                None
            }
        }
    }

    /// Takes a file's bytes. Bytes that are not UTF-8, hidden control characters, or more text than the limit are faults.
    pub fn new(file: &str, bytes: Vec<u8>, limits: &Limits, out: &mut Diagnostics) -> Option<Self> {
        let file: Arc<str> = Arc::from(file);
        if bytes.len() > limits.bytes {
            out.push(too_large(&file, limits.bytes));
            return None;
        }
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                out.push(not_utf8(&file, error.as_bytes(), error.utf8_error().valid_up_to()));
                return None;
            }
        };
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| narrow(at + 1))).collect();
        let source = Self { file, text, starts };
        source.refuse_hidden(out)?;
        Some(source)
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// A line without its break, from 1; empty beyond the end.
    pub fn line(&self, line: u32) -> &str {
        let line = line as usize;
        let start = line.checked_sub(1).map_or(self.text.len(), |i| self.start(i));
        let end = self.start(line);
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// Where a line begins, counted from 0; the end of the text for a line beyond it.
    fn start(&self, line: usize) -> usize {
        self.starts.get(line).map_or(self.text.len(), |&start| start as usize)
    }

    /// The place of a span.
    pub fn at(&self, span: Span) -> Location {
        Location::new(&self.file, span.line, span.column, span.length, self.line(span.line))
    }

    /// What could show one text and mean another: overrides of the reading direction, control characters, a carriage
    /// return that ends no line.
    fn refuse_hidden(&self, out: &mut Diagnostics) -> Option<()> {
        let mut rest = self.text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let line_end = c == '\r' && rest.peek().is_none_or(|&(_, next)| next == '\n');
            if !is_hidden(c) || matches!(c, '\n' | '\t') || line_end {
                continue;
            }
            let index = self.starts.partition_point(|&start| start as usize <= at);
            let start = index.checked_sub(1).map_or(0, |i| self.start(i));
            let column = self.text.get(start..at).unwrap_or_default().chars().count() + 1;
            let span = Span { line: narrow(index), column: narrow(column), length: 1 };
            let message = format!("the character U+{:04X} is invisible", u32::from(c));
            out.push(Diagnostic::error("hidden-character", message).at(self.at(span)).help("remove it"));
            return None;
        }
        Some(())
    }
}

pub(crate) fn too_large(file: &Arc<str>, limit: usize) -> Diagnostic {
    let message = format!("the file is larger than {} MiB", limit >> 20);
    Diagnostic::error("file-too-large", message).at(Location::file(file))
}

pub(crate) fn not_utf8(file: &Arc<str>, bytes: &[u8], offset: usize) -> Diagnostic {
    let before = bytes.get(..offset).unwrap_or_default();
    let line = before.split(|&b| b == b'\n').count();
    let byte = bytes.get(offset).copied().unwrap_or_default();
    let message = format!("byte {offset} (0x{byte:02x}, on line {line}) is not UTF-8");
    Diagnostic::error("not-utf8", message).at(Location::file(file)).help("save the file as UTF-8")
}

/// Where something stands: line and column from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
    /// Characters on that line.
    pub length: u32,
}

/// A piece of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text, which its reader may take for a number.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: Box<str>,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the file's order; no key twice.
    Mapping(Vec<Entry>),
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// Reads a document. `None` when it is no YAML that is accepted here, or when a key stands twice; faults are pushed.
pub fn parse(source: &Source, limits: &Limits, out: &mut Diagnostics) -> Option<Node> {
    let before = out.errors();
    let mut builder = Builder { source, limits: *limits, out, frames: Vec::new(), root: None, nodes: 0 };
    for event in Parser::new_from_str(&source.text) {
        let result = event.map_err(|error| unreadable(source, &error));
        let step = result.and_then(|(event, span)| builder.take(event, span.start, span.end));
        if let Err(fault) = step {
            builder.out.push(*fault);
            return None;
        }
    }
    let root = builder.root.take();
    if out.errors() > before {
        return None;
    }
    Some(root.unwrap_or(Node { span: Span { line: 1, column: 1, length: 1 }, value: Value::Null }))
}

type Fault = Box<Diagnostic>;

struct Builder<'a> {
    source: &'a Source,
    limits: Limits,
    out: &'a mut Diagnostics,
    frames: Vec<Frame>,
    root: Option<Node>,
    nodes: usize,
}

enum Frame {
    Sequence(Span, Vec<Node>),
    Mapping { span: Span, entries: Vec<Entry>, key: Option<(Box<str>, Span)>, seen: HashMap<Box<str>, u32> },
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, start: Marker, end: Marker) -> Result<(), Fault> {
        let span = span(start, end);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_none() => Ok(()),
            Event::DocumentStart(_) => Err(self.fault(
                "several-documents",
                "a second YAML document begins here",
                span,
                "keep one document a file",
            )),
            Event::Alias(_) => Err(self.anchored(span)),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err(self.anchored(span))
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                Err(self.fault("yaml-tag", "YAML tags are not used here", span, "remove the `!tag`"))
            }
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar { text: Box::from(&*text), plain } };
                self.finish(Node { span, value })
            }
            Event::SequenceStart(..) => self.open(Frame::Sequence(span, Vec::new()), span),
            Event::MappingStart(..) => {
                let seen = HashMap::new();
                self.open(Frame::Mapping { span, entries: Vec::new(), key: None, seen }, span)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.frames.pop() {
                Some(Frame::Sequence(span, items)) => self.finish(Node { span, value: Value::Sequence(items) }),
                Some(Frame::Mapping { span, entries, .. }) => {
                    self.finish(Node { span, value: Value::Mapping(entries) })
                }
                None => Ok(()),
            },
        }
    }

    fn open(&mut self, frame: Frame, span: Span) -> Result<(), Fault> {
        if self.frames.len() >= self.limits.depth {
            let message = format!("nested deeper than {} levels", self.limits.depth);
            return Err(self.fault("too-deep", &message, span, "a policy needs four or five levels"));
        }
        if let Some(Frame::Mapping { key: None, .. }) = self.frames.last() {
            return Err(self.fault("key-not-text", "a key must be plain text", span, "write `key: value`"));
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Hands a complete node to what contains it.
    fn finish(&mut self, node: Node) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("more than {} values", self.limits.nodes);
            return Err(self.fault("too-many-values", &message, node.span, "long lists belong in `hosts_files`"));
        }
        match self.frames.last_mut() {
            None => self.root = Some(node),
            Some(Frame::Sequence(_, items)) => items.push(node),
            Some(Frame::Mapping { entries, key, seen, .. }) => match key.take() {
                Some((key, key_span)) => {
                    if let Some(first) = seen.get(&key) {
                        let message = format!("the key `{key}` stands twice in one mapping");
                        let fault = Diagnostic::error("duplicate-key", message).help("keep one of the two");
                        let fault = fault.note(format!("the first is on line {first}"));
                        self.out.push_at(fault, || self.source.at(key_span));
                    } else {
                        seen.insert(key.clone(), key_span.line);
                        entries.push(Entry { key, key_span, value: node });
                    }
                }
                None => match node.value {
                    Value::Scalar { text, .. } => *key = Some((text, node.span)),
                    _ => {
                        return Err(self.fault(
                            "key-not-text",
                            "a key must be plain text",
                            node.span,
                            "write `key: value`",
                        ));
                    }
                },
            },
        }
        Ok(())
    }

    fn anchored(&self, span: Span) -> Fault {
        self.fault(
            "yaml-anchor",
            "YAML anchors and aliases are not accepted",
            span,
            "write the value out where it is needed",
        )
    }

    fn fault(&self, code: &'static str, message: &str, span: Span, help: &str) -> Fault {
        Box::new(Diagnostic::error(code, message).at(self.source.at(span)).help(help))
    }
}

fn unreadable(source: &Source, error: &ScanError) -> Fault {
    let at = span(*error.marker(), *error.marker());
    let fault = Diagnostic::error("yaml-syntax", format!("not YAML: {}", error.info())).at(source.at(at));
    // A tab before the first character of the line is by far the commonest cause, and the hardest to see.
    let line = source.line(at.line);
    let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
    Box::new(if indent.contains('\t') { fault.help("indent with spaces: YAML allows no tab there") } else { fault })
}

fn span(start: Marker, end: Marker) -> Span {
    let length = if start.line() == end.line() { end.col().saturating_sub(start.col()) } else { 1 };
    Span { line: narrow(start.line()), column: narrow(start.col() + 1), length: narrow(length.max(1)) }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
