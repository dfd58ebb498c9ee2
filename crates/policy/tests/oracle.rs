//! botocore as an oracle: what it knows of S3 is asked of it as it is installed, and compared with the policy, both ways.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "common/tables.rs"]
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sekisho_name::Name;
use sekisho_policy::{Decision, Diagnostics, Policy, Protocol, Request, Severity};
use serde_json::Value;
use tables::{quoted, table};

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What a script of `tests/oracle` prints.
fn asked(script: &str) -> String {
    let python = workspace().join("target/venv/bin/python");
    assert!(python.exists(), "there is no {}: run `cargo xtask setup`", python.display());
    let output = Command::new(python).arg(workspace().join("tests/oracle").join(script)).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn regions_and_forms_are_those_that_the_installed_botocore_gives() {
    let undated = |text: &str| {
        text.lines().filter(|line| !line.starts_with("//! Taken on ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let committed = fs::read_to_string(workspace().join("crates/policy/src/s3/data.rs")).unwrap();
    assert!(
        undated(&committed) == undated(&asked("regions.py")),
        "crates/policy/src/s3/data.rs differs from what the botocore of target/venv gives: run `cargo xtask regions`"
    );
}

#[test]
fn the_reference_has_what_real_clients_ask_for_and_what_the_default_lists_of_it() {
    let page = fs::read_to_string(workspace().join("docs/policy.md")).unwrap();
    let text = asked("clients.py");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let listing = lines.pop().unwrap();
    assert!(
        page.contains(&format!("`aws s3 ls` without a bucket asks for `{}`", listing["listing"].as_str().unwrap()))
    );

    let rows = table(&page, "### What clients ask for");
    let said: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row[..4].iter().map(|cell| quoted(cell).first().copied().unwrap_or_default()).collect())
        .collect();
    for client in ["boto3", "awscli"] {
        let asked: Vec<Vec<&str>> = lines
            .iter()
            .filter(|line| line["client"] == client)
            .map(|line| ["setting", "region", "request", "presigned"].map(|key| line[key].as_str().unwrap()).to_vec())
            .collect();
        assert_eq!(said, asked, "{client}");
    }
    for (row, said) in rows.iter().zip(&said) {
        let rule = |more: &str| {
            let item = format!("{{ name: reports, region: {}{more} }}", said[1]);
            load(&format!("  - name: a\n    buckets: [{item}]\n")).unwrap()
        };
        let lists =
            |policy: &Policy| said[2..].iter().map(|host| lets_through(policy, host).is_some()).collect::<Vec<_>>();
        assert_eq!(lists(&rule("")), vec![row[4] == "yes"; 2], "{row:?}");
        if let Some(more) = row[4].strip_prefix("no: ") {
            assert_eq!(lists(&rule(&format!(", {}", quoted(more)[0]))), [true, true], "{row:?}");
        } else if row[4] != "yes" {
            assert!(row[4].starts_with("never") && listed(said[2]).0.contains("path-style-host"), "{row:?}");
        }
    }
}

#[test]
fn built_in_sets_have_the_hosts_that_botocore_asks_for_in_every_region() {
    let mut compared = BTreeMap::<String, usize>::new();
    for line in asked("sets.py").lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        let [set, region, host] = ["set", "region", "host"].map(|key| line[key].as_str().unwrap());
        let rule = format!("  - include: {{ set: '{set}', region: {region}, upstream: any }}\n");
        let policy = load(&rule).unwrap();
        let rule = lets_through(&policy, host).unwrap_or_else(|| panic!("{set} of {region}: {host}"));
        assert_eq!(rule, set);
        *compared.entry(set.to_owned()).or_default() += 1;
    }
    println!("hosts of built-in sets that are botocore's: {compared:?}");
    assert!(compared.len() == 6 && compared.values().all(|&regions| regions > 30), "{compared:?}");
}

#[test]
fn the_public_suffix_list_is_that_of_the_installed_package() {
    let committed = fs::read_to_string(workspace().join("crates/policy/src/suffix/list.txt")).unwrap();
    assert!(
        committed == asked("suffixes.py"),
        "crates/policy/src/suffix/list.txt differs from what the publicsuffixlist of target/venv gives: run `cargo xtask suffixes`"
    );
}

/// One answer of botocore's.
struct Answer {
    host: String,
    subject: String,
    /// Where the subject is; `None` where there is no such region.
    region: Option<String>,
    /// Whether the host pins the subject.
    pins: bool,
    /// How a policy lists the subject; `None` where none can.
    item: Option<String>,
}

/// All answers, and how they came about.
fn answers() -> (Vec<Answer>, Value) {
    let text = asked("hosts.py");
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let summary = lines.pop().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let answers = lines.iter().map(|line| Answer {
        host: text(&line["host"]).unwrap(),
        subject: text(&line["subject"]).unwrap(),
        region: text(&line["region"]),
        pins: line["pins"].as_bool().unwrap(),
        item: text(&line["item"]),
    });
    (answers.collect(), summary)
}

fn load(rules: &str) -> Result<Policy, Diagnostics> {
    Policy::parse("policy.yaml", &format!("version: 1\nrules:\n{rules}"), NOW).map(|loaded| loaded.policy)
}

fn request(name: &Name) -> Request<'_> {
    Request {
        name,
        client: Ipv4Addr::LOCALHOST.into(),
        port: 443,
        protocol: Protocol::Tls,
        now: NOW,
        vpce: None,
        ech: false,
    }
}

/// The name of the rule that lets a host through.
fn lets_through<'p>(policy: &'p Policy, host: &str) -> Option<&'p str> {
    match policy.decide(&request(&Name::parse(host).expect(host))) {
        Decision::Allow { rule } => Some(&policy.rule(rule).unwrap().name),
        _ => None,
    }
}

