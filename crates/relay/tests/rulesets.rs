//! `sekisho rulesets` as a person and a program read it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

fn rulesets(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sekisho")).arg("rulesets").args(arguments).output().unwrap()
}

#[test]
fn each_set_is_printed_with_its_names_and_sources() {
    let all = rulesets(&["--format", "json"]);
    let all: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    let listing = String::from_utf8(rulesets(&[]).stdout).unwrap();
    for set in all.as_array().unwrap() {
        let name = set["name"].as_str().unwrap();
        assert!(listing.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
        let one = rulesets(&[name, "--format", "json"]);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&one.stdout).unwrap(), *set);
        let text = String::from_utf8(rulesets(&[name]).stdout).unwrap();
        let names = ["hosts", "buckets"].iter().flat_map(|key| set[key].as_array().unwrap());
        for item in names.chain(set["sources"].as_array().unwrap()) {
            let shown = item["name"].as_str().or(item["url"].as_str()).unwrap();
            assert!(text.contains(shown), "{name}: {shown}");
        }
        assert!(text.contains(set["date"].as_str().unwrap()));
    }
}

#[test]
fn a_set_that_does_not_exist_is_wrong_usage() {
    let output = rulesets(&["aws:ssn"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("did you mean `aws:ssm`?"));
}
