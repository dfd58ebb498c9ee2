//! The JSON Schema against another implementation, check-jsonschema: what `check` takes, it takes; what is wrong by structure
//! fails it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekisho_policy::{Diagnostics, FileError, Files, Policy};

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;
/// Faults of structure, which the schema has to find too.
const STRUCTURE: &[&str] =
    &["unknown-key", "missing-key", "wrong-type", "unknown-word", "empty-list", "empty-rule", "bad-date"];
/// Files that another reader of YAML may see otherwise, or not at all.
const DOCUMENT: &[&str] = &[
    "duplicate-key",
    "file-too-large",
    "hidden-character",
    "key-not-text",
    "not-utf8",
    "several-documents",
    "too-deep",
    "too-many-values",
    "unreadable-file",
    "yaml-anchor",
    "yaml-syntax",
    "yaml-tag",
];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap()
}

/// Files of the golden directory, whatever the policy's own path.
struct Golden<'a>(&'a str);

impl Files for Golden<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        if path == Path::new("policy.yaml") {
            return Ok(self.0.as_bytes().to_vec());
        }
        sekisho_policy::Disk.read(&here().join("tests/golden").join(path), limit)
    }
}

fn faults(text: &str) -> Diagnostics {
    match Policy::load_from(Path::new("policy.yaml"), &Golden(text), NOW) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults,
    }
}

/// Every golden policy and every example of the reference, as whole files.
fn policies() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(here().join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml")
            && let Ok(text) = fs::read_to_string(&path)
        {
            all.push((format!("golden-{}", path.file_stem().unwrap().to_str().unwrap()), text));
        }
    }
    let page = fs::read_to_string(here().join("../../docs/policy.md")).unwrap();
    for (number, block) in page.split("\n```yaml").skip(1).enumerate() {
        let (_, text) = block.split_once('\n').unwrap();
        let (text, _) = text.split_once("\n```").unwrap();
        let whole = text.lines().any(|line| line.starts_with("version:"));
        let text = if whole { text.to_owned() } else { format!("version: 1\nrules:\n{text}") };
        all.push((format!("reference-{number:03}"), text + "\n"));
    }
    all
}

#[test]
fn what_is_wrong_by_structure_fails_the_schema_and_what_is_good_does_not() {
    let dir = std::env::temp_dir().join(format!("sekisho-schema-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("schema.json"), sekisho_policy::schema().to_string()).unwrap();
    let (mut wrong, mut good, mut paths) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (name, text) in policies() {
        let faults = faults(&text);
        let has = |codes: &[&str]| faults.iter().any(|fault| codes.contains(&fault.code));
        if has(DOCUMENT) {
            continue;
        }
        if has(STRUCTURE) {
            wrong.insert(name.clone());
        } else if faults.errors() == 0 {
            good.insert(name.clone());
        } else {
            continue;
        }
        let path = dir.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    let python = here().join("../../target/venv/bin/python");
    assert!(python.exists(), "there is no {}: run `cargo xtask setup`", python.display());
    let mut command = Command::new(python);
    command.args(["-m", "check_jsonschema", "--output-format", "json", "--schemafile"]).arg(dir.join("schema.json"));
    let output = command.args(&paths).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(report["parse_errors"], serde_json::json!([]));
    let failed: BTreeSet<String> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| Path::new(error["filename"].as_str().unwrap()).file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(good.len() > 60 && wrong.len() > 10, "{} good, {} wrong", good.len(), wrong.len());
    let missed: Vec<_> = wrong.difference(&failed).collect();
    assert!(missed.is_empty(), "wrong by structure, and taken: {missed:?}");
    let refused: Vec<_> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|error| good.iter().any(|name| error["filename"].as_str().unwrap().ends_with(&format!("/{name}.yaml"))))
        .collect();
    assert!(refused.is_empty(), "good, and refused: {refused:#?}");
}
