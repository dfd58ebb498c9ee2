//! Squid's `dstdomain` lists, unchanged: a name a line, a leading dot for a domain and all below it, `#` for comments.
//!
//! What Squid tolerates is tolerated: blank lines, duplicates, names that another line covers. A line that could never match a
//! server name is skipped with a warning. A list never opens more here than it does in Squid.

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::document::{self, Node, Reader};
use crate::files::FileError;
use crate::index::Shape;
use crate::load::rule::Draft;
use crate::load::{Builder, MAX_LIST_BYTES};
use crate::pattern;

impl Builder<'_> {
    pub(super) fn hosts_file(&mut self, reader: &mut Reader<'_>, node: &Node, draft: &mut Draft) {
        let Some(text) = reader.text(node, "a file's path") else { return };
        let path = self.dir.join(text);
        let bytes = match self.files.read(&path, MAX_LIST_BYTES) {
            Ok(bytes) => bytes,
            Err(FileError::TooLarge) => {
                reader.out.push(document::too_large(&Arc::from(path.display().to_string()), MAX_LIST_BYTES));
                return;
            }
            Err(error) => {
                let fault = Diagnostic::error("unreadable-file", format!("cannot read `{}`: {error}", path.display()));
                reader.push(fault.help("paths are relative to the policy's own directory"), node.span);
                return;
            }
        };
        if !self.read.contains(&path) {
            self.read.push(path.clone());
        }
        self.lines(reader, &path, &bytes, draft);
    }

    fn lines(&mut self, reader: &mut Reader<'_>, path: &Path, bytes: &[u8], draft: &mut Draft) {
        let file: Arc<str> = Arc::from(path.display().to_string());
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                reader.out.push(document::not_utf8(&file, bytes, error.valid_up_to()));
                return;
            }
        };
        let Some(number) = self.file_number(&file) else {
            reader
                .out
                .push(Diagnostic::error("too-many-names", "more than 65,535 host lists").at(Location::file(&file)));
            return;
        };
        let mut names = 0_usize;
        for (line, content) in (1_u32..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
            if let Some((at, word)) = entry(content) {
                names += 1;
                if names > self.caps.list_names {
                    let most = self.caps.list_names;
                    let fault = Diagnostic::error("too-many-names", format!("the list has more than {most} names"));
                    let fault = fault.help("use a leading dot where a whole domain is meant");
                    reader.out.push(fault.at(Location::new(&file, line, 1, 1, content)));
                    return;
                }
                let curt = !reader.out.keeps(Severity::Warning);
                if let Some(fault) = self.word(word, draft, number, line, curt) {
                    reader.out.push_at(fault, || place(&file, line, content, at, word));
                }
            }
            if self.full() {
                return;
            }
        }
        if names == 0 {
            let fault = Diagnostic::warning("empty-hosts-file", "the list names nothing").at(Location::file(&file));
            reader.out.push(fault.help("check that this is the right file"));
        }
    }

    fn word(&mut self, word: &str, draft: &mut Draft, file: u16, line: u32, curt: bool) -> Option<Diagnostic> {
        match pattern::parse(word) {
            Ok((shape @ (Shape::Exact | Shape::Below), name)) => {
                // Repeated names are not looked at again: Squid tolerates them, and one fault a name is enough.
                if !self.list(&mut draft.listed, shape, &name, file, line) {
                    return None;
                }
                let fault = draft.lint(shape, &name, word, true, curt)?;
                Some(fault.note("the list itself can stay as it is"))
            }
            _ if word.contains([' ', '\t', '\r']) => {
                Some(skipped(word, "has a blank within, and Squid takes the whole line for one name"))
            }
            Ok(_) => Some(skipped(word, "has a `*`, which Squid takes literally")),
            Err((why, _)) => Some(skipped(word, &why)),
        }
    }

    fn file_number(&mut self, file: &Arc<str>) -> Option<u16> {
        let known = self.policy.files.iter().position(|known| known == file);
        let number = known.unwrap_or_else(|| {
            self.policy.files.push(Arc::clone(file));
            self.policy.files.len() - 1
        });
        u16::try_from(number).ok()
    }
}

/// The entry on a line and where it begins: none on a blank or a comment's.
///
/// One line is one entry, as in Squid (`ConfigParser::strtokFile` of version 5): blanks *within* it make one strange name
/// of the line, not two names. Only what Squid takes for a blank is one: were it Unicode's blanks too, then what Squid
/// reads as one strange name, and a reader of the list may not see at all, would open something else.
pub(crate) fn entry(line: &str) -> Option<(usize, &str)> {
    const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];
    let start = line.len() - line.trim_start_matches(BLANK).len();
    let rest = line.get(start..)?;
    // A `#` begins a comment where a word would begin.
    let comment = rest
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|&at| at == 0 || rest.get(..at).is_some_and(|before| before.ends_with(BLANK)));
    let text = rest.get(..comment.unwrap_or(rest.len()))?.trim_end_matches(BLANK);
    (!text.is_empty()).then_some((start, text))
}

fn place(file: &Arc<str>, line: u32, content: &str, at: usize, word: &str) -> Location {
    let column = content.get(..at).unwrap_or_default().chars().count() + 1;
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location::new(file, line, narrow(column), narrow(word.chars().count()), content)
}

fn skipped(word: &str, why: &str) -> Diagnostic {
    // A line may be of any length; what is shown of it is not.
    let shown: String = word.chars().take(80).collect();
    Diagnostic::warning("skipped-line", format!("`{shown}` {why}, so the line can never match and is skipped"))
}
