//! The tutorial and the cookbook: each policy in them is checked, each command run, and both languages show the same.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::page::{self, blocks};

const PAGES: [(&str, &str); 2] =
    [("docs/cookbook.md", "docs/cookbook.ja.md"), ("docs/tutorial.md", "docs/tutorial.ja.md")];

const NODE: &str = "listeners:\n  - { bind: \"0.0.0.0:8443\", destination: redirect }\npolicy: policy.yaml\n";
/// The seed's own form of a name.
const LIST: &str = "reports.s3-ap-northeast-1.amazonaws.com\n";

/// A directory with a node's files and this policy.
fn node(policy: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
    write("sekisho.yaml", NODE);
    write("policy.yaml", policy);
    write("whitelist-domain", LIST);
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sekisho")).current_dir(directory).args(arguments).output().expect("the program")
}

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

#[test]
fn every_policy_passes_check_but_the_one_that_is_shown_to_be_wrong() {
    for page in PAGES.iter().flat_map(|(one, other)| [one, other]) {
        let policies: Vec<_> =
            blocks(&page::read(page), "yaml").into_iter().filter(|block| block.contains("\nrules:")).collect();
        assert!(policies.len() >= 2, "{page}");
        for policy in policies {
            let directory = node(&policy);
            let output = run(directory.path(), &["check", "--deny", "warnings"]);
            let wrong = policy.starts_with("# wrong.yaml");
            assert_eq!(output.status.success(), !wrong, "{page}:\n{policy}\n{}", said(&output));
            assert_eq!(wrong, said(&output).contains("[path-style-host]"), "{page}: {}", said(&output));
        }
    }
}

#[test]
fn the_operators_guide_shows_commands_that_run() {
    let guide = page::read("docs/operator.md");
    let block = blocks(&guide, "sh").into_iter().find(|block| block.contains("sekisho rulesets")).expect("the block");
    let directory = node("version: 1\nrules: []\n");
    let group = r#"{"RuleGroup":{"RulesSource":{"RulesSourceList":{"Targets":["a.example"],"TargetTypes":["TLS_SNI"],"GeneratedRulesType":"ALLOWLIST"}}}}"#;
    fs::write(directory.path().join("rule-group.json"), group).expect("a file");
    let lines: Vec<_> = block.lines().collect();
    assert_eq!(lines.len(), 10, "{lines:?}");
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let output = run(directory.path(), &words);
        assert!(output.status.success() && output.stdout.len() > 20, "{line}: {}", said(&output));
    }
}

#[test]
fn the_tutorials_workflow_is_one_that_github_takes() {
    let directory = tempfile::tempdir().expect("a directory");
    let workflow = blocks(&page::read("docs/tutorial.md"), "yaml");
    let workflow = workflow.iter().find(|block| block.contains("runs-on:")).expect("a workflow");
    let takes = |text: &str| {
        let file = directory.path().join("policy.yaml");
        fs::write(&file, text).expect("a file");
        let python = page::root().join("target/venv/bin/python");
        assert!(python.exists(), "there is no {}: run `cargo xtask setup`", python.display());
        let schema = ["-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"];
        let output = Command::new(python).args(schema).arg(file).output().expect("check-jsonschema");
        (output.status.success(), said(&output))
    };
    let (taken, why) = takes(workflow);
    assert!(taken, "{why}");
    let (taken, why) = takes(&workflow.replace("runs-on:", "run-on:"));
    assert!(!taken && why.contains("run-on"), "{why}");
}

#[test]
fn both_languages_show_the_same_examples() {
    for (english, japanese) in PAGES {
        let (english, japanese) = (page::read(english), page::read(japanese));
        for language in ["yaml", "sh"] {
            assert_eq!(blocks(&english, language), blocks(&japanese, language));
        }
        let headings = |text: &str| page::outside_fences(text).filter(|line| line.starts_with("## ")).count();
        assert_eq!(headings(&english), headings(&japanese));
    }
}

#[test]
fn the_tutorials_commands_say_what_it_says() {
    let tutorial = page::read("docs/tutorial.md");
    let yaml = blocks(&tutorial, "yaml");
    let file = |name: &str| {
        let mark = format!("# {name}\n");
        yaml.iter().find(|block| block.starts_with(&mark)).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let directory = node(&file("policy.yaml"));
    fs::write(directory.path().join("sekisho.yaml"), file("sekisho.yaml")).expect("a file");
    let commands: Vec<String> = blocks(&tutorial, "sh")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.starts_with("sekisho "))
        .collect();
    let expected = ["no faults", "allowed by rule `monthly reports`", "one letter", "the client: 10.99.0.1 is in none"];
    assert_eq!(commands.len(), expected.len(), "{commands:?}");
    for (command, expected) in commands.iter().zip(expected) {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        let output = run(directory.path(), &words);
        assert!(output.status.success() && said(&output).contains(expected), "{command}: {}", said(&output));
    }

    // What its CI job runs: an unchanged policy opens nothing, one with a rule more does.
    let workflow = file(".github/workflows/policy.yaml");
    assert!(workflow.contains("sekisho diff old.yaml policy.yaml --format markdown"), "{workflow}");
    fs::write(directory.path().join("old.yaml"), file("policy.yaml")).expect("a file");
    let diff = ["diff", "old.yaml", "policy.yaml", "--format", "markdown"];
    let unchanged = run(directory.path(), &diff);
    assert_eq!(unchanged.status.code(), Some(0), "{}", said(&unchanged));
    let more = format!("{}\n  - {{ name: b, owner: o, ticket: t, hosts: [b.example] }}\n", file("policy.yaml"));
    fs::write(directory.path().join("policy.yaml"), more).expect("a file");
    let opened = run(directory.path(), &diff);
    assert_eq!(opened.status.code(), Some(1), "{}", said(&opened));
    assert!(said(&opened).contains("b.example"), "{}", said(&opened));
}
