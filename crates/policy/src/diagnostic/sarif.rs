//! Faults as SARIF 2.1.0 (OASIS Standard), which code-scanning services read.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Diagnostic, Diagnostics, Location, Severity};

pub(super) fn sarif(diagnostics: &Diagnostics) -> Value {
    let mut codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.iter().map(|code| json!({ "id": code })).collect();
    let results: Vec<Value> = diagnostics.iter().map(|diagnostic| result(diagnostic, &codes)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sekisho",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            // Columns here count characters, not UTF-16's units (§3.14.17).
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": { "errors": diagnostics.errors(), "warnings": diagnostics.warnings() },
        }],
    })
}

fn result(diagnostic: &Diagnostic, codes: &[&str]) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut result = json!({
        "ruleId": diagnostic.code,
        "level": level,
        "message": { "text": diagnostic.whole() },
    });
    if let Ok(index) = codes.binary_search(&diagnostic.code) {
        result["ruleIndex"] = json!(index);
    }
    if let Some(location) = &diagnostic.location {
        result["locations"] = json!([{ "physicalLocation": physical(location) }]);
    }
    result
}

fn physical(location: &Location) -> Value {
    let mut place = json!({ "artifactLocation": { "uri": uri(&location.file) } });
    // A region begins at line 1 at the earliest (§3.30.5); a fault of the whole file has none.
    if location.line > 0 {
        place["region"] = json!({
            "startLine": location.line,
            "startColumn": location.column,
            // One past the last character (§3.30.8).
            "endColumn": location.column.saturating_add(location.length),
        });
    }
    place
}

/// A path as a URI reference (RFC 3986 §3.3, RFC 8089 §2 for an absolute one).
fn uri(path: &str) -> String {
    let mut out = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            other => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}
