//! docs/aws-policies.md against the program: each command is run on the page's policy and prints what the page shows.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/aws-policies.md")).unwrap()
}

/// The fenced blocks of a page: what stands after the fence, and the content. Fences within a list are indented.
fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut all, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            all.push((info.to_owned(), content.join("\n") + "\n"));
        }
    }
    all
}

/// A directory with the page's policy.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let policy = blocks(&page()).into_iter().find(|(info, _)| info == "yaml policy.yaml").expect("the policy").1;
    fs::write(directory.path().join("policy.yaml"), policy).unwrap();
    directory
}

fn sekisho(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sekisho")).current_dir(directory).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A command line's words; double quotes keep blanks.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    parts.flat_map(|(i, part)| if i % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }).collect()
}

/// The digest, which says how this version reads the policy, and its beginning.
fn digest(directory: &Path) -> String {
    let document = text(&sekisho(directory, &["export", "endpoint-policy", "--policy", "policy.yaml"]).stdout);
    let (_, rest) = document.split_once("sekisho-endpoint-").expect("an Id with the digest");
    rest.split('"').next().unwrap().to_owned()
}

#[test]
fn every_command_prints_what_the_page_shows() {
    let directory = directory();
    let digest = digest(directory.path());
    assert_eq!(digest.len(), 64, "{digest}");
    let all = blocks(&page());
    let mut run = 0;
    for pair in all.windows(2) {
        let [(info, command), (next, shown)] = pair else { continue };
        if (info.as_str(), next.as_str()) != ("sh", "json") {
            continue;
        }
        let words = words(command.trim().strip_prefix("sekisho ").unwrap());
        let output = sekisho(directory.path(), &words);
        assert_eq!(output.status.code(), Some(0), "{command}{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{command}");
        let printed = text(&output.stdout);
        assert!(printed.contains(&digest[..16]), "{command} says from which digest");
        assert_eq!(printed.replace(&digest, "DIGEST").replace(&digest[..16], "DIGEST"), *shown, "{command}");
        // The same again, byte for byte.
        assert_eq!(text(&sekisho(directory.path(), &words).stdout), printed);
        run += 1;
    }
    assert_eq!(run, 3, "each of the three exports has an example");
}

#[test]
fn the_pages_look_at_the_log_finds_what_does_not_take_the_endpoint() {
    let directory = directory();
    let (_, command) = blocks(&page()).into_iter().find(|(_, content)| content.contains("awk")).unwrap();
    fs::create_dir(directory.path().join("logs")).unwrap();
    let line = |address: &str, operation: &str| {
        format!(
            "79a59df9 reports [24/Nov/2026:00:00:38 +0000] {address} arn:aws:iam::123456789012:role/app 3E57427F {operation} \
             key \"GET /key HTTP/1.1\" 200 - 113 - 7 - \"-\" \"aws-cli\" - hostid SigV4 TLS_AES_128_GCM_SHA256 AuthHeader\n"
        )
    };
    let log = [("10.20.0.4", 1), ("172.16.3.4", 1), ("172.31.0.1", 1), ("192.168.0.9", 1), ("-", 1)];
    let mut log: String = log.iter().map(|(address, _)| line(address, "REST.GET.OBJECT")).collect();
    log += &line("203.0.113.9", "REST.PUT.OBJECT").repeat(2);
    log += &line("172.32.0.1", "REST.GET.OBJECT");
    fs::write(directory.path().join("logs/2026-11-24"), log).unwrap();
    let output = Command::new("sh").current_dir(directory.path()).args(["-c", &command]).output().unwrap();
    let found = text(&output.stdout);
    let found: Vec<Vec<&str>> = found.lines().map(|line| line.split_whitespace().collect()).collect();
    let role = "arn:aws:iam::123456789012:role/app";
    assert_eq!(
        found,
        [vec!["2", "203.0.113.9", role, "REST.PUT.OBJECT"], vec!["1", "172.32.0.1", role, "REST.GET.OBJECT"]],
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn notes_and_errors_are_on_standard_error_and_a_failed_export_prints_nothing() {
    let directory = directory();
    let run = |arguments: &[&str]| {
        let output = sekisho(directory.path(), &[&["export"], arguments].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let vpce = ["--policy", "policy.yaml", "--vpce", "vpce-0a1b2c3d"];
    let (code, out, err) = run(&[&["bucket-policy", "reports", "--stage", "vpce"][..], &vpce].concat());
    assert_eq!((code, serde_json::from_str::<serde_json::Value>(&out).is_ok()), (0, true));
    assert!(err.starts_with("note: nobody is exempted"), "{err}");
    let (code, out, err) = run(&[&["bucket-policy", "report", "--stage", "vpce"][..], &vpce].concat());
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "error: no allow rule that is in force lists the bucket `report`; did you mean `reports`?\n");
    let (code, out, err) = run(&[&["iam-policy", "--rule", "report"][..], &vpce].concat());
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "error: no rule is named `report`; did you mean `reports`?\n");
    for (arguments, says) in [
        (&["bucket-policy", "reports", "--stage", "source"][..], "--source <CIDR>"),
        (&["bucket-policy", "reports", "--stage", "vpce", "--source", "203.0.113.0/24"], "belongs to `--stage source`"),
        (&["bucket-policy", "reports", "--stage", "source", "--source", "10.0.0.0/8"], "public addresses only"),
        (&["bucket-policy", "reports", "--stage", "vpce", "--exempt", "arn:aws:iam::*:role/x"], "name each principal"),
        (&["iam-policy", "--account", "1234"], "twelve digits"),
        (&["iam-policy", "--also", "b:write"], "the bucket's name alone"),
        (&["iam-policy", "--also", "behind:rite"], "`rite` is no access"),
        (&["iam-policy", "--partition", "aws-gov"], "aws-us-gov"),
    ] {
        let (code, out, err) = run(&[arguments, &vpce].concat());
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(says), "{arguments:?}: {err}");
    }
    // The configuration names the policy where no --policy does, and its faults are told as `check` tells them.
    let (code, _, err) = run(&["endpoint-policy"]);
    assert_eq!(code, 1);
    assert!(err.contains("error[unreadable-file]"), "{err}");
    fs::write(
        directory.path().join("sekisho.yaml"),
        "listeners: [{ bind: \"127.0.0.1:0\", destination: redirect }]\npolicy: policy.yaml\nadmin: off\n",
    )
    .unwrap();
    assert_eq!(run(&["endpoint-policy"]), run(&["endpoint-policy", "--policy", "policy.yaml"]));
}
