//! Walking a document: each getter says what it wants, pushes a fault when it gets something else, and goes on.

use std::str::FromStr;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::document::{Entry, Node, Source, Span, Value};

/// Reads nodes of one source and collects faults.
pub struct Reader<'a> {
    /// The text that the nodes come from.
    pub source: &'a Source,
    /// Where faults go.
    pub out: &'a mut Diagnostics,
}

/// A mapping whose keys were checked.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Where the mapping begins.
    pub span: Span,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The value of a key; `None` when it is absent. A key without a value gives a null node.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value.
    pub fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| &*entry.key == key)
    }
}

impl Reader<'_> {
    /// Takes a node as a mapping of known keys. `what` names it in faults ("a rule"). Unknown keys are faults.
    pub fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let Value::Mapping(entries) = &node.value else {
            self.wrong_type(node, &format!("{what}, as `key: value` lines"));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&&*entry.key)) {
            let fault = Diagnostic::error("unknown-key", format!("unknown key `{}` in {what}", entry.key));
            let help = match self.near(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.push(fault.help(help), entry.key_span);
        }
        Some(Fields { span: node.span, entries })
    }

    /// The value of a key that must be there.
    pub fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, what: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() {
            self.push(
                Diagnostic::error("missing-key", format!("{what} needs `{key}`")).help(format!("add `{key}:`")),
                fields.span,
            );
        }
        found
    }

    /// Takes a node as text that is not empty. A number is taken as the text that it is written with.
    pub fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(text),
            _ => {
                self.wrong_type(node, what);
                None
            }
        }
    }

    /// Takes a node as a whole number within `range`, bounds included. Only the decimal spelling without a sign or a zero
    /// in front is taken: YAML 1.1 reads `0443` as an octal number, and another reader of the file may.
    pub fn integer(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse().ok().filter(|n: &u64| n.to_string() == **text),
            _ => None,
        };
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let wanted = match (range.start(), range.end()) {
                (only, end) if only == end => format!("{what}, which is {only}"),
                (first, last) => format!("{what}, a whole number from {first} to {last}"),
            };
            self.wrong_type(node, &wanted);
        }
        number
    }

    /// Takes a node as `true` or `false`.
    pub fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if &**text == "true" => Some(true),
            Value::Scalar { text, plain: true } if &**text == "false" => Some(false),
            _ => {
                self.wrong_type(node, &format!("{what}, `true` or `false`"));
                None
            }
        }
    }

    /// Takes a node as one of a few words.
    pub fn one_of<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(value);
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let mut help = format!("write {}", all.join(" or "));
        if let Some(near) = self.near(text, words.iter().map(|(word, _)| *word)) {
            help = format!("did you mean `{near}`? ({help})");
        }
        self.push(Diagnostic::error("unknown-word", format!("`{text}` is not {what}")).help(help), node.span);
        None
    }

    /// Takes a node as a list.
    pub fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        if let Value::Sequence(items) = &node.value {
            return Some(items);
        }
        let help = match &node.value {
            Value::Scalar { text, .. } => format!("put it in brackets: `[{text}]`"),
            _ => "write one item a line, each after `- `".to_owned(),
        };
        self.push(
            Diagnostic::error("wrong-type", format!("expected {what}, found {}", kind(node))).help(help),
            node.span,
        );
        None
    }

    /// Takes a node as text that parses as `T`. `example` is shown in the fault.
    pub fn parsed<T: FromStr>(&mut self, node: &Node, code: &'static str, what: &str, example: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(node, what)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let fault = Diagnostic::error(code, format!("`{text}` is not {what}: {error}"));
                self.push(fault.help(format!("write it like `{example}`")), node.span);
                None
            }
        }
    }

    /// Pushes a fault at a span of the source.
    pub fn push(&mut self, fault: Diagnostic, span: Span) {
        self.out.push_at(fault, || self.source.at(span));
    }

    /// [`nearest`], but only for an error that is going to be shown.
    fn near<'c>(&self, text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
        if self.out.keeps(Severity::Error) { nearest(text, candidates) } else { None }
    }

    /// Pushes that a node is not what was expected.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        self.push(Diagnostic::error("wrong-type", format!("expected {expected}, found {}", kind(node))), node.span);
    }
}

/// What a node is, in words.
fn kind(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar { text, .. } if text.is_empty() => "empty text".to_owned(),
        Value::Scalar { text, .. } if text.chars().count() <= 60 => format!("`{text}`"),
        Value::Scalar { .. } => "text".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
    }
}

/// The candidate that a slip of the hand makes of `text`: at most a third of its letters differ.
pub fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // A long text is no slip of a short word, and comparing it would take long.
    if text.len() > 256 {
        return None;
    }
    let (distance, best) =
        candidates.into_iter().map(|c| (strsim::osa_distance(text, c), c)).min_by_key(|&(distance, _)| distance)?;
    (distance <= best.chars().count().div_ceil(3)).then_some(best)
}
