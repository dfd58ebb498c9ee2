//! Files that are no policies at all, on a real disk: each is a named fault, at once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sekisho_policy::{Diagnostics, MAX_RULES, Policy};

/// A directory that goes when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sekisho-policy-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn faults(path: &Path) -> Diagnostics {
    Policy::load(path, 0).expect_err("must be refused")
}

fn codes(path: &Path) -> Vec<&'static str> {
    faults(path).iter().map(|fault| fault.code).collect()
}

#[test]
fn a_path_that_leads_to_no_file() {
    let dir = Dir::new("no-file");
    symlink(dir.0.join("gone"), dir.0.join("dangling.yaml")).unwrap();
    symlink("loop.yaml", dir.0.join("loop.yaml")).unwrap();
    fs::create_dir(dir.0.join("directory.yaml")).unwrap();
    for name in ["missing.yaml", "dangling.yaml", "loop.yaml", "directory.yaml", "missing/policy.yaml"] {
        assert_eq!(codes(&dir.0.join(name)), ["unreadable-file"], "{name}");
    }
    assert_eq!(codes(Path::new("/dev/zero")), ["unreadable-file"]);
    assert_eq!(codes(Path::new("")), ["unreadable-file"]);
    assert!(faults(&dir.0.join("dangling.yaml")).human().contains("symbolic link"));
}

#[test]
fn a_file_of_100_megabytes() {
    let dir = Dir::new("large");
    let path = dir.0.join("policy.yaml");
    let mut file = fs::File::create(&path).unwrap();
    let block = "  - { name: a, hosts: [a.example] }\n".repeat(30_000);
    for _ in 0..100 {
        file.write_all(block.as_bytes()).unwrap();
    }
    assert!(file.metadata().unwrap().len() > 100_000_000);
    assert_eq!(codes(&path), ["file-too-large"]);
}

#[test]
fn lists_that_are_too_long() {
    let dir = Dir::new("lists");
    let policy = dir.write(
        "policy.yaml",
        "version: 1\nrules:\n  - name: a\n    hosts_files: [many, gone]\n  - name: b\n    hosts_files: [large]\n",
    );
    let many: String = (0..1_000_001).fold(String::new(), |mut text, i| {
        use std::fmt::Write as _;
        writeln!(text, "h{i}.example").unwrap();
        text
    });
    dir.write("many", many);
    fs::File::create(dir.0.join("large")).unwrap().set_len((128 << 20) + 1).unwrap();
    let mut found = codes(&policy);
    found.sort_unstable();
    assert_eq!(found, ["file-too-large", "too-many-names", "unreadable-file"]);
}

#[test]
fn a_list_of_a_million_names_is_decided_by() {
    let dir = Dir::new("million");
    let policy = dir.write("policy.yaml", "version: 1\nrules:\n  - name: a\n    hosts_files: [many]\n");
    let many: String = (0..1_000_000).fold(String::new(), |mut text, i| {
        use std::fmt::Write as _;
        writeln!(text, "{}h{i}.example", if i % 2 == 0 { "." } else { "" }).unwrap();
        text
    });
    dir.write("many", many);
    let loaded = Policy::load(&policy, 0).unwrap();
    assert_eq!(loaded.files, [policy, dir.0.join("many")]);
    for (host, allowed) in [
        ("h999999.example", true),
        ("a.h999998.example", true),
        ("a.h999999.example", false),
        ("h1000000.example", false),
    ] {
        let name = sekisho_name::Name::parse(host).unwrap();
        let request = sekisho_policy::Request {
            name: &name,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            port: 443,
            protocol: sekisho_policy::Protocol::Tls,
            now: 0,
            vpce: None,
            ech: false,
        };
        let decision = loaded.policy.decide(&request);
        assert_eq!(matches!(decision, sekisho_policy::Decision::Allow { .. }), allowed, "{host}");
    }
}

#[test]
fn too_many_rules() {
    let rules: String = (0..=MAX_RULES).fold(String::from("version: 1\nrules:\n"), |mut text, i| {
        use std::fmt::Write as _;
        writeln!(text, "  - {{ name: r{i}, owner: o, hosts: [h{i}.example] }}").unwrap();
        text
    });
    let found = Policy::parse("policy.yaml", &rules, 0).expect_err("must be refused");
    assert_eq!(found.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["too-many-rules"]);
}
