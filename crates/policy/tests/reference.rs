//! docs/policy.md against the program: its examples are loaded, its tables are compared, its codes are all there are.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod common;
#[path = "common/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use common::{NOW, codes};
use sekisho_name::Name;
use sekisho_policy::{Decision, Diagnostics, FileError, Files, Policy, Protocol, Request};
use tables::{quoted, table};

/// Codes of which a page of text cannot show an example. They are shown by files of size and by golden files.
const WITHOUT_EXAMPLE: &[&str] =
    &["file-too-large", "hidden-character", "not-utf8", "too-many-names", "too-many-rules", "too-many-values"];

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policy.md")).unwrap()
}

/// A fenced block: its info string's words, its content, and the heading above it.
struct Block {
    info: Vec<String>,
    content: String,
    heading: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let (mut all, mut heading) = (Vec::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let info: Vec<String> = info.split_whitespace().map(str::to_owned).collect();
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            all.push(Block { info, content: content.join("\n") + "\n", heading: heading.clone() });
        } else if line.starts_with('#') {
            line.trim_start_matches(['#', ' ']).trim_matches('`').clone_into(&mut heading);
        }
    }
    all
}

/// An example and the lists that stand above it.
struct Example<'a> {
    policy: String,
    lists: &'a BTreeMap<String, String>,
}

impl Files for Example<'_> {
    fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>, FileError> {
        let text = if path == Path::new("policy.yaml") {
            Some(&self.policy)
        } else {
            path.to_str().and_then(|path| self.lists.get(path))
        };
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| FileError::Io(std::io::ErrorKind::NotFound.into()))
    }
}

/// All faults of a whole policy, or of rules alone. An example need not say who owns its rules, unless that is what it shows.
fn faults(text: &str, lists: &BTreeMap<String, String>) -> Diagnostics {
    let whole = text.lines().any(|line| line.starts_with("version:"));
    let mut policy = if whole { text.to_owned() } else { format!("version: 1\nrules:\n{text}") };
    if !text.contains("lint:") && text.lines().all(|line| line != "---") {
        policy.push_str("lint: { require: [] }\n");
    }
    match Policy::load_from(Path::new("policy.yaml"), &Example { policy, lists }, NOW) {
        Ok(loaded) => loaded.warnings,
        Err(faults) => faults,
    }
}

/// The codes of a policy with one rule.
fn codes_of(rule: &str) -> BTreeSet<&'static str> {
    faults(&format!("- name: a\n  {rule}\n"), &BTreeMap::new()).iter().map(|fault| fault.code).collect()
}

#[test]
fn every_example_has_the_fault_that_it_shows_or_none() {
    let page = page();
    let mut shown: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let (mut lists, mut of) = (BTreeMap::new(), String::new());
    for block in blocks(&page) {
        if of != block.heading {
            lists.clear();
            of.clone_from(&block.heading);
        }
        let info: Vec<&str> = block.info.iter().map(String::as_str).collect();
        match info[..] {
            ["text", name] => {
                lists.insert(name.to_owned(), block.content);
            }
            ["yaml", kind @ ("wrong" | "right")] => {
                let faults = faults(&block.content, &lists);
                let found: BTreeSet<_> = faults.iter().map(|fault| fault.code).collect();
                let expected: BTreeSet<_> = (kind == "wrong").then_some(block.heading.as_str()).into_iter().collect();
                assert_eq!(found, expected, "{kind} of {}:\n{}{faults}", block.heading, block.content);
                shown.entry(block.heading).or_default()[usize::from(kind == "right")] += 1;
            }
            ["yaml"] => {
                let faults = faults(&block.content, &lists);
                assert!(faults.is_empty(), "{}:\n{}{faults}", block.heading, block.content);
            }
            _ => panic!("a block that nothing reads: {info:?} under {}", block.heading),
        }
    }
    let expected: BTreeMap<_, _> = codes()
        .into_iter()
        .filter(|code| !WITHOUT_EXAMPLE.contains(&code.as_str()))
        .map(|code| (code, [1, 1]))
        .collect();
    assert_eq!(shown, expected, "one wrong and one right example of each code");
}

#[test]
fn every_code_is_explained_and_every_explained_code_exists() {
    let page = page();
    let (_, section) = page.split_once("\n## Faults\n").unwrap();
    let explained: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("#### `")?.strip_suffix('`')).collect();
    let set: BTreeSet<String> = explained.iter().map(|&code| code.to_owned()).collect();
    assert_eq!(set.len(), explained.len(), "a code is explained twice");
    assert_eq!(set, codes());
    // Each explanation begins with how bad it is, as the examples have it.
    for part in section.split("\n#### `").skip(1) {
        let (code, text) = part.split_once("`\n\n").unwrap();
        assert!(text.starts_with("Error") || text.starts_with("Warning"), "{code}: {text}");
    }
}

