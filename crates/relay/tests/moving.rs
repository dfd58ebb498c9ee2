//! docs/moving-from-squid.md and the exports of docs/operator.md against the program: each command that a page shows is
//! run on the page's own files, and what is shown as its result is what it prints.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// The fenced blocks of a page: what stands after the fence, and the content.
fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut all, mut lines) = (Vec::new(), page.lines());
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let content: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            all.push((info.to_owned(), content.join("\n") + "\n"));
        }
    }
    all
}

fn sekisho(directory: &Path, line: &str) -> Output {
    let words = line.strip_prefix("sekisho ").unwrap().split_whitespace();
    Command::new(env!("CARGO_BIN_EXE_sekisho")).current_dir(directory).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_page_about_squid_shows_what_the_program_prints() {
    let directory = tempfile::tempdir().unwrap();
    let all = blocks(&page("moving-from-squid.md"));
    for (info, content) in &all {
        if let Some(name) = info.strip_prefix("text ").or(info.strip_prefix("yaml ")) {
            fs::write(directory.path().join(name), content).unwrap();
        }
    }
    let (mut run, mut compared) = (0, 0);
    for (at, (info, content)) in all.iter().enumerate() {
        for line in content.lines().filter(|_| info == "sh") {
            let output = sekisho(directory.path(), line);
            assert_eq!(output.status.code(), Some(0), "{line}\n{}", text(&output.stderr));
            run += 1;
            if let Some((_, shown)) = all.get(at + 1).filter(|(next, _)| next == "yaml" || next == "text") {
                assert_eq!(text(&output.stdout), *shown, "{line}");
                compared += 1;
                if line.contains(" import ") {
                    fs::write(directory.path().join("policy.yaml"), shown).unwrap();
                }
            }
        }
    }
    assert_eq!((run, compared), (6, 3));
    let list =
        sekisho(directory.path(), "sekisho export squid --policy policy.yaml --part list --clients 10.20.0.0/16");
    assert!(text(&list.stdout).ends_with(".partner.example\nreports.s3-ap-northeast-1.amazonaws.com\n"));
}

const CONFIG: &str = "listeners:\n  - { bind: \"127.0.0.1:9443\", protocol: tls, destination: redirect }\n  \
     - { bind: \"127.0.0.1:9444\", protocol: tls, destination: tproxy }\npolicy: policy.yaml\n";
const POLICY: &str = "version: 1\nrules:\n  - { name: a, clients: [10.20.0.0/16], hosts: [.a.example] }\n";

#[test]
fn the_guides_exports_run_and_take_the_gates_port_from_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("sekisho.yaml"), CONFIG).unwrap();
    fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    let guide = page("operator.md");
    let (_, exports) = guide.split_once("## Exports").unwrap();
    let (_, shown) = blocks(exports).into_iter().find(|(info, _)| info == "sh").unwrap();
    let digest = text(&sekisho(directory.path(), "sekisho check").stdout);
    let digest = digest.trim().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(digest.len(), 64);
    let mut count = 0;
    for line in shown.lines() {
        let output = sekisho(directory.path(), line);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", text(&output.stderr));
        let printed = text(&output.stdout);
        assert!(printed.contains(&digest), "{line}\n{printed}");
        assert_eq!(text(&sekisho(directory.path(), line).stdout), printed, "the same again");
        let json = sekisho(directory.path(), &format!("{line} --format json"));
        let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!(json["text"], printed);
        assert_eq!(json["digest"], digest);
        if line.contains("--for host-rest") {
            // They bring nothing to the gate, whatever its port.
            assert!(!printed.contains("9443") && !printed.contains("9444"), "{line}\n{printed}");
        } else if line.contains("tables") {
            let port = if line.contains("--by tproxy") { "9444" } else { "9443" };
            assert!(printed.contains(port), "{line}\n{printed}");
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn packet_rules_go_by_the_listeners_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
    let listener = |port: u16, protocol: &str, destination: &str| {
        format!("  - {{ bind: \"[::]:{port}\", protocol: {protocol}, destination: {destination} }}\n")
    };
    let proxy = listener(3128, "connect", "none");
    for (listeners, more, wanted) in [
        ([listener(1, "tls", "tproxy"), listener(2, "http", "tproxy")], "", Ok(("TPROXY", "443:1 80:2"))),
        ([listener(2, "http", "redirect"), listener(1, "tls", "redirect")], "", Ok(("REDIRECT", "443:1 80:2"))),
        ([listener(1, "tls", "redirect"), listener(2, "http", "tproxy")], "", Ok(("REDIRECT", "443:1"))),
        (
            [listener(1, "tls", "redirect"), listener(2, "http", "tproxy")],
            " --http-port 3",
            Ok(("REDIRECT", "443:1 80:3")),
        ),
        ([listener(1, "tls", "redirect"), listener(2, "tls", "tproxy")], " --by tproxy", Ok(("TPROXY", "443:2"))),
        ([listener(1, "tls", "redirect"), listener(2, "http", "tproxy")], " --by tproxy", Err("--gate-port")),
        ([listener(1, "tls", "none"), listener(2, "http", "redirect")], "", Err("--gate-port")),
        ([listener(1, "tls", "redirect"), listener(80, "http", "redirect")], "", Err("port 80 is among those")),
    ] {
        let config = format!("listeners:\n{proxy}{}policy: policy.yaml\n", listeners.concat());
        fs::write(directory.path().join("sekisho.yaml"), &config).unwrap();
        let output = sekisho(directory.path(), &format!("sekisho export iptables --for router{more}"));
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        match wanted {
            Ok((target, gates)) => {
                assert!(printed.contains(&format!("\nGATES=\"{gates}\"\n")), "{config}{more}: {said}{printed}");
                assert_eq!(printed.contains("TPROXY"), target == "TPROXY", "{config}{more}");
            }
            Err(says) => assert!(said.contains(says) && printed.is_empty(), "{config}{more}: {said}"),
        }
    }
}

#[test]
fn imports_run_and_what_cannot_be_done_says_so() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hosts"), "192.0.2.1 www.example.com\n").unwrap();
    fs::write(directory.path().join("policy.yaml"), POLICY.replace("clients: [10.20.0.0/16], ", "")).unwrap();
    fs::write(directory.path().join("sekisho.yaml"), CONFIG.replace("redirect", "none").replace("tproxy", "none"))
        .unwrap();
    let hosts = sekisho(directory.path(), "sekisho import hosts hosts --format json");
    let json: serde_json::Value = serde_json::from_slice(&hosts.stdout).unwrap();
    assert!(json["text"].as_str().unwrap().contains("- www.example.com"));
    for (line, code, says) in [
        ("sekisho import squid missing", 1, "missing: cannot read it"),
        ("sekisho import aws-network-firewall hosts", 1, "no rule group"),
        ("sekisho import cisco hosts", 2, "unrecognized subcommand"),
        ("sekisho export nftables --for router --policy policy.yaml", 1, "--clients"),
        ("sekisho export nftables --for router --clients 10.0.0.0/8", 1, "--gate-port"),
        ("sekisho export nftables --for router --clients 10.0.0.1/8", 2, "10.0.0.0/8"),
        ("sekisho export nftables --for router --pass icmp:1", 2, "tcp or udp"),
        ("sekisho export iptables --for host --user a;b --policy policy.yaml", 1, "letters"),
        ("sekisho export nftables", 2, "--for"),
        ("sekisho export unbound --forward ns.example", 2, "not an address"),
        ("sekisho export squid --policy missing.yaml", 1, "missing.yaml"),
    ] {
        let output = sekisho(directory.path(), line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert_eq!(text(&output.stdout), "", "{line}");
        assert!(text(&output.stderr).contains(says), "{line}: {}", text(&output.stderr));
    }
}