/// The account whose buckets are asked for by name, among those of others.
const ACCOUNT: &str = "123456789012";
const WORDS: &[&str] = &[
    "regional",
    "dualstack",
    "legacy",
    "global",
    "fips",
    "fips-dualstack",
    "accelerate",
    "accelerate-dualstack",
    "external-1",
];

/// A rule with all the names that a policy can give one subject in one region.
fn rule(subject: &str, item: &str, region: &str, interface: &str) -> String {
    let item = |more: &str| format!("{{ {item}, region: {region}, {more} }}");
    let list = |item: &str| format!("    acknowledge: [unknown_region]\n    upstream: any\n    buckets: [{item}]\n");
    let every = WORDS.iter().map(|word| item(&format!("endpoints: [{word}]")));
    let every = every.chain([item(&format!("vpce: [{interface}, {interface}-{region}a]"))]);
    let sound: Vec<_> = every.filter(|item| load(&format!("  - name: a\n{}", list(item))).is_ok()).collect();
    assert!(!sound.is_empty(), "{subject} in {region}");
    format!("  - name: '{subject} {region}'\n{}", list(&sound.join(", ")))
}

/// The codes of the faults of a rule that lists a name, and of one that lists it with an acknowledgement.
fn listed(name: &str) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let codes = |more: &str| match load(&format!("  - name: a\n    hosts: ['{name}']\n{more}")) {
        Ok(_) => BTreeSet::new(),
        Err(faults) => faults.iter().map(|fault| fault.code).collect(),
    };
    (codes(""), codes("    acknowledge: [path_style, unknown_region]\n"))
}

/// How policies list the subjects, by subject and region.
type Items<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

/// What botocore asks for, sorted by what a policy should do with it, and what it does wrongly.
#[derive(Default)]
struct Found<'a> {
    /// Hosts that pin something in a region.
    pinned: BTreeSet<&'a str>,
    /// Hosts that pin nothing, or what no rule can list.
    open: BTreeSet<&'a str>,
    /// Hosts for regions that do not exist.
    nowhere: BTreeSet<&'a str>,
    patterns: BTreeSet<String>,
    wrong: Vec<String>,
}

#[test]
fn a_host_is_let_through_by_the_rules_for_its_bucket_and_one_without_a_bucket_by_none() {
    let (answers, summary) = answers();
    let interface = summary["interface"].as_str().unwrap();
    let items: Items<'_> =
        answers.iter().filter_map(|a| Some(((a.subject.as_str(), a.region.as_deref()?), a.item.as_deref()?))).collect();
    let mut found = Found::default();
    let rules = found.decisions(&answers, &items, interface);
    found.wildcards(&answers, &items, interface);
    found.names();
    found.patterns();
    found.suggestions();

    // Straight to the terminal: what a test prints is shown only when it fails.
    let asked = &summary["asked"];
    let _ = writeln!(
        io::stderr(),
        "oracle: {} questions to the rules and {} to clients, {} without an answer; {} answers. Hosts: {} pin one of {} \
         subjects in a region ({rules} rules), {} pin none or what no rule can list, {} are of no region. {} patterns over them.",
        asked["rules"],
        asked["clients"],
        summary["refused"],
        answers.len(),
        found.pinned.len(),
        items.keys().map(|(subject, _)| subject).collect::<BTreeSet<_>>().len(),
        found.open.len(),
        found.nowhere.len(),
        found.patterns.len(),
    );
    let wrong = &found.wrong;
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(found.pinned.len() > 5_000 && found.open.len() > 500 && found.patterns.len() > 5_000);
}

fn load_all(rules: &str) -> Policy {
    load(rules).map_err(|faults| faults.iter().find(|fault| fault.severity == Severity::Error).cloned()).unwrap()
}

