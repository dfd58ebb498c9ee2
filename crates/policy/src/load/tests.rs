use std::collections::HashMap;
use std::path::Path;

use super::*;

/// 2026-11-24 12:00:00 UTC.
pub(super) const NOW: i64 = 1_795_521_600;

/// Files in memory, by path.
struct Memory<'a>(HashMap<&'a str, &'a [u8]>);

impl Files for Memory<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        let bytes = found.ok_or_else(|| FileError::Io(std::io::ErrorKind::NotFound.into()))?;
        if bytes.len() > limit { Err(FileError::TooLarge) } else { Ok(bytes.to_vec()) }
    }
}

/// Loads a policy of one rule with these lines, beside a list.
fn rule(lines: &str, list: &[u8]) -> Result<Loaded, Diagnostics> {
    let policy = format!("version: 1\nrules:\n  - name: a\n    owner: o\n    {}\n", lines.replace('\n', "\n    "));
    let files = Memory(HashMap::from([("p.yaml", policy.as_bytes()), ("list", list)]));
    Policy::load_from(Path::new("p.yaml"), &files, NOW)
}

/// The codes of all faults and, in the order of the files, what is listed.
fn outcome(lines: &str, list: &[u8]) -> (Vec<&'static str>, Vec<String>) {
    match rule(lines, list) {
        Ok(loaded) => {
            let policy = &loaded.policy;
            let spelled = policy.listed[0].iter().map(|listed| {
                let (shape, name) = policy.index.entry(listed.entry);
                crate::pattern::spell(shape, name)
            });
            (loaded.warnings.iter().map(|fault| fault.code).collect(), spelled.collect())
        }
        Err(faults) => (faults.iter().map(|fault| fault.code).collect(), Vec::new()),
    }
}

#[test]
fn one_wrong_character_opens_nothing() {
    // Each is one slip away from a rule that somebody means, and must not be read as a wider one.
    for (lines, expected) in [
        ("hosts: [x.example]\nclients:", "wrong-type"),
        ("hosts: [x.example]\nclients: []", "empty-list"),
        ("hosts: [x.example]\nclient: [10.0.0.0/8]", "unknown-key"),
        ("hosts: [x.example]\n\"clients \": [10.0.0.0/8]", "unknown-key"),
        ("hosts: [x.example]\nClients: [10.0.0.0/8]", "unknown-key"),
        ("hosts: [x.example]\n<<: {clients: [10.0.0.0/8]}", "unknown-key"),
        ("hosts: [x.example]\nclients: 10.0.0.0/8", "wrong-type"),
        ("hosts: [x.example]\nclients: [10.20.0.0/1]", "cidr-host-bits"),
        ("hosts: [x.example]\nclients: [10.20.0.0/8]", "cidr-host-bits"),
        ("hosts: [x.example]\nclients: [010.20.0.0/16]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [10.20.0.0/016]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [10.20.0.0/+16]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [10.20.0.0/255.255.0.0]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [10.20.0.0/]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [10.20]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [any]", "bad-cidr"),
        ("hosts: [x.example]\nclients: [\"10.20.0.0/16 \"]", "bad-cidr"),
        ("hosts: [x.example]\nupstream: [any]", "bad-cidr"),
        ("hosts: [x.example]\nupstream:", "wrong-type"),
        ("hosts: [x.example]\nports: [0443]", "wrong-type"),
        ("hosts: [x.example]\nports: [+443]", "wrong-type"),
        ("hosts: [x.example]\nports: [0x1bb]", "wrong-type"),
        ("hosts: [x.example]\nports: [1-65535]", "wrong-type"),
        ("hosts: [x.example]\nports: [\"443\"]", "wrong-type"),
        ("hosts: [x.example]\nports: [65536]", "wrong-type"),
        ("hosts: [x.example]\naction:", "wrong-type"),
        ("hosts: [x.example]\naction: denny", "unknown-word"),
        ("hosts: [x.example]\nmode: ", "wrong-type"),
        ("hosts: [x.example]\nexpires:", "wrong-type"),
        ("hosts: [x.example]\nexpires: never", "bad-date"),
        ("hosts: [x.example]\nexpires: 2027-3-31", "bad-date"),
        ("hosts: [x.example]\nexpires: 31-03-2027", "bad-date"),
        ("hosts: [x.example]\nexpires: 2027-03-31T18:00Z", "bad-date"),
        ("hosts: [x.example]\nexpires: 2027-03-31T18:00:00+09", "bad-date"),
        ("hosts: [x.example]\nexpires: 2027-03-31T18:00:00.Z", "bad-date"),
        ("hosts: [x.example]\nexpires: \"2027-03-31T18:00:00+09:00[Asia/Tokyo]\"", "bad-date"),
        ("hosts: [\"*\"]", "bad-host"),
        ("hosts: [\"*.\"]", "bad-host"),
        ("hosts: [.]", "bad-host"),
        ("hosts: [\"**.example\"]", "bad-host"),
        ("hosts: [\"a.*.example\"]", "bad-host"),
        ("hosts: [..example]", "bad-host"),
        ("hosts: [a.example b.example]", "bad-host"),
        ("hosts: [\"a.example,b.example\"]", "bad-host"),
        ("hosts: [a.example#, b.example]", "bad-host"),
        ("hosts: [.org]", "shared-suffix"),
        ("hosts: [\"*.jp\"]", "shared-suffix"),
        ("hosts: [\"*-123456789012-ap-northeast-1-an.example.com\"]", "bad-host"),
        ("hosts: [\"*-123456789012-ap-northeast-1-an.s3.us-east-1.amazonaws.com\"]", "bad-host"),
        ("hosts: [\"*-123456789012-x-an.s3.ap-northeast-1.amazonaws.com\"]", "bad-host"),
        ("hosts: [\"*-12345678901-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com\"]", "bad-host"),
        ("hosts: [\"*-123456789012-ap-northeast-9-an.s3.ap-northeast-9.amazonaws.com\"]", "unknown-region"),
        ("buckets: [{ name: \"*\", region: us-east-1 }]", "bad-bucket-name"),
        ("buckets: [{ name: \"*-123456789012\", region: us-east-1 }]", "bad-bucket-name"),
        ("buckets: [{ name: \"\", region: us-east-1 }]", "wrong-type"),
        ("buckets: [{ name: reports, region: \"\" }]", "wrong-type"),
        ("buckets: [{ name: reports, region: us-east-1, endpoints: [] }]", "empty-list"),
        ("acknowledge: [unknown_region]\nbuckets: [{ name: reports, region: dualstack.us-east-1 }]", "unknown-region"),
    ] {
        assert_eq!(outcome(lines, b"").0, [expected], "{lines}");
    }
}

