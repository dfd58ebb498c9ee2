//! Bodies of fuzz targets: any bytes in, no panic, and what holds for every input holds.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use sekisho_name::Name;

use crate::diagnostic::{Diagnostics, is_hidden};
use crate::files::{FileError, Files};
use crate::import::{self, From, ImportError};
use crate::policy::Policy;
use crate::rule::{Protocol, Request};

/// A policy file of any bytes; the lists that it may refer to are these bytes too.
pub fn policy(data: &[u8]) {
    check(&Everywhere { policy: data, list: data });
}

/// A Squid list of any bytes, in a policy that accepts whatever it names.
pub fn dstdomain(data: &[u8]) {
    let policy = "version: 1\nrules:\n  - name: list\n    reason: all\n    hosts_files: [list]\n    acknowledge: [path_style, unknown_region, shared_suffix, lookalike]\n";
    check(&Everywhere { policy: policy.as_bytes(), list: data });
}

/// A file of any bytes for each importer; the lists that it may refer to are these bytes too. Whatever is made of it is a
/// policy that `check` accepts.
pub fn import(data: &[u8]) {
    for from in [From::Squid, From::Hosts, From::NetworkFirewall] {
        match import::import(from, Path::new("policy.yaml"), &Everywhere { policy: data, list: data }, NOW) {
            Ok(made) => {
                let loaded = Policy::parse("policy.yaml", &made.text, NOW);
                assert!(loaded.is_ok(), "{}", made.text);
                printable(&made.text);
                made.notes.iter().for_each(|note| printable(note));
            }
            Err(error) => assert!(!matches!(error, ImportError::Unproven(_)), "{error}"),
        }
    }
}

const NOW: i64 = 1_795_521_600;

struct Everywhere<'a> {
    policy: &'a [u8],
    list: &'a [u8],
}

impl Files for Everywhere<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        let bytes = if path == Path::new("policy.yaml") { self.policy } else { self.list };
        if bytes.len() > limit { Err(FileError::TooLarge) } else { Ok(bytes.to_vec()) }
    }
}

fn check(files: &Everywhere<'_>) {
    let text = match Policy::load_from(Path::new("policy.yaml"), files, NOW) {
        Ok(loaded) => {
            assert_eq!(loaded.warnings.errors(), 0);
            assert_eq!(loaded.policy.digest().len(), 64);
            for host in ["a", "www.example.com", "reports.s3.ap-northeast-1.amazonaws.com", "_x.s3.amazonaws.com"] {
                let Ok(name) = Name::parse(host) else { continue };
                let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let request = Request {
                    name: &name,
                    client,
                    port: 443,
                    protocol: Protocol::Tls,
                    now: NOW,
                    vpce: None,
                    ech: false,
                };
                let explanation = loaded.policy.explain(&request).to_string();
                printable(&explanation);
            }
            loaded.warnings
        }
        Err(faults) => {
            assert!(faults.errors() > 0);
            faults
        }
    };
    report(&text);
}

fn report(faults: &Diagnostics) {
    printable(&faults.human());
    printable(&faults.github());
    let commands = faults.github();
    assert!(commands.lines().all(|line| line.starts_with("::")), "{commands:?}");
    assert!(faults.json().is_object() && faults.sarif().is_object());
}

fn printable(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || !is_hidden(c)), "{text:?}");
}