impl<'a> Found<'a> {
    /// Decides each host by a policy with a rule for each subject in each of its regions, and by one with these rules in the
    /// opposite order: where the first that matches is the same in both, it is the only one. Returns how many rules.
    fn decisions(&mut self, answers: &'a [Answer], items: &Items<'_>, interface: &str) -> usize {
        // One without a region is the same rule in all of them.
        let first = |subject| items.keys().find(|(other, _)| *other == subject);
        let rules: Vec<String> = items
            .iter()
            .filter(|(key, item)| !item.starts_with("multi_region") || Some(*key) == first(key.0))
            .map(|((subject, region), item)| rule(subject, item, region, interface))
            .collect();
        let policies = [load_all(&rules.concat()), load_all(&rules.iter().rev().cloned().collect::<String>())];
        for Answer { host, subject, region, pins, item } in answers {
            let deciding = [&policies[0], &policies[1]].map(|policy| lets_through(policy, host));
            let by = |matches: &dyn Fn(&str, &str) -> bool| {
                let parts =
                    |rule: &str| rule.rsplit_once(' ').is_some_and(|(subject, region)| matches(subject, region));
                deciding.iter().all(|rule| rule.is_some_and(parts))
            };
            let good = if !*pins || item.is_none() {
                self.open.insert(host);
                deciding == [None, None]
            } else if let Some(region) = region {
                self.pinned.insert(host);
                // A name that says its region is let through by the rule for that region alone.
                let says = host.split_once('.').is_some_and(|(_, rest)| rest.contains(region.as_str()));
                by(&|own, place| own == subject && (!says || place == region))
            } else {
                // Where the region does not exist, who asks gets the bucket or nothing.
                self.nowhere.insert(host);
                by(&|own, _| own == subject) || deciding == [None, None]
            };
            if !good {
                let line = format!("{host} (of {subject} in {region:?}, pins: {pins}) is let through by {deciding:?}");
                self.wrong.push(line);
            }
        }
        rules.len()
    }

    /// The wildcard over one account's buckets of a region covers these and no others.
    fn wildcards(&mut self, answers: &[Answer], items: &Items<'_>, interface: &str) {
        let regions: BTreeSet<&str> = items.keys().map(|(_, region)| *region).collect();
        let rules = regions.iter().map(|region| {
            let item = format!("name: '*-{ACCOUNT}-{region}-an'");
            rule(region, &item, region, interface)
        });
        let policy = load_all(&rules.collect::<String>());
        for answer in answers.iter().filter(|answer| answer.region.is_some()) {
            let own = answer.pins && answer.subject.starts_with(&format!("x-{ACCOUNT}-"));
            if lets_through(&policy, &answer.host).is_some() != own {
                self.wrong.push(format!("{} and the wildcards of {ACCOUNT}", answer.host));
            }
        }
    }

    /// What pins nothing is listed with an acknowledgement, or not at all.
    fn names(&mut self) {
        for host in &self.open {
            let (without, with) = listed(host);
            let known = ["path-style-host", "dotted-bucket"].iter().any(|code| without.contains(code));
            if !known || !with.is_empty() {
                self.wrong.push(format!("{host}: {without:?}, acknowledged: {with:?}"));
            }
        }
    }

    /// Whatever pattern covers one of the hosts covers others' buckets, and needs an acknowledgement.
    fn patterns(&mut self) {
        for host in self.pinned.iter().chain(&self.open) {
            let parent = |name: &'a str| name.split_once('.').map(|(_, parent)| parent);
            self.patterns.extend(parent(host).map(|parent| format!("*.{parent}")));
            self.patterns
                .extend(std::iter::successors(Some(*host), |name| parent(name)).map(|name| format!(".{name}")));
        }
        for pattern in &self.patterns {
            let (without, with) = listed(pattern);
            // What covers more of AWS than S3 wants another acknowledgement besides.
            if !without.contains("any-bucket-pattern") || with.iter().any(|code| *code != "shared-suffix") {
                self.wrong.push(format!("{pattern}: {without:?}, acknowledged: {with:?}"));
            }
        }
    }

    /// The entry that `explain` names for a host lets it through.
    fn suggestions(&mut self) {
        let empty = Policy::parse("policy.yaml", "version: 1\nrules: []\n", NOW).unwrap().policy;
        for host in &self.pinned {
            let hints = empty.explain(&request(&Name::parse(host).unwrap())).hints;
            let entry = hints.iter().find_map(|hint| quoted(hint).first().map(|entry| (*entry).to_owned())).unwrap();
            let rule = format!("  - name: a\n    {entry}\n    acknowledge: [unknown_region]\n    upstream: any\n");
            if !load(&rule).is_ok_and(|policy| lets_through(&policy, host).is_some()) {
                self.wrong.push(format!("{host} is not let through by what is suggested for it, `{entry}`"));
            }
        }
    }
}
