//! What the user sees: plain text, with colour only on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, stderr, stdout};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// The start of something long.
pub(crate) fn headline(text: impl Display) {
    println!("\n{}", paint(BOLD, format_args!("== {text}")));
}

/// What is being done now, so that a wait is understood.
pub(crate) fn progress(text: impl Display) {
    println!("{}", paint(CYAN, format_args!("-- {text}")));
}

/// Text that may be skipped.
pub(crate) fn dim(text: impl Display) -> String {
    paint(DIM, text)
}

/// Text that stands out.
pub(crate) fn bold(text: impl Display) -> String {
    paint(BOLD, text)
}

/// Text that says whether something went well.
pub(crate) fn verdict(good: bool, text: impl Display) -> String {
    paint(if good { GREEN } else { RED }, text)
}

/// What kept the task from being done, with its causes.
pub(crate) fn error(error: &anyhow::Error) {
    let mark = if stderr().is_terminal() { format!("\x1b[{RED}merror:\x1b[0m") } else { "error:".to_owned() };
    eprintln!("{mark} {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}

fn paint(code: &str, text: impl Display) -> String {
    if stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}
