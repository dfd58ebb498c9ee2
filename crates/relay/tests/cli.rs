//! The commands as a person runs them: exit codes, what is printed where, and files that are no files at all.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CONFIG: &str =
    "listeners:\n  - { bind: \"127.0.0.1:0\", destination: redirect }\npolicy: policy.yaml\nadmin: off\n";
const POLICY: &str = "version: 1\nrules:\n  - { name: a, owner: o, ticket: t, hosts: [a.example] }\n";

fn directory(config: &[u8], policy: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("sekisho.yaml"), config).unwrap();
    fs::write(directory.path().join("policy.yaml"), policy).unwrap();
    directory
}

fn sekisho(directory: &Path, arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sekisho")).current_dir(directory).args(arguments).output().unwrap();
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("panicked"), "{said}");
    output
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The codes that `check` gives, in order, and its exit code.
fn check(directory: &Path) -> (Vec<String>, i32) {
    let output = sekisho(directory, &["check", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let codes = report["diagnostics"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned());
    (codes.collect(), output.status.code().unwrap())
}

#[test]
fn good_files_have_no_faults_and_a_digest() {
    let directory = directory(CONFIG.as_bytes(), POLICY.as_bytes());
    let output = sekisho(directory.path(), &["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).starts_with("no faults\npolicy.yaml: 1 rules, digest "), "{}", out(&output));
    assert_eq!(err(&output), "");
    let json: serde_json::Value =
        serde_json::from_str(&out(&sekisho(directory.path(), &["check", "--format", "json"]))).unwrap();
    let digest = json["policy"]["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && out(&output).contains(digest), "{json}");
    assert_eq!((&json["policy"]["rules"], &json["policy"]["file"]), (&1.into(), &"policy.yaml".into()));
}

#[test]
fn neither_the_place_nor_the_language_changes_an_answer() {
    let policy = POLICY.replace("hosts:", "expires: 2027-03-31, clients: [10.0.0.0/8], hosts:");
    let directory = directory(CONFIG.as_bytes(), policy.as_bytes());
    fs::write(directory.path().join("old.yaml"), POLICY).unwrap();
    for arguments in [
        &["check"][..],
        &["explain", "a.example", "--from", "10.0.0.1", "--at", "2027-03-31", "--no-dns"],
        &["explain", "a.example", "--from", "10.0.0.1", "--at", "2027-04-01", "--no-dns"],
        &["diff", "old.yaml", "policy.yaml"],
        &["export", "squid", "--policy", "policy.yaml", "--at", "2027-01-01"],
        &["export", "nftables", "--for", "router", "--policy", "policy.yaml", "--clients", "10.20.0.0/16"],
    ] {
        let answer = |zone: &str, locale: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
            let command = command.current_dir(directory.path()).args(arguments).env("TZ", zone).env("LC_ALL", locale);
            let output = command.output().unwrap();
            assert!(!out(&output).is_empty(), "{arguments:?}: {}", err(&output));
            (out(&output), err(&output), output.status.code())
        };
        assert_eq!(answer("Pacific/Kiritimati", "tr_TR.UTF-8"), answer("America/Los_Angeles", "C"), "{arguments:?}");
    }
}

#[test]
fn warnings_fail_only_where_they_are_denied() {
    let config = CONFIG.replace("redirect", "none");
    let directory = directory(config.as_bytes(), POLICY.as_bytes());
    assert_eq!(check(directory.path()), (vec!["balancer-is-client".to_owned()], 0));
    let denied = sekisho(directory.path(), &["check", "--deny", "warnings"]);
    assert_eq!(denied.status.code(), Some(1));
    // A balancer that says for whom it speaks is no client, and a proxy is dialled by its own.
    for known in ["none, proxy_protocol: { from: [10.0.0.0/24] }", "none, protocol: connect"] {
        let config = CONFIG.replace("redirect", known);
        let directory = self::directory(config.as_bytes(), POLICY.as_bytes());
        assert_eq!(check(directory.path()), (Vec::<String>::new(), 0), "{known}");
    }
}

#[test]
fn what_no_listener_learns_is_told_of_the_rules_that_ask_for_it() {
    let policy = |key: &str| format!("version: 1\nrules:\n  - {{ name: a, owner: o, hosts: [a.example], {key} }}\n");
    let redirect = "bind: \"127.0.0.1:0\", destination: redirect";
    let none = "bind: \"127.0.0.1:0\", destination: none";
    let header = "bind: \"127.0.0.1:0\", destination: none, proxy_protocol: { from: [10.0.0.1] }";
    let proxy = "bind: \"127.0.0.1:0\", protocol: connect, destination: none, proxy_protocol: { from: [10.0.0.1] }";
    let (endpoints, mismatch) = ("vpc_endpoints: [vpce-0a1b2c3d]", "on_mismatch: refuse");
    for (listener, key, codes) in [
        (redirect, endpoints, &["endpoint-never-known"][..]),
        (header, endpoints, &[]),
        (proxy, endpoints, &[]),
        (redirect, mismatch, &[]),
        (none, mismatch, &["balancer-is-client", "mismatch-never-known"]),
        (header, mismatch, &["mismatch-of-balancer"]),
        (proxy, mismatch, &["mismatch-never-known"]),
    ] {
        let config = format!("listeners: [{{ {listener} }}]\npolicy: policy.yaml\nadmin: off\naccess_log: off\n");
        let directory = directory(config.as_bytes(), policy(key).as_bytes());
        let (mut found, exit) = check(directory.path());
        found.sort();
        assert_eq!((found, exit), (codes.iter().map(ToString::to_string).collect(), 0), "{listener} {key}");
    }
}

#[test]
fn the_faults_of_both_files_are_told_at_once() {
    let policy = "version: 2\nrules:\n  - name: a\n    hosts: [s3.ap-northeast-1.amazonaws.com, \"*.s3.amazonaws.com\"]\n  - name: a\n    \
                  buckets: [{ name: a.b.c, region: ap-northeast-1 }, { name: abc, region: ap-northeast-9 }]\n    clients: [10.0.0.1/8]\n    \
                  expires: 2027-02-30\n    hosts_files: [missing]\n    acton: deny\n  - { name: b, hosts: [x.example] }\n  - { name: c, hosts: [x.example] }\n";
    let config = CONFIG.replace("admin: off", "admin: off\ntimeouts: { idle: 1 fortnight }\nthread: 2");
    let directory = directory(config.as_bytes(), policy.as_bytes());
    let (codes, exit) = check(directory.path());
    assert_eq!(exit, 1);
    for code in [
        "bad-duration",
        "unknown-key",
        "wrong-type",
        "path-style-host",
        "any-bucket-pattern",
        "duplicate-name",
        "dotted-bucket",
        "unknown-region",
        "cidr-host-bits",
        "bad-date",
        "unreadable-file",
        "duplicate-rule",
    ] {
        assert!(codes.iter().any(|found| found == code), "{code} is missing from {codes:?}");
    }
    let human = sekisho(directory.path(), &["check"]);
    assert!(out(&human).contains("--> policy.yaml:4:13"), "{}", out(&human));
    assert!(out(&human).contains("^^^^^^^^^^^"), "{}", out(&human));
    // Nothing starts on them.
    let run = sekisho(directory.path(), &["run"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(err(&run).contains("bad-duration"), "{}", err(&run));
}

#[test]
fn a_node_does_not_start_on_a_faulty_policy() {
    let directory = directory(CONFIG.as_bytes(), b"version: 1\nrules: 5\n");
    let output = sekisho(directory.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("error[wrong-type]"), "{}", err(&output));
}

#[test]
fn files_that_are_no_policies() {
    let bomb = format!("a: &a [x, x]\n{}", "b: [*a, *a]\n".repeat(30));
    let deep = format!("{}{}", "[".repeat(50), "]".repeat(50));
    let abyss = "[".repeat(100_000);
    for (policy, code) in [
        (b"\xff\xfe\x00".as_slice(), "not-utf8"),
        (bomb.as_bytes(), "yaml-anchor"),
        (deep.as_bytes(), "too-deep"),
        (abyss.as_bytes(), "yaml-syntax"),
        (b"", "wrong-type"),
        (b"version: 1\nrules: []\n---\nversion: 1\nrules: []\n", "several-documents"),
        (b"version: 1\nversion: 1\nrules: []\n", "duplicate-key"),
        (b"version: 1\nrules: [\n", "yaml-syntax"),
        (b"version: 1\x00\nrules: []\n", "hidden-character"),
    ] {
        let directory = directory(CONFIG.as_bytes(), policy);
        let (codes, exit) = check(directory.path());
        assert_eq!((codes.first().map(String::as_str), exit), (Some(code), 1), "{codes:?}");
    }
}

#[test]
fn paths_that_lead_to_no_file() {
    let directory = directory(CONFIG.as_bytes(), b"");
    let policy = directory.path().join("policy.yaml");
    fs::remove_file(&policy).unwrap();
    let unreadable = (vec!["unreadable-file".to_owned()], 1);
    assert_eq!(check(directory.path()), unreadable, "missing");
    symlink("nowhere.yaml", &policy).unwrap();
    assert_eq!(check(directory.path()), unreadable, "dangling");
    fs::remove_file(&policy).unwrap();
    symlink("policy.yaml", &policy).unwrap();
    assert_eq!(check(directory.path()), unreadable, "a circle");
    fs::remove_file(&policy).unwrap();
    fs::create_dir(&policy).unwrap();
    assert_eq!(check(directory.path()), unreadable, "a directory");
    fs::remove_dir(&policy).unwrap();
    File::create(&policy).unwrap().set_len(100 << 20).unwrap();
    assert_eq!(check(directory.path()), (vec!["file-too-large".to_owned()], 1), "100 MB");
    fs::remove_file(&policy).unwrap();
    assert!(Command::new("mkfifo").arg(&policy).status().unwrap().success());
    assert_eq!(check(directory.path()), unreadable, "a pipe must not be waited for");
    let missing = sekisho(directory.path(), &["check", "--config", "nowhere/sekisho.yaml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(out(&missing).contains("nowhere/sekisho.yaml"), "{}", out(&missing));
}

#[test]
fn bad_usage_is_2() {
    let directory = directory(CONFIG.as_bytes(), POLICY.as_bytes());
    for arguments in
        [&["serve"][..], &["check", "--format", "xml"], &["explain"], &["explain", "a.example", "--from", "x"], &[]]
    {
        assert_eq!(sekisho(directory.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn explain_says_the_rule_or_the_reason() {
    let directory = directory(CONFIG.as_bytes(), POLICY.as_bytes());
    let allowed = sekisho(directory.path(), &["explain", "A.example", "--no-dns"]);
    assert_eq!(allowed.status.code(), Some(0), "{}", err(&allowed));
    assert!(out(&allowed).starts_with("allowed by rule `a` at policy.yaml:3"), "{}", out(&allowed));
    let refused = sekisho(directory.path(), &["explain", "b.example", "--format", "json"]);
    assert_eq!(refused.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_str(&out(&refused)).unwrap();
    assert_eq!((&report["verdict"], &report["reason"]), (&"refused".into(), &"no_rule".into()));
    fs::write(directory.path().join("policy.yaml"), POLICY.replace("hosts:", "clients: [10.0.0.0/8], hosts:")).unwrap();
    let nobody = sekisho(directory.path(), &["explain", "a.example"]);
    assert!(out(&nobody).contains("without `--from` the client is taken to be 127.0.0.1"), "{}", out(&nobody));
    fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    let later = sekisho(directory.path(), &["explain", "a.example", "--no-dns", "--protocol", "http"]);
    assert!(out(&later).contains("refused (no_rule)") && out(&later).contains("http"), "{}", out(&later));
    let no_name = sekisho(directory.path(), &["explain", "10.0.0.1"]);
    assert_eq!(no_name.status.code(), Some(1));
    assert!(err(&no_name).contains("is an IP address"), "{}", err(&no_name));
    let no_name = sekisho(directory.path(), &["explain", "10.0.0.1", "--format", "json"]);
    assert_eq!((no_name.status.code(), err(&no_name)), (Some(1), String::new()));
    let report: serde_json::Value = serde_json::from_str(&out(&no_name)).unwrap();
    let said = serde_json::json!({ "host": "10.0.0.1", "verdict": "refused", "reason": "invalid_name", "detail": report["detail"] });
    assert!(report == said && report["detail"].as_str().is_some_and(|why| why.contains("IP address")), "{report}");
}

#[test]
fn completions_and_the_manual_are_printed() {
    let directory = directory(b"", b"");
    for (arguments, expected) in [
        (&["completions", "bash"][..], "_sekisho"),
        (&["completions", "zsh"], "#compdef sekisho"),
        (&["completions", "fish"], "complete -c sekisho"),
        (&["man"], ".TH sekisho 1"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = sekisho(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains(expected), "{arguments:?}: {}", out(&output));
    }
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let directory = directory(CONFIG.as_bytes(), POLICY.as_bytes());
    let mut child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .current_dir(directory.path())
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
}

/// What is seen on a terminal when a shell runs this there; `sekisho` is the program.
fn on_a_terminal(directory: &Path, command: &str, settings: &[(&str, &str)]) -> Output {
    let command = command.replace("sekisho", &format!("'{}'", env!("CARGO_BIN_EXE_sekisho")));
    // `script` gives its command a terminal of its own.
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c"]).arg(command).arg("/dev/null");
    script.current_dir(directory).env("TERM", "xterm").env_remove("NO_COLOR").envs(settings.iter().copied());
    script.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn faults_are_in_colour_on_a_terminal_and_nowhere_else() {
    let directory = directory(CONFIG.as_bytes(), POLICY.replace("hosts", "hots").as_bytes());
    let check = |settings: &[(&str, &str)]| {
        let output = on_a_terminal(directory.path(), "sekisho check", settings);
        assert_eq!(output.status.code(), Some(1), "{}", err(&output));
        out(&output)
    };
    let coloured = check(&[]);
    assert!(coloured.contains("\u{1b}[1;31merror[unknown-key]\u{1b}[0m"), "{coloured}");
    for settings in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = check(&[settings]);
        assert!(plain.contains("error[unknown-key]") && !plain.contains('\u{1b}'), "{settings:?}: {plain}");
    }
    assert!(!out(&sekisho(directory.path(), &["check"])).contains('\u{1b}'));
}

#[test]
fn a_long_log_has_a_progress_bar_on_a_terminal_and_nowhere_else() {
    let directory = directory(b"", b"");
    let line = r#"{"time":"2026-11-24T09:15:02Z","event":"close","client":"10.20.0.15:1","host":"a.example","port":443,"verdict":"audited","reason":"no_rule"}"#;
    fs::write(directory.path().join("access.jsonl"), format!("{line}\n").repeat(20_000)).unwrap();
    // Of a pipe nobody knows the length: what was read is drawn while it waits for the rest.
    let pipe = "(head -n 15000 access.jsonl; sleep 1; tail -n 5000 access.jsonl) | sekisho learn - > rules.yaml";
    for (command, bar) in [("sekisho learn access.jsonl > rules.yaml", " of 2.69 MiB ["), (pipe, " MiB, ")] {
        let output = on_a_terminal(directory.path(), command, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
        assert!(out(&output).contains(bar), "{command}: {:?}", out(&output));
        assert!(out(&output).ends_with("\r\u{1b}[2K"), "it is wiped at the end: {:?}", out(&output));
        assert!(!out(&output).contains("0/0"), "it has its form from the start: {:?}", out(&output));
        let piped = on_a_terminal(directory.path(), &format!("({command}) 2>&1 | cat"), &[]);
        assert_eq!((piped.status.code(), out(&piped)), (Some(0), String::new()), "{command}");
        let rules = fs::read_to_string(directory.path().join("rules.yaml")).unwrap();
        assert!(rules.contains("# 20000 connections by 1 client") && !rules.contains("MiB"), "{rules}");
    }
}
