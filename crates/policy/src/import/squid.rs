//! Squid's lists and its `acl` and `http_access` lines.

mod access;
mod acl;
mod names;

use super::draft::{Draft, Host, Part, Rule};
use crate::files::Files;
use crate::load::dstdomain;

pub(super) fn draft(text: &str, file: &str, files: &dyn Files) -> Draft {
    let lines = lines(text);
    let conf = lines.iter().any(|line| matches!(line.word(), "acl" | "http_access"));
    if conf { access::draft(&lines, file, files) } else { list(text, file) }
}

/// A `dstdomain` list alone: who may ask, and how, is not in it.
fn list(text: &str, file: &str) -> Draft {
    let mut draft = Draft::default();
    draft.top.push(format!("Made by `sekisho import squid {file}`."));
    draft.top.push(
        "A list has no clients and no ports: here it is TLS on port 443, for anybody. Add `clients:`.".to_owned(),
    );
    let mut rule = Rule { name: format!("from {file}"), ..Rule::default() };
    rule.hosts = entries(text);
    if rule.hosts.is_empty() {
        draft.lose("the file lists nothing");
    } else {
        draft.parts.push(Part::Rule(rule));
    }
    draft
}

/// The entries of a list, each once.
fn entries(text: &str) -> Vec<Host> {
    let mut seen = std::collections::HashSet::new();
    let entries = text.lines().filter_map(dstdomain::entry).map(|(_, entry)| entry);
    entries.filter(|entry| seen.insert(entry.to_ascii_lowercase())).map(names::host).collect()
}

/// A line of squid.conf, continued lines joined.
struct Line {
    /// From 1; the first of those that were joined.
    number: usize,
    words: Vec<String>,
}

impl Line {
    fn word(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    fn rest(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// As it stands, blanks made single.
    fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// The lines that say something. Blanks separate words; a `#` where a word would begin starts a comment.
fn lines(text: &str) -> Vec<Line> {
    let mut all = Vec::new();
    let mut open: Option<Line> = None;
    for (number, raw) in (1..).zip(text.lines()) {
        let (raw, goes_on) = match raw.strip_suffix('\\') {
            Some(raw) => (raw, true),
            None => (raw, false),
        };
        let words = raw.split_ascii_whitespace().take_while(|word| !word.starts_with('#')).map(str::to_owned);
        let mut line = open.take().unwrap_or(Line { number, words: Vec::new() });
        line.words.extend(words);
        if goes_on {
            open = Some(line);
        } else if !line.words.is_empty() {
            all.push(line);
        }
    }
    all.extend(open.filter(|line| !line.words.is_empty()));
    all
}
