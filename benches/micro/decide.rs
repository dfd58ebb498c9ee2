//! Deciding on a name among many.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use divan::{Bencher, black_box};
use sekisho_name::Name;
use sekisho_policy::{FileError, Files, Loaded, Policy, Protocol, Request};

fn main() {
    divan::main();
}

/// Files in memory.
struct Memory(HashMap<&'static str, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path, _limit: usize) -> Result<Vec<u8>, FileError> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.cloned().ok_or(FileError::Io(std::io::ErrorKind::NotFound.into()))
    }
}

/// One rule with a list of so many names, one in a hundred of them a pattern.
fn files(names: usize) -> Memory {
    let policy = "version: 1\nrules:\n  - name: all\n    hosts_files: [list]\n";
    let list = (0..names).fold(String::new(), |mut list, i| {
        let dot = if i % 100 == 0 { "." } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(list, "{dot}host-{i}.department-{}.example.org", i % 1000);
        list
    });
    Memory(HashMap::from([("policy.yaml", policy.as_bytes().to_vec()), ("list", list.into_bytes())]))
}

fn load(files: &Memory) -> Option<Loaded> {
    Policy::load_from(Path::new("policy.yaml"), files, 0).ok()
}

fn request(name: &Name) -> Request<'_> {
    Request { name, client: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 443, protocol: Protocol::Tls, now: 0 }
}

fn decide(bencher: Bencher<'_, '_>, names: usize, host: impl Fn(usize) -> String) {
    let Some(Loaded { policy, .. }) = load(&files(names)) else { return };
    let hosts: Vec<Name> = (0..1000).filter_map(|i| Name::parse(&host(i)).ok()).collect();
    let mut next = hosts.iter().cycle();
    bencher.bench_local(|| next.next().map(|name| policy.decide(black_box(&request(name)))));
}

#[divan::bench(args = [1_000, 1_000_000])]
fn hot_1000_listed(bencher: Bencher<'_, '_>, names: usize) {
    decide(bencher, names, |i| format!("host-{i}.department-{}.example.org", i % 1000));
}

#[divan::bench(args = [1_000, 1_000_000])]
fn hot_1000_not_listed(bencher: Bencher<'_, '_>, names: usize) {
    decide(bencher, names, |i| format!("other-{i}.department-{}.example.org", i % 1000));
}

#[divan::bench(args = [1_000_000], sample_count = 3)]
fn load_a_list(bencher: Bencher<'_, '_>, names: usize) {
    let files = files(names);
    bencher.bench_local(|| load(&files));
}
