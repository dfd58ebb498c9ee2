//! The commands that the pages show.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::page::{self, blocks, code, rows, section};
use crate::source;

#[test]
fn the_readmes_two_commands_exist() {
    let known = xtask_commands();
    for readme in ["README.md", "README.ja.md"] {
        let text = page::read(readme);
        let first: Vec<_> =
            blocks(&text, "sh").first().expect("a block of commands").lines().map(str::to_owned).collect();
        let commands: Vec<_> = first.iter().filter_map(|line| line.strip_prefix("cargo xtask ")).collect();
        let words: Vec<_> = commands.iter().filter_map(|command| command.split_whitespace().next()).collect();
        assert_eq!(words, ["demo", "test"], "{readme} begins with the two commands");
        for word in words {
            assert!(known.contains(word), "{readme}: cargo xtask {word}");
        }
    }
}

#[test]
fn every_xtask_command_that_a_page_shows_exists() {
    let known = xtask_commands();
    for (path, text) in page::all() {
        for (_, rest) in
            text.match_indices("cargo xtask ").filter_map(|(at, token)| text.split_at_checked(at + token.len()))
        {
            let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            assert!(word.is_empty() || known.contains(&word), "{path}: cargo xtask {word}");
        }
    }
}

/// The words that xtask's command line knows.
fn xtask_commands() -> BTreeSet<String> {
    let code = source::code("crates/xtask/src/args.rs");
    let arms = code.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => Task::"));
    let words: BTreeSet<_> = arms.map(|(word, _)| word.to_owned()).collect();
    assert!(!words.is_empty(), "xtask's commands are found in its source");
    words
}

#[test]
fn every_command_and_option_is_documented_and_no_other_is() {
    let page = page::read("docs/operator.md");
    let documented: BTreeMap<_, BTreeSet<_>> = rows(section(&page, 2, "Commands"), "Command")
        .iter()
        .map(|row| {
            let command = code(&row[0])[0].strip_prefix("sekisho ").expect("a command").to_owned();
            (command, code(&row[2]).into_iter().map(str::to_owned).collect())
        })
        .collect();
    let mut known = BTreeMap::new();
    commands(&[], &mut known);
    assert_eq!(documented, known);
}

/// Every command below this one that does something itself, with its options.
fn commands(above: &[&str], known: &mut BTreeMap<String, BTreeSet<String>>) {
    let help = help(above);
    let Some((_, below)) = help.split_once("Commands:\n") else {
        known.insert(above.join(" "), options(&help));
        return;
    };
    let lines = below.lines().take_while(|line| !line.is_empty());
    // Lines that begin deeper go on with what a command does.
    let words = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for word in words.filter(|word| !word.is_empty() && *word != "help") {
        commands(&[above, &[word]].concat(), known);
    }
}

/// The long options of a command's help, but those that every command has.
fn options(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let long = lines.filter_map(|line| line.split(", ").find(|part| part.starts_with("--")));
    let names = long.filter_map(|part| part.split([' ', '=']).next());
    names.filter(|name| !["--help", "--version"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn messages_are_those_that_the_program_logs() {
    let page = page::read("docs/operator.md");
    let sources: String = ["accept", "app", "policy_store", "policy_store/moves", "record/writer"]
        .map(|file| source::code(&format!("crates/relay/src/{file}.rs")))
        .concat();
    for row in rows(section(&page, 2, "The operator's log"), "Message") {
        let message = code(&row[0])[0];
        assert!(sources.contains(&format!("\"{message}")), "nothing logs `{message}`");
    }
}

fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    let output = program.args(command).arg("--help").output().expect("the program");
    String::from_utf8(output.stdout).expect("UTF-8")
}
