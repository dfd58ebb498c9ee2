//! Each command's help is exactly the text in `golden/help`. `SEKISHO_BLESS=1` writes what is given; read the difference.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help")
}

fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    // The width of whoever runs the test is not asked.
    let output = program.args(command).arg("--help").env("COLUMNS", "100").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// The help of a command and of all below it, by the name of its file.
fn collect(command: &[&str], all: &mut Vec<(String, String)>) {
    let text = help(command);
    let below = text.split_once("Commands:\n").map_or("", |(_, below)| below);
    let words = below.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.strip_prefix("  "));
    let words = words.filter_map(|line| line.split(' ').next()).filter(|word| !word.is_empty() && *word != "help");
    for word in words {
        collect(&[command, &[word]].concat(), all);
    }
    let name = if command.is_empty() { "sekisho".to_owned() } else { command.join("-") };
    all.push((format!("{name}.txt"), text));
}

#[test]
fn each_command_has_its_help() {
    let mut all = Vec::new();
    collect(&[], &mut all);
    let bless = std::env::var_os("SEKISHO_BLESS").is_some();
    if bless {
        fs::create_dir_all(golden()).unwrap();
    }
    let mut wrong = Vec::new();
    for (name, text) in &all {
        let path = golden().join(name);
        if bless {
            fs::write(&path, text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != *text {
            wrong.push(format!("{}:\n{text}", path.display()));
        }
    }
    let there = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let expected: BTreeSet<_> = all.into_iter().map(|(name, _)| name).collect();
    assert_eq!(there.collect::<BTreeSet<_>>(), expected, "a file for each command, and no other");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
