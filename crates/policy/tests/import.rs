//! Each file of `import/` gives exactly the policy beside it. `SEKISHO_BLESS=1` writes what is given; read the difference.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sekisho_name::Name;
use sekisho_policy::import::{From, Import, ImportError, import};
use sekisho_policy::{Decision, Disk, FileError, Files, Policy, Protocol, Request, fuzz};

/// 2026-11-24T12:00:00Z.
const NOW: i64 = 1_795_521_600;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// The directory, without its path in what is said.
struct Here;

impl Files for Here {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        Disk.read(&directory().join(path), limit)
    }
}

/// One file, whatever is asked for.
struct Bytes(Vec<u8>);

impl Files for Bytes {
    fn read(&self, _: &Path, _: usize) -> Result<Vec<u8>, FileError> {
        Ok(self.0.clone())
    }
}

fn corpus() -> Vec<(PathBuf, From)> {
    let mut all: Vec<_> = fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    let from = |path: PathBuf| {
        let from = match path.extension()?.to_str()? {
            "squid" => From::Squid,
            "hosts" => From::Hosts,
            "firewall" => From::NetworkFirewall,
            _ => return None,
        };
        Some((path, from))
    };
    all.into_iter().filter_map(from).collect()
}

fn made(from: From, file: &str) -> Import {
    import(from, Path::new(file), &Here, NOW).unwrap()
}

#[test]
fn each_file_gives_its_policy() {
    let mut wrong = Vec::new();
    let corpus = corpus();
    assert!(corpus.len() >= 6);
    for (path, from) in corpus {
        let given = made(from, path.file_name().unwrap().to_str().unwrap());
        assert!(given.notes.iter().all(|note| given.text.contains(note.split(": ").next().unwrap())), "{given:?}");
        let beside = path.with_extension("yaml");
        if std::env::var_os("SEKISHO_BLESS").is_some() {
            fs::write(&beside, given.text).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default() != given.text {
            wrong.push(format!("{}:\n{}", path.display(), given.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the policy lets a TLS connection to port 443 through.
fn open(policy: &Policy, host: &str, client: &str) -> bool {
    let (name, client): (_, IpAddr) = (Name::parse(host).unwrap(), client.parse().unwrap());
    let request = Request { name: &name, client, port: 443, protocol: Protocol::Tls, now: NOW, vpce: None, ech: false };
    matches!(policy.decide(&request), Decision::Allow { .. })
}

#[test]
fn what_is_exported_for_the_firewall_comes_back_as_it_was() {
    let text = "version: 1\nrules:\n  - { name: a, clients: [10.20.0.0/16], hosts: [.a.example, b.example] }\n";
    let policy = Policy::parse("p.yaml", text, NOW).unwrap().policy;
    let export = policy.network_firewall(&["10.20.0.0/16".parse().unwrap()], NOW).unwrap();
    let back = import(From::NetworkFirewall, Path::new("group.json"), &Bytes(export.text.into_bytes()), NOW).unwrap();
    let back = Policy::parse("p.yaml", &back.text, NOW).unwrap().policy;
    for host in ["a.example", "x.a.example", "b.example", "x.b.example", "c.example"] {
        for client in ["10.20.0.1", "10.21.0.1"] {
            assert_eq!(open(&back, host, client), open(&policy, host, client), "{host} {client}");
        }
    }
}

#[test]
fn a_deny_line_that_says_nothing_to_a_gate_shuts_more_and_never_less() {
    struct Conf(&'static str);
    impl Files for Conf {
        fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>, FileError> {
            let known = path == Path::new("squid.conf");
            if known { Ok(self.0.as_bytes().to_vec()) } else { Err(FileError::Io(std::io::ErrorKind::NotFound.into())) }
        }
    }
    let listed = "acl listed dstdomain .a.example\n";
    for (deny, opened) in [
        ("", true),
        ("acl weekend time SA\nhttp_access deny weekend\n", false),
        ("acl weekend time SA\nhttp_access deny weekend listed\n", false),
        ("http_access deny undefined\n", false),
        ("acl gone dstdomain \"missing\"\nhttp_access deny gone\n", false),
        ("acl name src host.example.com\nhttp_access deny name\n", false),
        ("acl away src 192.0.2.0/24\nhttp_access deny away\n", true),
        ("acl high port 1024-65535\nhttp_access deny high\n", true),
        ("http_access deny !CONNECT\n", true),
        ("http_access deny CONNECT\n", false),
        ("http_access deny !all\n", true),
    ] {
        let conf = format!("{listed}{deny}http_access allow listed\nhttp_access deny all\n");
        let made = import(From::Squid, Path::new("squid.conf"), &Conf(conf.leak()), NOW).unwrap();
        let policy = Policy::parse("p.yaml", &made.text, NOW).unwrap().policy;
        assert_eq!(open(&policy, "x.a.example", "10.0.0.1"), opened, "{deny}\n{}", made.text);
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_says_so() {
    let read = |from, bytes: &[u8]| import(from, Path::new("x"), &Bytes(bytes.to_vec()), NOW).unwrap_err();
    assert!(matches!(read(From::Squid, b"a.example\n\xff"), ImportError::NotUtf8(10)));
    assert!(matches!(read(From::NetworkFirewall, b"{"), ImportError::NotARuleGroup(_)));
    assert!(matches!(read(From::NetworkFirewall, b"{}"), ImportError::NotARuleGroup(_)));
    let many: String = (0..50_001).fold(String::new(), |many, n| many + &format!("n{n}.example\n"));
    assert!(matches!(read(From::Squid, many.as_bytes()), ImportError::TooManyNames(50_001)));
}

#[test]
fn every_file_and_every_prefix_of_it() {
    for (path, _) in corpus() {
        let file = fs::read(path).unwrap();
        for end in (0..=file.len()).step_by(11).chain([file.len()]) {
            fuzz::import(&file[..end]);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::import(&data);
    }

    #[test]
    fn anything_like_a_configuration(text in "(acl a (dstdomain|src|port|method) |http_access (allow|deny) |!?a|!?CONNECT|all|[.*a-z0-9]{1,6}\\.(test|amazonaws\\.com)|10\\.0\\.0\\.[0-9]|[0-9]{1,5}(-[0-9]{1,5})?|\\\\?\n|[ \t#\"\u{e9}\u{1b}\u{202e}]){0,40}") {
        fuzz::import(text.as_bytes());
    }

    #[test]
    fn anything_like_a_list_of_hosts(text in "([0-9:.]{1,9}|[-_.*#a-z0-9\u{e9}\u{1b}]{1,8}|[ \t\r\n]){0,40}") {
        fuzz::import(text.as_bytes());
    }
}
