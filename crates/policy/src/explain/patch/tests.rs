use sekisho_name::Name;

use super::*;

const NOW: i64 = 1_795_521_600;

const POLICY: &str = "\
version: 1
rules:
  - name: reports
    clients: [10.20.0.0/16]
    buckets:
      - { name: reports, region: ap-northeast-1 }
  - name: old
    clients: [10.20.0.0/16]
    expires: 2026-01-31     # for the audit
    hosts: [old.example]
  - name: partners
    hosts: [www.partner.example, shop.partner.example]
  - name: shut
    action: deny
    owner: sec@example.com
    hosts: [secret.example]
# The end.
";

struct Text<'a>(&'a str);

impl Files for Text<'_> {
    fn read(&self, path: &Path, _: usize) -> Result<Vec<u8>, FileError> {
        assert_eq!(path, Path::new("dir/policy.yaml"));
        Ok(self.0.as_bytes().to_vec())
    }
}

/// The lines that the patch of a policy adds and removes, or why there is none.
fn patched(policy: &str, host: &str, client: &str, port: u16, protocol: Protocol) -> String {
    let name = Name::parse(host).unwrap();
    let request =
        Request { name: &name, client: client.parse().unwrap(), port, protocol, now: NOW, vpce: None, ech: false };
    let path = Path::new("dir/policy.yaml");
    match Policy::patch(path, &Text(policy), &request, false) {
        Err(why) => why,
        Ok(None) => "allowed".to_owned(),
        Ok(Some(patch)) => {
            // What the patch says is what its text does.
            let new = applied(policy, &patch.diff);
            let new = Policy::load_from(path, &Text(&new), NOW).unwrap().policy;
            assert!(matches!(new.decide(&request), Decision::Allow { .. }), "{}", patch.diff);
            let changed = patch.diff.lines().skip(2).filter(|line| line.starts_with(['+', '-']));
            changed.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Applies a patch of one hunk, as `patch` does: it must stand where it says.
fn applied(text: &str, diff: &str) -> String {
    let mut lines = diff.split_inclusive('\n').skip(2);
    let header = lines.next().unwrap();
    let start: usize = header[4..].split([',', ' ']).next().unwrap().parse().unwrap();
    let old: Vec<&str> = text.split_inclusive('\n').collect();
    let start = start.saturating_sub(1);
    let (mut at, mut out) = (start, old[..start].concat());
    for line in lines {
        match line.split_at(1) {
            (" ", rest) => {
                assert_eq!(old[at], rest);
                out.push_str(rest);
                at += 1;
            }
            ("-", rest) => {
                assert_eq!(old[at].trim_end_matches('\n'), rest.trim_end_matches('\n'));
                at += 1;
            }
            ("+", rest) => out.push_str(rest),
            _ => assert_eq!(line, "\\ No newline at end of file\n"),
        }
    }
    out + &old[at..].concat()
}

#[test]
fn the_shortest_edit_is_found() {
    let tls = |host, client| patched(POLICY, host, client, 443, Protocol::Tls);
    assert_eq!(tls("reports.s3.ap-northeast-1.amazonaws.com", "10.20.0.1"), "allowed");
    // Another form, another region, of a bucket that a rule has.
    assert_eq!(
        tls("reports.s3-fips.us-east-1.amazonaws.com", "10.20.0.1"),
        "+      - { name: reports, region: us-east-1, endpoints: [fips] }"
    );
    // A client outside: nothing but that one bucket opens.
    assert_eq!(
        tls("reports.s3.ap-northeast-1.amazonaws.com", "10.99.0.1"),
        "-    clients: [10.20.0.0/16]\n+    clients: [10.20.0.0/16, 10.99.0.1]"
    );
    assert_eq!(
        tls("reports.s3.ap-northeast-1.amazonaws.com", "2001:db8::1"),
        "-    clients: [10.20.0.0/16]\n+    clients: [10.20.0.0/16, '2001:db8::1']"
    );
    assert_eq!(
        tls("old.example", "10.20.0.1"),
        "-    expires: 2026-01-31     # for the audit\n+    expires: 2026-11-24     # for the audit"
    );
    assert_eq!(
        tls("api.partner.example", "10.20.0.1"),
        "-    hosts: [www.partner.example, shop.partner.example]\n\
         +    hosts: [www.partner.example, shop.partner.example, api.partner.example]"
    );
    // Nothing is near, so it gets a rule, after the last one and before what follows.
    assert_eq!(
        tls("new.example.org", "10.20.0.1"),
        "+  - name: new.example.org for 10.20.0.1\n+    clients: [10.20.0.1]\n+    hosts: [new.example.org]"
    );
    assert_eq!(
        patched(POLICY, "shop.partner.example", "10.20.0.1", 8443, Protocol::Tls),
        "+  - name: shop.partner.example for 10.20.0.1\n+    clients: [10.20.0.1]\n+    ports: [8443]\n+    hosts: [shop.partner.example]"
    );
    assert_eq!(
        patched(POLICY, "shop.partner.example", "10.20.0.1", 80, Protocol::Http),
        "+  - name: shop.partner.example for 10.20.0.1\n+    clients: [10.20.0.1]\n+    protocols: [http]\n+    hosts: [shop.partner.example]"
    );
}

#[test]
fn what_no_edit_should_open_is_said() {
    for (host, why) in [
        ("s3.ap-northeast-1.amazonaws.com", "addressing_style"),
        ("a.b.s3.ap-northeast-1.amazonaws.com", "Copy the data"),
        ("secret.example", "Ask sec@example.com"),
    ] {
        let said = patched(POLICY, host, "10.20.0.1", 443, Protocol::Tls);
        assert!(said.starts_with("no edit is safe: ") && said.contains(why), "{said}");
    }
    // A claim of the policy itself.
    let claimed = format!("{POLICY}tests:\n  - {{ refuse: new.example.org }}\n");
    let said = patched(&claimed, "new.example.org", "10.20.0.1", 443, Protocol::Tls);
    assert!(said.starts_with("`check` refuses the edit: "), "{said}");
}

#[test]
fn every_layout_of_a_policy_can_be_edited() {
    for (policy, host, expected) in [
        (
            "version: 1\nrules: []\n",
            "a.example",
            "-rules: []\n+rules:\n+  - name: a.example for 10.0.0.1\n+    clients: [10.0.0.1]\n+    hosts: [a.example]",
        ),
        (
            "version: 1\nrules:\n- name: a\n  hosts:\n  - b.a.example\n  - c.a.example # last",
            "d.a.example",
            "-  - c.a.example # last\n+  - c.a.example # last\n+  - d.a.example",
        ),
        (
            "version: 1\r\nrules:\r\n  - { name: a, hosts: [ b.a.example ] }\r\n",
            "d.a.example",
            "-  - { name: a, hosts: [ b.a.example ] }\n+  - { name: a, hosts: [ b.a.example, d.a.example ] }",
        ),
        (
            "version: 1\nrules:\n  - name: a\n    hosts: [\n      \"b.a.example\",\n      ]\n    # more\nmode: enforce\n",
            "d.a.example",
            "-      \"b.a.example\",\n+      \"b.a.example\", d.a.example,",
        ),
        (
            "version: 1\nrules:\n  - name: a\n    buckets:\n      - name: reports\n        region: us-east-1\n        endpoints: [regional]\n  - { name: b, hosts: [x.example] }\n",
            "reports.s3-us-west-2.amazonaws.com",
            "+      - { name: reports, region: us-west-2, endpoints: [legacy] }",
        ),
    ] {
        assert_eq!(patched(policy, host, "10.0.0.1", 443, Protocol::Tls), expected, "{policy}");
    }
}

#[test]
fn without_a_client_nothing_is_opened_to_all_where_clients_are_told_apart() {
    let name = Name::parse("new.example.org").unwrap();
    let request = Request {
        name: &name,
        client: "127.0.0.1".parse().unwrap(),
        port: 443,
        protocol: Protocol::Tls,
        now: NOW,
        vpce: None,
        ech: false,
    };
    let ask = |policy| Policy::patch(Path::new("dir/policy.yaml"), &Text(policy), &request, true);
    assert!(ask(POLICY).unwrap_err().contains("--from"));
    let patch = ask("version: 1\nrules:\n  - { name: a, hosts: [a.example] }\n").unwrap().unwrap();
    assert!(patch.diff.ends_with("+  - name: new.example.org\n+    hosts: [new.example.org]\n"), "{}", patch.diff);
    assert_eq!(patch.opens, ["new.example.org: tls 443, from anybody"]);
}

#[test]
fn what_was_allowed_for_a_time_does_not_become_allowed_for_good() {
    let about = |policy: &str, host: &str, client: &str| {
        let name = Name::parse(host).unwrap();
        let request = Request {
            name: &name,
            client: client.parse().unwrap(),
            port: 443,
            protocol: Protocol::Tls,
            now: NOW,
            vpce: None,
            ech: false,
        };
        let patch = Policy::patch(Path::new("dir/policy.yaml"), &Text(policy), &request, false).unwrap().unwrap();
        let later = Request { now: NOW + 86_400, ..request };
        let new = applied(policy, &patch.diff);
        let new = Policy::load_from(Path::new("dir/policy.yaml"), &Text(&new), NOW).unwrap().policy;
        assert!(matches!(new.decide(&later), Decision::Refuse { .. }), "{}", patch.diff);
        (patch.about, patch.diff)
    };
    // It can be renewed.
    let (renewed, _) = about(POLICY, "old.example", "10.20.0.1");
    assert!(renewed.starts_with("the rule `old` through the day of the request"), "{renewed}");
    // Renewing would open more: another name of the rule's.
    let two = POLICY.replace("[old.example]", "[old.example, older.example]");
    // A rule that is for good, for others, is no place for this client.
    let others = two.replace(
        "  - name: partners",
        "  - name: others\n    clients: [10.30.0.0/16]\n    hosts: [old.example]\n  - name: partners",
    );
    assert_ne!(others, two);
    // For another client, too.
    for (policy, host, client) in
        [(&two, "old.example", "10.20.0.1"), (&two, "old.example", "10.99.0.1"), (&others, "old.example", "10.20.0.1")]
    {
        let (own, diff) = about(policy, host, client);
        assert!(
            own.starts_with("a rule of its own through the day of the request, because the rule `old` at "),
            "{own}"
        );
        assert!(diff.contains("+    expires: 2026-11-24\n"), "{diff}");
    }
    // The same domain's other rule would be the shortest edit for a name that nobody had for a time.
    let domain = POLICY.replace("old.example", "old.partner.example, older.partner.example");
    let (own, _) = about(&domain, "old.partner.example", "10.20.0.1");
    assert!(own.starts_with("a rule of its own"), "{own}");
    assert_eq!(
        patched(&domain, "new.partner.example", "10.20.0.1", 443, Protocol::Tls),
        "-    hosts: [www.partner.example, shop.partner.example]\n+    hosts: [www.partner.example, shop.partner.example, new.partner.example]"
    );
}
