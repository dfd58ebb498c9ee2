//! Reads what a page says out of its Markdown.

use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().expect("the repository")
}

/// A file of the repository, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page of the repository by its path from the root, in order.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    collect(&root(), "", &mut pages);
    pages.sort();
    pages
}

fn collect(directory: &Path, prefix: &str, pages: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if name == "target" || name == "node_modules" || name.starts_with('.') {
            continue;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), &format!("{path}/"), pages);
        } else if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            pages.push((path, std::fs::read_to_string(entry.path()).expect("UTF-8")));
        }
    }
}

/// The rows of every table whose first column has this heading, each cell trimmed.
pub(crate) fn rows(text: &str, first: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let cells = cells(line);
        if cells.first().is_some_and(|cell| cell == first) {
            // The line below the heading is only dashes.
            lines.next();
            rows.extend(lines.by_ref().map(self::cells).take_while(|cells| !cells.is_empty()));
        }
    }
    rows
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(|cell| cell.trim().to_owned()).collect()).unwrap_or_default()
}

/// What stands in backticks, in order.
pub(crate) fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The headings of one level, as written.
pub(crate) fn headings(text: &str, level: usize) -> Vec<&str> {
    let mark = format!("{} ", "#".repeat(level));
    outside_fences(text).filter_map(|line| line.strip_prefix(&*mark)).map(str::trim).collect()
}

/// The text under a heading, down to the next one of its level or above.
pub(crate) fn section<'t>(text: &'t str, level: usize, heading: &str) -> &'t str {
    let begin = format!("\n{} {heading}\n", "#".repeat(level));
    let start = text.find(&begin).unwrap_or_else(|| panic!("no heading `{heading}`")) + begin.len();
    let rest = &text[start..];
    let ends = (1..=level).filter_map(|level| rest.find(&format!("\n{} ", "#".repeat(level))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// The blocks fenced with this language, without their fences.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if found == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The lines that are not within a fenced block.
pub(crate) fn outside_fences(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[test]
fn a_page_is_read_as_it_is_shown() {
    let text =
        "# T\n\n| A | B |\n|---|---|\n| `x` | y |\n\n```sh\n# no heading\n```\n### S\nin `a` and `b`\n### U\nout\n";
    assert_eq!(rows(text, "A"), [["`x`", "y"]]);
    assert_eq!(headings(text, 1), ["T"]);
    assert_eq!(code(section(text, 3, "S")), ["a", "b"]);
    assert_eq!(blocks(text, "sh"), ["# no heading"]);
}
