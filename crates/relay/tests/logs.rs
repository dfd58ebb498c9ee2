//! `learn` and `usage` as a person runs them: files of all sorts, standard input, exit codes, and what is said where.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const LINE: &str = r#"{"time":"2026-11-24T09:15:02.481207Z","event":"close","client":"10.20.0.15:51514","host":"a.example","port":443,"verdict":"audited","reason":"no_rule"}"#;
const POLICY: &str = "version: 1\nrules:\n  - { name: a, hosts: [a.example] }\n";

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn sekisho(directory: &Path, arguments: &str, input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    program.current_dir(directory).args(arguments.split(' '));
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its input has ended before.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn logs_come_from_files_and_from_standard_input() {
    let log = format!("{LINE}\n");
    let directory = directory(&[("access.jsonl", &log), ("policy.yaml", POLICY)]);
    for (arguments, connections) in
        [("learn access.jsonl", 1), ("learn -", 1), ("learn access.jsonl - access.jsonl", 3)]
    {
        let output = sekisho(directory.path(), arguments, &log);
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{arguments}");
        let lines = if connections == 1 { "from 1 lines" } else { "from 3 lines" };
        assert!(out(&output).contains(lines), "{}", out(&output));
        assert!(out(&output).contains("\n  - name: a.example\n    clients: [10.20.0.15]\n"), "{}", out(&output));
    }
    let output = sekisho(directory.path(), "usage - --policy policy.yaml", &log);
    assert!(out(&output).contains("  `a` at policy.yaml:3: last 2026-11-24T09:15:02Z; 1 connection, 1 name\n"));
}

#[test]
fn what_was_learned_loads_as_it_was_printed() {
    let directory = directory(&[("access.jsonl", &format!("{LINE}\n"))]);
    let learned = sekisho(directory.path(), "learn access.jsonl", "");
    fs::write(directory.path().join("policy.yaml"), &learned.stdout).unwrap();
    let config = "listeners:\n  - { bind: \"127.0.0.1:0\", destination: redirect }\npolicy: policy.yaml\n";
    fs::write(directory.path().join("sekisho.yaml"), config).unwrap();
    assert_eq!(sekisho(directory.path(), "check", "").status.code(), Some(0));
    let explained = sekisho(directory.path(), "explain a.example --from 10.20.0.15 --no-dns", "");
    assert!(out(&explained).starts_with("allowed by rule `a.example`"), "{}", out(&explained));
    let other = sekisho(directory.path(), "explain a.example --from 10.20.0.16 --no-dns", "");
    assert!(out(&other).starts_with("refused (no_rule)"), "{}", out(&other));
}

#[test]
fn a_bad_line_is_told_and_fails_nothing() {
    let directory = directory(&[("access.jsonl", &format!("{LINE}\nnot json\n{LINE}\n"))]);
    let output = sekisho(directory.path(), "learn access.jsonl", "");
    assert_eq!(output.status.code(), Some(0));
    assert!(
        err(&output).starts_with("warning: lines passed over, no access log lines: 1; the first is access.jsonl:2 (")
    );
    assert!(out(&output).contains("2 connections by 1 client"), "{}", out(&output));
}

#[test]
fn what_is_incomplete_is_1_and_says_so() {
    let directory = directory(&[("access.jsonl", &format!("{LINE}\n")), ("policy.yaml", POLICY)]);
    for command in ["learn", "usage --policy policy.yaml"] {
        let output = sekisho(directory.path(), &format!("{command} access.jsonl missing"), "");
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(err(&output).starts_with("error: missing: not read to its end: No such file"), "{}", err(&output));
        assert!(!out(&output).is_empty(), "the rest is there all the same");
    }
    let output = sekisho(directory.path(), "learn access.jsonl missing", "");
    assert!(out(&output).contains("# INCOMPLETE: not every log could be read to its end.\n"), "{}", out(&output));
}

#[test]
fn without_a_connection_nothing_is_said_of_use() {
    let nginx = "10.20.0.15 - - [24/Nov/2026:09:15:02 +0000] \"GET / HTTP/1.1\" 200 12\n";
    let started = "{\"time\":\"2026-11-24T09:15:02Z\",\"event\":\"start\"}\n";
    let directory = directory(&[
        ("access.jsonl", &format!("{LINE}\n")),
        ("empty", ""),
        ("started", started),
        ("nginx", nginx),
        ("policy.yaml", POLICY),
    ]);
    for (log, since, code) in [
        ("access.jsonl --since 2026-11-25", " since 2026-11-25T00:00:00Z", 0),
        ("empty", "", 0),
        ("started", "", 0),
        ("nginx", "", 1),
        ("empty nginx", "", 1),
    ] {
        let usage = sekisho(directory.path(), &format!("usage --policy policy.yaml {log}"), "");
        assert_eq!(out(&usage), format!("no connection in the logs{since}: nothing can be said of use\n"));
        let learned = sekisho(directory.path(), &format!("learn {log}"), "");
        let said = format!("# No connection in the logs{since}: nothing can be said of what clients ask for.\n");
        assert!(out(&learned).contains(&said) && out(&learned).ends_with("\nrules: []\n"), "{}", out(&learned));
        assert_eq!(out(&learned).contains("INCOMPLETE"), code == 1, "{}", out(&learned));
        let json = sekisho(directory.path(), &format!("usage --policy policy.yaml --format json {log}"), "");
        let value: serde_json::Value = serde_json::from_str(&out(&json)).unwrap();
        for list in ["rules", "patterns", "expiring", "refused"] {
            assert_eq!(value["usage"][list], serde_json::json!([]), "{log}: {list}");
        }
        assert_eq!(value["usage"]["looked_at"], serde_json::json!({ "connections": 0 }));
        for output in [usage, learned, json] {
            assert_eq!(output.status.code(), Some(code), "{log}");
            assert_eq!(err(&output).starts_with("error: nginx: not one record in it: "), code == 1, "{}", err(&output));
        }
    }
    // Beside a log that is one, the rest is there all the same; but it is not the whole.
    let both = sekisho(directory.path(), "usage --policy policy.yaml access.jsonl nginx", "");
    assert_eq!(both.status.code(), Some(1));
    assert!(out(&both).starts_with("1 connection, ") && err(&both).starts_with("error: nginx: "), "{}", err(&both));
}

/// Squid's own log beside the policy that is to take its place: what it let through and the policy would not stands out.
#[test]
fn a_log_of_squids_is_compared_with_a_policy() {
    let squid = "1795511702.481     12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT a.example:443 - HIER_DIRECT/192.0.2.1 -\n\
                 1795511703.481     12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT other.example:443 - HIER_DIRECT/192.0.2.2 -\n\
                 1795511704.481      0 10.20.0.16 TCP_DENIED/403 3900 CONNECT bad.example:443 - HIER_NONE/- text/html\n";
    let policy = "version: 1\nrules:\n  - { name: a, hosts: [a.example] }\n";
    let directory = directory(&[("squid.log", squid), ("policy.yaml", policy)]);
    let usage = sekisho(directory.path(), "usage squid.log --policy policy.yaml --format json", "");
    assert_eq!((usage.status.code(), err(&usage).as_str()), (Some(0), ""));
    let value: serde_json::Value = serde_json::from_str(&out(&usage)).unwrap();
    assert_eq!(value["usage"]["looked_at"]["connections"], 3);
    let refused: Vec<_> =
        value["usage"]["refused"].as_array().unwrap().iter().map(|one| one["host"].as_str()).collect();
    assert_eq!(refused, [Some("other.example"), Some("bad.example")]);
    let learned = sekisho(directory.path(), "learn squid.log --policy policy.yaml", "");
    let text = out(&learned);
    let (rules, aside) = text.split_once("# In no rule.").unwrap();
    assert!(rules.contains("- other.example\n") && !rules.contains("- a.example\n"), "{text}");
    assert!(aside.contains("bad.example: no_rule") && !aside.contains("other.example"), "{text}");
}

#[test]
fn a_faulty_policy_is_1_and_bad_usage_2() {
    let directory = directory(&[("access.jsonl", LINE), ("policy.yaml", "version: 2\nrules: []\n")]);
    for (arguments, code) in [
        ("learn access.jsonl --policy policy.yaml", 1),
        ("usage access.jsonl --policy policy.yaml", 1),
        ("usage access.jsonl --policy missing.yaml", 1),
        ("usage access.jsonl", 2),
        ("learn", 2),
        ("learn access.jsonl --round /33", 2),
        ("learn access.jsonl --since yesterday", 2),
        ("usage access.jsonl --policy policy.yaml --few 0", 2),
    ] {
        let output = sekisho(directory.path(), arguments, "");
        assert_eq!(output.status.code(), Some(code), "{arguments}");
        assert!(out(&output).is_empty() && !err(&output).is_empty(), "{arguments}");
    }
}

#[test]
fn a_program_reads_the_same_as_json() {
    let directory = directory(&[("access.jsonl", &format!("{LINE}\n")), ("policy.yaml", POLICY)]);
    let json = |arguments: &str| -> serde_json::Value {
        serde_json::from_str(&out(&sekisho(directory.path(), arguments, ""))).unwrap()
    };
    let learned = json("learn access.jsonl --format json --round /24");
    let rule = &learned["learned"]["rules"][0];
    assert_eq!((&rule["clients"][0], &rule["clients_seen"]), (&"10.20.0.0/24".into(), &1.into()));
    assert_eq!((&rule["hosts"][0]["host"], &rule["hosts"][0]["connections"]), (&"a.example".into(), &1.into()));
    assert_eq!(rule["first"], "2026-11-24T09:15:02Z");
    assert_eq!(learned["read"]["span"][1], "2026-11-24T09:15:02Z");
    assert_eq!(learned["learned"]["rounded"], true);
    let usage = json("usage access.jsonl --policy policy.yaml --format json");
    assert_eq!(
        (&usage["usage"]["rules"][0]["rule"], &usage["usage"]["rules"][0]["connections"]),
        (&"a".into(), &1.into())
    );
    assert_eq!(usage["usage"]["refused"][0]["client"], "10.20.0.15");
    assert_eq!(usage["policy"].as_str().unwrap().len(), 64);
    let since = json("learn access.jsonl --format json --since 2026-11-25");
    assert_eq!(since["learned"]["rules"], serde_json::json!([]));
}
