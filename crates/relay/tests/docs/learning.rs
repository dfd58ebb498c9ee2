//! docs/learning.md: every step of its way, done with the program.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::page::{self, blocks};

/// Runs the program beside the page's files.
fn sekisho(directory: &Path, command: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let output = program.current_dir(directory).args(command.split(' ')).output().expect("the program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{command}: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_way_from_audit_to_enforcement_goes_as_the_page_says() {
    let text = page::read("docs/learning.md");
    let all = |language| blocks(&text, language);
    let [before, learned, reviewed] = all("yaml").try_into().expect("the policy, the rules, the policy");
    let [log] = all("jsonl").try_into().expect("one log");
    let [used] = all("text").try_into().expect("one report");
    let commands = all("sh").into_iter().map(|block| block.strip_prefix("sekisho ").expect("a command").to_owned());
    let [learn, usage] = commands.collect::<Vec<_>>().try_into().expect("two commands");

    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), format!("{text}\n")).expect("written");
    write("access.jsonl", &log);
    write("policy.yaml", &before);
    write("sekisho.yaml", "listeners:\n  - { bind: \"127.0.0.1:0\", destination: redirect }\npolicy: policy.yaml");
    assert_eq!(sekisho(directory.path(), &learn).trim_end(), learned);

    // At the end of the policy, as they came, the rules leave nothing to learn.
    let (_, added) = learned.split_once("rules:\n").expect("rules");
    write("added.yaml", &format!("{before}\n{added}"));
    assert!(sekisho(directory.path(), "learn access.jsonl --policy added.yaml").contains("\nrules: []\n"));

    write("policy.yaml", &reviewed);
    assert!(sekisho(directory.path(), "check").starts_with("no faults\n"));
    let again = sekisho(directory.path(), &learn);
    assert!(again.contains("\nrules: []\n"), "only what is meant to be refused is left: {again}");
    assert_eq!(again.matches("; 1 connection by 1 client").count(), 2, "{again}");
    assert_eq!(sekisho(directory.path(), &usage).trim_end(), used);
}

#[test]
fn the_caps_are_those_of_the_code() {
    let text = page::read("docs/learning.md");
    let thousands = |number: usize| {
        let digits = number.to_string();
        let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part)).collect();
        parts.join(",")
    };
    assert!(text.contains(&format!("{} different host names", thousands(sekisho_journal::MAX_NAMES))));
    assert!(text.contains(&format!("{} different pairs", thousands(sekisho_journal::MAX_PAIRS))));
    assert!(text.contains(&format!("over\n{} KiB", sekisho_journal::MAX_LINE >> 10)));
}