#[test]
fn severities_are_those_that_the_page_says() {
    let page = page();
    for block in blocks(&page).iter().filter(|block| block.info == ["yaml", "wrong"]) {
        let (_, text) = page.split_once(&format!("\n#### `{}`\n\n", block.heading)).unwrap();
        let said = text.split([' ', '.', ',']).next().unwrap().to_lowercase();
        // Faults that depend on a list or on an action say both.
        if text.starts_with("Error, or") || text.starts_with("Warning, or") || block.content.contains("hosts_files") {
            continue;
        }
        for fault in &faults(&block.content, &BTreeMap::new()) {
            assert_eq!(fault.severity.label(), said, "{}", block.heading);
        }
    }
}

#[test]
fn every_key_is_in_its_table() {
    let page = page();
    for (heading, policy) in [
        ("### Keys of the policy", "version: 1\nrules: []\nxyzzyxyzzy: 1\n"),
        ("### Keys of `lint`", "version: 1\nlint: { xyzzyxyzzy: 1 }\nrules: []\n"),
        ("### Keys of a claim", "version: 1\nrules: []\ntests: [{ refuse: a.example, xyzzyxyzzy: 1 }]\n"),
        ("### Keys of a rule", "- name: a\n  hosts: [a.example]\n  xyzzyxyzzy: 1\n"),
        ("### Keys of a bucket", "- name: a\n  buckets: [{ name: aaa, region: us-east-1, xyzzyxyzzy: 1 }]\n"),
        ("### Keys of an include", "- include: { set: aws:ec2, region: us-east-1, upstream: any, xyzzyxyzzy: 1 }\n"),
    ] {
        let faults = faults(policy, &BTreeMap::new());
        let help = faults.iter().next().and_then(|fault| fault.help.clone()).unwrap();
        let known: BTreeSet<_> = help.strip_prefix("known keys: ").expect(heading).split(", ").collect();
        let rows = table(&page, heading);
        let documented: BTreeSet<_> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
        assert_eq!(documented, known, "{heading}");
    }
}

fn allowed(policy: &Policy, host: &str) -> bool {
    let name = Name::parse(host).unwrap();
    [Protocol::Tls, Protocol::Http].into_iter().any(|protocol| {
        let client = Ipv4Addr::LOCALHOST.into();
        let request =
            Request { name: &name, client, port: protocol.default_port(), protocol, now: NOW, vpce: None, ech: false };
        matches!(policy.decide(&request), Decision::Allow { .. })
    })
}

#[test]
fn a_bucket_has_the_names_of_its_table() {
    let page = page();
    let rows = table(&page, "## Buckets");
    let load = |protocols: &str, endpoints: &str| {
        let text = format!(
            "version: 1\nrules:\n  - name: a\n    protocols: [{protocols}]\n    buckets: [{{ name: reports, region: us-east-1{endpoints} }}]\n"
        );
        Policy::parse("policy.yaml", &text, NOW).unwrap().policy
    };
    let by_default = load("tls", "");
    for row in &rows {
        let word = quoted(&row[0])[0];
        let protocol = if word == "website" { "http" } else { "tls" };
        let policy = load(protocol, &format!(", endpoints: [{word}]"));
        for other in &rows {
            for host in quoted(&other[2]) {
                assert_eq!(allowed(&policy, host), row == other, "{word}: {host}");
                assert_eq!(allowed(&by_default, host), other[1] == "yes", "{host}");
            }
        }
    }
    // The regions in which it exists; the legacy form is made for every region.
    for row in &rows {
        for region in
            ["us-east-1", "us-west-2", "ca-west-1", "ap-northeast-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"]
        {
            let named = quoted(&row[3]).iter().any(|start| region.starts_with(start.trim_end_matches('…')));
            let exists = quoted(&row[3]).is_empty() || named != row[3].starts_with("not in ");
            let word = quoted(&row[0])[0];
            let codes = codes_of(&format!(
                "protocols: [http]\n  buckets: [{{ name: aaa, region: {region}, endpoints: [{word}] }}]"
            ));
            assert_eq!(codes.contains("no-such-endpoint"), !exists, "{word} in {region}: {codes:?}");
        }
    }
    // There is no other word.
    let help =
        faults("- name: a\n  buckets: [{ name: aaa, region: us-east-1, endpoints: [xyzzy] }]\n", &BTreeMap::new());
    let help = help.iter().next().and_then(|fault| fault.help.clone()).unwrap();
    let words: BTreeSet<_> = quoted(&help).into_iter().collect();
    assert_eq!(rows.iter().map(|row| quoted(&row[0])[0]).collect::<BTreeSet<_>>(), words);
    let usual: Vec<_> = rows.iter().filter(|row| row[1] == "yes").map(|row| quoted(&row[0])[0]).collect();
    let keys = table(&page, "### Keys of a bucket");
    let cell = &keys.iter().find(|row| row[0] == "`endpoints`").unwrap()[2];
    assert_eq!(*cell, format!("`[{}]`", usual.join(", ")));
}

