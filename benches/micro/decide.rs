//! Deciding on a name among many, and loading many.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use divan::{Bencher, black_box};
use sekisho_name::Name;
use sekisho_policy::{FileError, Files, Loaded, Policy, Protocol, Request};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Patterns beside the names, of domains that the names are not in.
const PATTERNS: usize = 10_000;
/// Names that are asked for again and again.
const HOT: usize = 1_000;

/// Files in memory.
struct Memory(HashMap<&'static str, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &Path, _limit: usize) -> Result<Vec<u8>, FileError> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.cloned().ok_or(FileError::Io(std::io::ErrorKind::NotFound.into()))
    }
}

/// A name of four labels, spread over a thousand domains.
fn host(i: usize) -> String {
    format!("host-{i}.department-{}.example.org", i % 1000)
}

/// One rule with a list of so many names, and one of patterns.
fn files(names: usize) -> Memory {
    let policy = "version: 1\nrules:\n  - { name: all, owner: o, hosts_files: [names, patterns] }\n";
    let lines = |count: usize, line: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut list, i| {
            // Writing to a String cannot fail.
            let _ = writeln!(list, "{}", line(i));
            list
        })
    };
    let patterns = lines(PATTERNS, &|i| format!(".team-{i}.example.org"));
    Memory(HashMap::from([
        ("policy.yaml", policy.into()),
        ("names", lines(names, &host).into_bytes()),
        ("patterns", patterns.into_bytes()),
    ]))
}

fn load(files: &Memory) -> Option<Loaded> {
    Policy::load_from(Path::new("policy.yaml"), files, 0).ok()
}

fn request(name: &Name) -> Request<'_> {
    Request {
        name,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 443,
        protocol: Protocol::Tls,
        now: 0,
        vpce: None,
        ech: false,
    }
}

fn names(hosts: impl Iterator<Item = String>) -> Vec<Name> {
    hosts.filter_map(|host| Name::parse(&host).ok()).collect()
}

/// Asks about the same names in turn, after a first round that is not timed.
fn ask(bencher: Bencher<'_, '_>, policy: &Policy, hosts: &[Name]) {
    for name in hosts {
        black_box(policy.decide(&request(name)));
    }
    let mut next = hosts.iter().cycle();
    bencher.bench_local(|| next.next().map(|name| policy.decide(black_box(&request(name)))));
}

#[divan::bench(args = [10, 1_000, 100_000, 1_000_000], sample_size = 1000, sample_count = 300)]
fn hot_names(bencher: Bencher<'_, '_>, listed: usize) {
    let Some(Loaded { policy, .. }) = load(&files(listed)) else { return };
    // Of a long list those that are asked for lie anywhere in it.
    let step = (listed / HOT).max(1);
    ask(bencher, &policy, &names((0..HOT).map(|i| host(i * step % listed))));
}

#[divan::bench(args = [10, 1_000, 100_000, 1_000_000], sample_size = 1000, sample_count = 300)]
fn hot_names_that_are_not_listed(bencher: Bencher<'_, '_>, listed: usize) {
    let Some(Loaded { policy, .. }) = load(&files(listed)) else { return };
    ask(bencher, &policy, &names((0..HOT).map(|i| format!("other-{i}.department-{i}.example.org"))));
}

/// Each name is asked for once in a million times, so what it needs is in no cache of the processor.
#[divan::bench(args = [10, 1_000, 100_000, 1_000_000], sample_size = 1000, sample_count = 300)]
fn uniformly_random_names(bencher: Bencher<'_, '_>, listed: usize) {
    let Some(Loaded { policy, .. }) = load(&files(listed)) else { return };
    let mut at = 1_usize;
    bencher
        .with_inputs(|| {
            // A full cycle through the numbers below 2^20 that looks like none.
            at = (at * 1_664_525 + 1_013_904_223) % (1 << 20);
            Name::parse(&host(at % listed)).ok()
        })
        .bench_local_refs(|name| name.as_ref().map(|name| policy.decide(black_box(&request(name)))));
}

#[divan::bench(args = [2, 4, 8, 16], sample_size = 1000, sample_count = 300)]
fn names_of_so_many_labels(bencher: Bencher<'_, '_>, labels: usize) {
    let Some(Loaded { policy, .. }) = load(&files(100_000)) else { return };
    ask(bencher, &policy, &names((0..HOT).map(|i| format!("h{i}.{}org", "example.".repeat(labels - 2)))));
}

/// Rules for one client range each, all for the same bucket names: the last one admits the client.
#[divan::bench(args = [10, 100, 1_000], sample_size = 1000, sample_count = 100)]
fn rules_for_client_ranges_with_names_of_their_own(bencher: Bencher<'_, '_>, rules: usize) {
    let policy = by_client(rules, |i| format!("b{i}.example.org"));
    let Some(policy) = policy else { return };
    let hosts = names((0..rules).map(|i| format!("b{i}.example.org")));
    ask_from(bencher, &policy, &hosts, |i| client(i % rules));
}

#[divan::bench(args = [10, 100, 1_000], sample_size = 1000, sample_count = 100)]
fn rules_for_client_ranges_that_list_one_name(bencher: Bencher<'_, '_>, rules: usize) {
    let Some(policy) = by_client(rules, |_| "bucket.example.org".to_owned()) else { return };
    let hosts = names(std::iter::once("bucket.example.org".to_owned()));
    ask_from(bencher, &policy, &hosts, |_| client(rules - 1));
}

/// The client that only this rule admits.
fn client(rule: usize) -> IpAddr {
    let [.., high, low] = rule.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, high, low, 7))
}

fn by_client(rules: usize, name: impl Fn(usize) -> String) -> Option<Policy> {
    let text = (0..rules).fold("version: 1\nrules:\n".to_owned(), |mut text, i| {
        let _ = writeln!(text, "  - {{ name: r{i}, owner: o, clients: ['{}/24'], hosts: [{}] }}", client(i), name(i));
        text
    });
    // The addresses of hosts are networks here.
    Policy::parse("policy.yaml", &text.replace(".7/24", ".0/24"), 0).ok().map(|loaded| loaded.policy)
}

fn ask_from(bencher: Bencher<'_, '_>, policy: &Policy, hosts: &[Name], client: impl Fn(usize) -> IpAddr) {
    let requests: Vec<_> =
        hosts.iter().enumerate().map(|(i, name)| Request { client: client(i), ..request(name) }).collect();
    let mut next = requests.iter().cycle();
    bencher.bench_local(|| next.next().map(|request| policy.decide(black_box(request))));
}

#[divan::bench(args = [1_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn load_a_list(bencher: Bencher<'_, '_>, listed: usize) {
    let files = files(listed);
    bencher.bench_local(|| load(&files));
}