#[test]
fn a_moved_line_is_no_condition_less() {
    let start = "version: 1\nrules:\n  - name: a\n    hosts: [x.example]\n";
    for tail in [
        "  clients: [10.0.0.0/8]\n",
        "clients: [10.0.0.0/8]\n",
        "  - clients: [10.0.0.0/8]\n",
        "    clients: [10.0.0.0/8]#x\n",
    ] {
        assert!(Policy::parse("p.yaml", &format!("{start}{tail}"), NOW).is_err(), "{tail}");
    }
}

#[test]
fn names_under_the_dual_stack_domain_are_linted_too() {
    for host in [
        "s3vectors.us-east-1.api.aws",
        "s3tables.eu-west-1.api.aws",
        "s3files-fips.us-east-1.api.aws",
        "s3-outposts.us-east-1.api.aws",
    ] {
        assert_eq!(outcome(&format!("hosts: [{host}]"), b"").0, ["path-style-host"], "{host}");
    }
    for host in [
        ".api.aws",
        ".aws",
        "\"*.us-east-1.api.aws\"",
        ".us-east-1.api.aws",
        ".api.amazonwebservices.com.cn",
        ".amazonwebservices.eu",
    ] {
        assert_eq!(outcome(&format!("hosts: [{host}]"), b"").0, ["any-bucket-pattern"], "{host}");
    }
    assert_eq!(outcome("hosts: [ssm.us-east-1.api.aws]", b"").0, [""; 0]);
}