#[test]
fn names_cover_what_their_table_says() {
    for row in table(&page(), "## Names") {
        let listed = quoted(&row[0])[0];
        let text = format!("version: 1\nrules:\n  - {{ name: a, hosts: ['{listed}'] }}\n");
        let policy = Policy::parse("policy.yaml", &text, NOW).unwrap().policy;
        for (cell, expected) in [(&row[1], true), (&row[2], false)] {
            let hosts = quoted(cell);
            assert!(!hosts.is_empty());
            for host in hosts {
                assert_eq!(allowed(&policy, host), expected, "{listed}: {host}");
            }
        }
    }
}

#[test]
fn each_item_has_the_names_of_its_row_and_of_no_other() {
    let rows = table(&page(), "### What else has names of its own");
    let policies: Vec<Policy> = rows
        .iter()
        .map(|row| {
            let item = quoted(&row[0])[0];
            let text = format!("version: 1\nrules:\n  - name: a\n    upstream: any\n    buckets: [{item}]\n");
            Policy::parse("policy.yaml", &text, NOW).map_err(|faults| faults.to_string()).expect(item).policy
        })
        .collect();
    for (policy, row) in policies.iter().zip(&rows) {
        for other in &rows {
            for host in quoted(&other[1]) {
                assert_eq!(allowed(policy, host), row == other, "{}: {host}", row[0]);
                assert_eq!(codes_of(&format!("hosts: ['{host}']")), BTreeSet::new(), "{host}");
            }
        }
    }
}

#[test]
fn names_that_pin_no_bucket_have_their_fault() {
    let page = page();
    for row in table(&page, "### Names that pin no bucket") {
        let (name, code) = (quoted(&row[0])[0], quoted(&row[2])[0]);
        assert_eq!(codes_of(&format!("hosts: ['{name}']")), BTreeSet::from([code]), "{name}");
        let acknowledged = format!("hosts: ['{name}']\n  acknowledge: [path_style]");
        // A pattern is over a domain under which anybody makes a bucket, which wants a reason besides.
        let left = codes_of(&acknowledged);
        let expected = if name.starts_with(['.', '*']) { BTreeSet::from(["shared-suffix"]) } else { BTreeSet::new() };
        assert_eq!(left, expected, "{name}");
        let both = format!("hosts: ['{name}']\n  reason: a\n  acknowledge: [path_style, shared_suffix]");
        let needless = if expected.is_empty() { BTreeSet::from(["needless-acknowledge"]) } else { BTreeSet::new() };
        assert_eq!(codes_of(&both), needless, "{name}");
        assert_eq!(codes_of(&format!("hosts: ['{name}']\n  action: deny")), BTreeSet::new(), "{name}");
    }
}

#[test]
fn every_built_in_set_makes_the_rules_that_its_table_says() {
    let page = page();
    let rows = table(&page, "## Built-in rule sets");
    let known: Vec<_> = sekisho_policy::sets::all().iter().map(|set| set.name.as_str()).collect();
    assert_eq!(rows.iter().map(|row| quoted(&row[0])[0]).collect::<Vec<_>>(), known);
    for row in &rows {
        let set = quoted(&row[0])[0];
        let text = format!("version: 1\nrules:\n  - include: {{ set: '{set}', region: us-east-1, upstream: any }}\n");
        let policy = Policy::parse("policy.yaml", &text, NOW).unwrap().policy;
        let names: Vec<_> = policy.rules().iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, quoted(&row[1]));
        assert!(policy.rules().iter().all(|rule| rule.set == Some(set)));
    }
}

#[test]
fn limits_are_the_programs() {
    let rows = table(&page(), "## Limits");
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let thousands = |mut n: usize| {
        let mut text = String::new();
        while n >= 1000 {
            text = format!(",{:03}{text}", n % 1000);
            n /= 1000;
        }
        format!("{n}{text}")
    };
    let document = sekisho_policy::document::Limits::default();
    let expected = [
        ("The policy file", mib(document.bytes)),
        ("Values in it", thousands(document.nodes)),
        ("Levels of nesting", document.depth.to_string()),
        ("Rules", thousands(sekisho_policy::MAX_RULES)),
        ("One list file", mib(sekisho_policy::MAX_LIST_BYTES)),
        ("Names in one list file", thousands(sekisho_policy::MAX_LIST_NAMES)),
        ("Names of all rules together", thousands(sekisho_policy::MAX_NAMES)),
    ];
    let found: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].clone())).collect();
    assert_eq!(found, expected);
}
