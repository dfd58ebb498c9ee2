//! docs/review.md: its commands are run over its files, and print what it says.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/review.md")).unwrap()
}

/// Fenced blocks with the words of their info string.
fn blocks(page: &str) -> Vec<(Vec<&str>, String)> {
    let (mut all, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            all.push((info.split(' ').collect(), content.join("\n") + "\n"));
        }
    }
    all
}

fn sekisho(directory: &Path, arguments: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    program.args(arguments.split(' ')).current_dir(directory).output().unwrap()
}

/// A directory with the page's files.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let page = page();
    let mut files = 0;
    for (info, content) in blocks(&page) {
        if let ["yaml", name] = info.as_slice() {
            fs::write(directory.path().join(name), content).unwrap();
            files += 1;
        }
    }
    assert!(files >= 3);
    directory
}

#[test]
fn the_pages_commands_print_what_it_says() {
    let (directory, page) = (directory(), page());
    let mut commands = 0;
    for (_, content) in blocks(&page).into_iter().filter(|(info, _)| info.first() == Some(&"console")) {
        let (command, expected) = content.split_once('\n').unwrap();
        let arguments = command.strip_prefix("$ sekisho ").unwrap();
        let output = sekisho(directory.path(), arguments);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{command}");
        assert!(output.stderr.is_empty(), "{command}");
        commands += 1;
    }
    assert!(commands >= 3);
}

#[test]
fn a_difference_has_its_exit_status_in_every_form() {
    let directory = directory();
    let run = |arguments: &str| {
        let output = sekisho(directory.path(), arguments);
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for format in ["human", "markdown", "json"] {
        let (code, out, _) = run(&format!("diff --format {format} old.yaml new.yaml"));
        assert!(code == 1 && out.contains("10.21.0.0/16") && out.contains("admin.partner.example"), "{out}");
        let (code, out, _) = run(&format!("diff --format {format} old.yaml old.yaml"));
        assert!(code == 0 && !out.is_empty(), "{out}");
    }
    let json: serde_json::Value = serde_json::from_str(&run("diff --format json old.yaml new.yaml").1).unwrap();
    assert_eq!((&json["opens"], &json["empty"]), (&true.into(), &false.into()));
    assert_ne!(json["digest"]["before"], json["digest"]["after"]);
    // What only shuts opens nothing.
    fs::write(directory.path().join("less.yaml"), "version: 1\nrules: []\n").unwrap();
    let (code, out, _) = run("diff old.yaml less.yaml");
    assert!(code == 0 && out.starts_with("opens 0, shuts 2"), "{out}");
    // Another `access` is told, and is nothing to the exit status or the digest.
    let old = fs::read_to_string(directory.path().join("old.yaml")).unwrap();
    let narrowed = old.replace("    buckets:", "    access: [read]\n    buckets:");
    fs::write(directory.path().join("narrowed.yaml"), narrowed).unwrap();
    for format in ["human", "markdown", "json"] {
        let (code, out, _) = run(&format!("diff --format {format} old.yaml narrowed.yaml"));
        assert!(code == 0 && out.contains("access"), "{out}");
    }
    let json: serde_json::Value = serde_json::from_str(&run("diff --format json old.yaml narrowed.yaml").1).unwrap();
    assert_eq!((&json["digest"]["before"], &json["empty"]), (&json["digest"]["after"], &true.into()));
    assert_eq!(json["access"][0]["rule"], "reports");
    // A script tells a faulty policy from one that opens something by its empty output.
    fs::write(directory.path().join("faulty.yaml"), "version: 2\n").unwrap();
    for arguments in ["diff old.yaml faulty.yaml", "diff faulty.yaml new.yaml", "diff old.yaml missing.yaml"] {
        let (code, out, err) = run(arguments);
        assert!(code == 1 && out.is_empty() && err.contains("error["), "{arguments}: {out}{err}");
    }
    let (_, _, err) = run("diff faulty.yaml missing.yaml");
    assert!(err.contains("faulty.yaml") && err.contains("missing.yaml"), "the faults of both: {err}");
    assert_eq!(run("diff old.yaml").0, 2);
}

#[test]
fn an_edit_is_a_patch_that_patch_applies() {
    let directory = directory();
    let ask = || {
        let arguments =
            "explain reports.s3.ap-northeast-1.amazonaws.com --from 10.30.0.7 --at 2027-01-15 --no-dns --format json";
        let output = sekisho(directory.path(), arguments);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let refused = ask();
    assert_eq!(refused["verdict"], "refused");
    fs::write(directory.path().join("edit.patch"), refused["patch"]["diff"].as_str().unwrap()).unwrap();
    let output =
        Command::new("patch").args(["-p1", "-i", "edit.patch"]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let allowed = ask();
    assert_eq!(allowed["verdict"], "allowed");
    assert!(allowed.get("patch").is_none() && allowed.get("no_patch").is_none());
}
