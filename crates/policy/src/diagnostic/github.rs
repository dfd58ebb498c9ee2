//! Faults as GitHub Actions workflow commands, which mark them beside the line in a pull request.

use std::fmt::Write as _;

use super::{Diagnostic, Diagnostics, Severity, visible};

pub(super) fn github(diagnostics: &Diagnostics) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        one(&mut out, diagnostic);
    }
    let hidden = diagnostics.hidden();
    if hidden > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "::notice title=sekisho::{hidden} more not shown");
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic) {
    out.push_str(match diagnostic.severity {
        Severity::Error => "::error ",
        Severity::Warning => "::warning ",
    });
    if let Some(location) = &diagnostic.location {
        let _ = write!(out, "file={},", property(&location.file));
        if location.line > 0 {
            let _ = write!(out, "line={},col={},", location.line, location.column);
        }
    }
    let _ = writeln!(out, "title={}::{}", property(diagnostic.code), data(&diagnostic.whole()));
}

/// The text of a command. Line breaks of our own become `%0A`; what hides itself is shown as in the human form.
fn data(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| visible(line).replace('%', "%25")).collect();
    lines.join("%0A")
}

/// The value of a command's property, in which `:` and `,` would end it.
fn property(text: &str) -> String {
    visible(text).replace('%', "%25").replace(':', "%3A").replace(',', "%2C")
}
