//! The schemas, held to the pages' examples and to the deployments' files by check-jsonschema.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::page::{self, blocks};

/// What the program prints.
fn schema(file: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sekisho")).args(["schema", file]).output().expect("the program");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The files that fail a schema, with their faults.
fn failing(schema: &Path, files: &[std::path::PathBuf]) -> String {
    let python = page::root().join("target/venv/bin/python");
    assert!(python.exists(), "there is no {}: run `cargo xtask setup`", python.display());
    let mut command = Command::new(python);
    let output = command.args(["-m", "check_jsonschema", "--schemafile"]).arg(schema).args(files).output();
    let output = output.expect("check-jsonschema");
    if output.status.success() {
        return String::new();
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // Python itself fails without a word on standard output when it lacks the module.
    assert!(
        !said.is_empty(),
        "check-jsonschema did not run: run `cargo xtask setup`\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn examples_and_deployments_have_the_form_that_the_schemas_say() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut texts: Vec<String> = Vec::new();
    // The policy reference is compared by a test of its own.
    for (path, text) in page::all().iter().filter(|(path, _)| path != "docs/policy.md") {
        let _ = path;
        texts.extend(blocks(text, "yaml"));
    }
    for path in ["deploy/sekisho.yaml", "deploy/policy.yaml", "deploy/haproxy/sekisho.yaml"] {
        texts.push(page::read(path));
    }
    for (file, key) in [("policy", "rules:"), ("config", "listeners:")] {
        let schema_path = directory.path().join(format!("{file}.json"));
        fs::write(&schema_path, schema(file)).expect("written");
        let whole = texts.iter().filter(|text| text.lines().any(|line| line.starts_with(key)));
        let good: Vec<_> = whole.map(|text| text.clone() + "\n").enumerate().collect();
        assert!(good.len() > 1, "{file}: examples are found");
        let paths: Vec<_> = good
            .iter()
            .map(|(number, text)| {
                let path = directory.path().join(format!("{file}-{number}.yaml"));
                fs::write(&path, text).expect("written");
                path
            })
            .collect();
        assert_eq!(failing(&schema_path, &paths), "");
        // And it is no schema that takes anything.
        let wrong = directory.path().join(format!("{file}-wrong.yaml"));
        fs::write(&wrong, format!("{}xyzzy: 1\n", good[0].1)).expect("written");
        assert!(failing(&schema_path, &[wrong]).contains("xyzzy"), "{file}");
    }
}