#[test]
fn a_list_opens_no_more_than_in_squid() {
    for (list, faults, listed) in [
        ("a.example\nb.example", &[][..], &["a.example", "b.example"][..]),
        ("a.example\r\n.b.example\r\n", &[], &["a.example", ".b.example"]),
        ("a.example\r", &[], &["a.example"]),
        ("\u{feff}a.example\n", &[], &["a.example"]),
        ("  A.Example \t # c.example\n#d.example\n \t#e.example\n", &[], &["a.example"]),
        // What Squid takes for one name that matches nothing does not become two.
        ("a.example b.example", &["skipped-line"], &[]),
        ("a.example\t.b.example # c.example\n", &["skipped-line"], &[]),
        ("a.example\u{b}b.example", &["skipped-line"], &[]),
        ("a.example\u{c}", &["skipped-line"], &[]),
        ("a.example\u{a0}b.example", &["skipped-line"], &[]),
        ("a.example\u{3000}b.example", &["skipped-line"], &[]),
        ("a.example\u{2028}b.example", &["skipped-line"], &[]),
        ("a.example\rb.example\n", &["skipped-line"], &[]),
        ("a.example#b.example\n", &["skipped-line"], &[]),
        ("a.example,b.example\n", &["skipped-line"], &[]),
        ("\"a.example\"\n", &["skipped-line"], &[]),
        ("*.a.example\n", &["skipped-line"], &[]),
        ("*-123456789012-ap-northeast-1-an.s3.ap-northeast-1.amazonaws.com\n", &["skipped-line"], &[]),
        ("-n\n", &["skipped-line"], &[]),
        (".\n", &["skipped-line"], &[]),
        ("._x.example\n", &["skipped-line"], &[]),
        (".net\n", &["shared-suffix"], &[]),
    ] {
        let (codes, names) = outcome("hosts_files: [list]", list.as_bytes());
        assert_eq!(
            (&codes[..], names.iter().map(String::as_str).collect::<Vec<_>>()),
            (faults, listed.to_vec()),
            "{list:?}"
        );
    }
}

#[test]
fn a_fault_of_a_list_points_at_its_own_word() {
    let faults = rule("hosts_files: [list]", "as3.amazonaws.com\n\ts3.amazonaws.com # s3\n".as_bytes()).unwrap_err();
    let location = faults.iter().next().and_then(|fault| fault.location.clone()).unwrap();
    assert_eq!((location.line, location.column, location.length), (2, 2, 16));
}

#[test]
fn a_deny_rule_that_leaves_open_what_it_lists_is_an_error() {
    let policy = |deny: &str| {
        format!(
            "version: 1\nlint: {{ require: [] }}\nrules:\n  - name: all\n    hosts: [.example.org]\n  - name: not that\n    action: deny\n    {deny}\n"
        )
    };
    let load = |text: &str, list: &str| {
        let files = Memory(HashMap::from([("p.yaml", text.as_bytes()), ("list", list.as_bytes())]));
        match Policy::load_from(Path::new("p.yaml"), &files, NOW) {
            Ok(loaded) => loaded.warnings,
            Err(faults) => faults,
        }
    };
    let faults = load(&policy("hosts: [secret.example.org, other.example]"), "");
    let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.severity.label())).collect();
    assert_eq!(found, [("host-never-matches", "error")]);
    let faults = load(&policy("hosts_files: [list]"), "other.example\nb.example.org\nc.example.org\n");
    let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.severity.label(), &*fault.message)).collect();
    let message = "`b.example.org` and 1 more of the lists never get to this rule: `all` takes it first";
    assert_eq!(found, [("host-never-matches", "warning", message)]);
    // The other way round, the narrow rule comes first and all is well.
    let text = "version: 1\nlint: { require: [] }\nrules:\n  - { name: a, action: deny, hosts: [secret.example.org] }\n  - { name: b, hosts: [.example.org] }\n";
    assert!(load(text, "").is_empty());
}

#[test]
fn reading_stops_where_there_is_too_much() {
    use std::cell::Cell;
    struct Counting(Cell<usize>);
    impl Files for Counting {
        fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>, FileError> {
            self.0.set(self.0.get() + 1);
            Ok(if path == Path::new("p.yaml") {
                (0..50).fold("version: 1\nlint: { require: [] }\nrules:\n".to_owned(), |text, i| {
                    text + &format!("  - {{ name: r{i}, hosts_files: [l{i}, m{i}, n{i}] }}\n")
                })
            } else {
                (0..100).fold(String::new(), |text, i| text + &format!("h{i}.{}.example\n", path.display()))
            }
            .into_bytes())
        }
    }
    let codes = |caps: Caps| -> (Vec<&'static str>, usize) {
        let files = Counting(Cell::new(0));
        let result = Policy::load_capped(Path::new("p.yaml"), &files, NOW, caps);
        let codes = result.err().map(|faults| faults.iter().map(|fault| fault.code).collect()).unwrap_or_default();
        (codes, files.0.get())
    };
    assert_eq!(codes(Caps::default()), (vec![], 151));
    // The fifth list is too much: what follows is not read.
    assert_eq!(codes(Caps { names: 450, ..Caps::default() }), (vec!["too-many-names"], 6));
    assert_eq!(codes(Caps { list_names: 99, ..Caps::default() }).0, ["too-many-names"; 150]);
    assert_eq!(codes(Caps { rules: 49, ..Caps::default() }), (vec!["too-many-rules"], 148));
}
