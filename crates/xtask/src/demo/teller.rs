//! How the story looks: numbered steps, what was typed, what came out, what it shows.

use std::time::Duration;

use crate::say;

/// Columns of a line, the indentation included.
const WIDTH: usize = 100;
const INDENT: &str = "    ";

/// The title of a step.
pub(super) fn step(number: usize, title: &str) {
    println!("\n{}", say::bold(format_args!("{number}. {title}")));
}

/// What was typed where (`client`, `gate`).
pub(super) fn typed(place: &str, line: &str) {
    println!("  {}", say::bold(format_args!("{place}$ {line}")));
}

/// What came out: at most so many lines, each folded to the width.
pub(super) fn output(text: &str, at_most: usize) {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().take(at_most) {
        for part in fold(line, WIDTH - INDENT.len()) {
            println!("{INDENT}{part}");
        }
    }
    if lines.len() > at_most {
        println!("{INDENT}{}", say::dim(format_args!("… {} more lines", lines.len() - at_most)));
    }
}

/// How it ended, and how long that took.
pub(super) fn ended(good: bool, how: &str, took: Duration) {
    println!("{INDENT}{}", say::verdict(good, format_args!("[{how} after {:.2} s]", took.as_secs_f64())));
}

/// The sentence that says what was shown.
pub(super) fn meaning(text: &str) {
    for part in fold(text, WIDTH - 2) {
        println!("  {part}");
    }
}

/// Splits a line that is wider than `width` at spaces, so that no part is, unless a word is; later parts are indented as
/// the line is.
fn fold(line: &str, width: usize) -> Vec<String> {
    if line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let mut parts = vec![];
    let mut part = indent.to_owned();
    for word in text.split_whitespace() {
        let empty = part.len() == indent.len();
        if !empty && part.chars().count() + 1 + word.chars().count() > width {
            parts.push(std::mem::replace(&mut part, indent.to_owned()));
        } else if !empty {
            part.push(' ');
        }
        part.push_str(word);
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn long_lines_are_folded_at_spaces_and_keep_their_indentation() {
        assert_eq!(fold("  one   two", 11), ["  one   two"]);
        assert_eq!(fold("  one two three", 9), ["  one two", "  three"]);
        assert_eq!(fold("averyverylongword and", 8), ["averyverylongword", "and"]);
        assert_eq!(fold("", 8), [""]);
    }
}
