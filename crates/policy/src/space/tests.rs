use crate::policy::Policy;

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;

fn digest(text: &str) -> String {
    match Policy::parse("policy.yaml", text, NOW) {
        Ok(loaded) => loaded.policy.digest().to_owned(),
        Err(faults) => panic!("{text}\n{faults}"),
    }
}

const BASE: &str = "
version: 1
rules:
  - name: reports
    expires: 2027-03-31
    clients: [10.20.0.0/16, 192.0.2.7]
    buckets: [{ name: reports, region: ap-northeast-1 }]
  - name: partners
    hosts: ['*.partner.example', .example.org, www.example.com]
    ports: [443, 8443]
  - name: not that
    action: deny
    hosts: [secret.example]
";

#[test]
fn spelling_comments_and_who_asked_do_not_change_it() {
    let base = digest(BASE);
    assert!(base.len() == 64 && base.bytes().all(|b| b.is_ascii_hexdigit()), "{base}");
    for (of, by) in [
        ("version: 1\n", "# on review\nversion: 1 # the first\n\n"),
        ("version: 1\n", "version: 1\nmode: enforce\non_revoke: keep\n"),
        ("\n", "\r\n"),
        ("2027-03-31", "2027-03-31T23:59:59Z"),
        ("2027-03-31", "2027-04-01T08:59:59.999+09:00"),
        ("[10.20.0.0/16, 192.0.2.7]", "[192.0.2.7/32, 10.20.0.0/17, 10.20.128.0/17]"),
        ("[10.20.0.0/16, 192.0.2.7]", "[192.0.2.7, '::ffff:10.20.0.0/112', 10.20.3.4]"),
        ("[{ name: reports, region: ap-northeast-1 }]", "\n      - region: ap-northeast-1\n        name: \"reports\""),
        ("region: ap-northeast-1", "region: ap-northeast-1, endpoints: [global, legacy, dualstack, regional]"),
        (
            "buckets: [{ name: reports, region: ap-northeast-1 }]",
            "hosts: [reports.s3.ap-northeast-1.amazonaws.com, REPORTS.s3.amazonaws.com, \
             reports.s3-ap-northeast-1.amazonaws.com, reports.s3.dualstack.ap-northeast-1.amazonaws.com]",
        ),
        (
            "['*.partner.example', .example.org, www.example.com]",
            "[WWW.Example.Com, .example.org, \"*.Partner.example\"]",
        ),
        ("[443, 8443]", "[8443, 443, 443]"),
        ("    ports", "    protocols: [tls]\n    ports"),
        ("    ports", "    owner: x@example.com\n    ticket: T-1\n    reason: because\n    ports"),
        ("    ports", "    upstream: public\n    action: allow\n    mode: enforce\n    ports"),
        ("    ports", "    ech: allow\n    on_mismatch: record\n    ports"),
        ("    hosts: [secret.example]", "    hosts: [secret.example]\n    ports: [443]"),
    ] {
        assert!(BASE.contains(of), "{of}");
        assert_eq!(digest(&BASE.replace(of, by)), base, "{by}");
    }
}

#[test]
fn what_decides_nothing_does_not_change_it() {
    let base = digest(BASE);
    // The order of rules that have nothing in common.
    let (head, rules) = BASE.split_once("  - name: reports").unwrap();
    let (first, last) = rules.split_once("  - name: not that").unwrap();
    assert_eq!(digest(&format!("{head}  - name: not that{last}  - name: reports{first}")), base);
    for (of, by) in [
        // Who says it.
        ("name: reports\n", "name: reports2\n"),
        // A name that a pattern of the same rule covers, and one that the same rule lists in another form.
        ("www.example.com]", "www.example.com, a.partner.example, x.y.example.org, example.org]"),
        ("www.example.com]", "www.example.com, '*.example.org']"),
        // One rule in two.
        (
            "    hosts: ['*.partner.example', .example.org, www.example.com]\n    ports: [443, 8443]\n",
            "    hosts: ['*.partner.example', www.example.com]\n    ports: [443, 8443]\n  \
             - { name: two, hosts: [.example.org], ports: [8443] }\n  - { name: three, hosts: [.example.org] }\n",
        ),
        // The same for some endpoints before it is said for all.
        (
            "  - name: partners\n",
            "  - { name: two, hosts: [www.example.com], vpc_endpoints: [vpce-0a1b2c3d] }\n  - name: partners\n",
        ),
    ] {
        assert!(BASE.contains(of), "{of}");
        assert_eq!(digest(&BASE.replacen(of, by, 1)), base, "{by}");
    }
}

#[test]
fn everything_that_changes_a_decision_changes_it() {
    let mut all = vec![digest(BASE)];
    for (of, by) in [
        ("version: 1\n", "version: 1\nmode: audit\n"),
        ("version: 1\n", "version: 1\non_revoke: close\n"),
        ("2027-03-31", "2027-03-30"),
        ("2027-03-31", "2027-03-31T23:59:58Z"),
        ("    expires: 2027-03-31\n", ""),
        ("10.20.0.0/16", "10.20.0.0/17"),
        ("10.20.0.0/16", "10.21.0.0/16"),
        (", 192.0.2.7", ""),
        ("    clients: [10.20.0.0/16, 192.0.2.7]\n", ""),
        ("clients: [10.20.0.0/16, 192.0.2.7]", "upstream: [10.20.0.0/16, 192.0.2.7]"),
        ("name: reports, region", "name: report, region"),
        ("ap-northeast-1", "ap-northeast-3"),
        ("region: ap-northeast-1", "region: ap-northeast-1, endpoints: [regional]"),
        (
            "region: ap-northeast-1",
            "region: ap-northeast-1, endpoints: [regional, dualstack, legacy, global, accelerate]",
        ),
        ("'*.partner.example'", ".partner.example"),
        ("'*.partner.example'", "partner.example"),
        (".example.org", "'*.example.org'"),
        ("www.example.com", "ww.example.com"),
        (", www.example.com", ""),
        ("[443, 8443]", "[443]"),
        ("[443, 8443]", "[443, 8444]"),
        ("    ports", "    protocols: [http]\n    ports"),
        ("    ports", "    protocols: [http, tls]\n    ports"),
        ("    ports", "    upstream: any\n    ports"),
        ("    ports", "    ech: log\n    ports"),
        ("    ports", "    ech: deny\n    ports"),
        ("    ports", "    on_mismatch: refuse\n    ports"),
        ("    ports", "    vpc_endpoints: [vpce-0a1b2c3d]\n    ports"),
        ("    ports", "    vpc_endpoints: [vpce-0a1b2c3d, vpce-0a1b2c3d4e5f67890]\n    ports"),
        ("    ports", "    upstream: [10.0.0.0/8]\n    ports"),
        ("    ports", "    mode: audit\n    ports"),
        ("    ports", "    action: deny\n    ports"),
        ("    action: deny\n", ""),
        ("    action: deny\n", "    action: deny\n    mode: audit\n"),
    ] {
        assert!(BASE.contains(of), "{of}");
        all.push(digest(&BASE.replacen(of, by, 1)));
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "two different policies have one digest");
}

#[test]
fn a_name_cannot_run_into_the_next_rule() {
    // Were names and bodies only strung together, another cut of the same bytes would have the same digest.
    let one = digest("version: 1\nrules:\n  - { name: a, hosts: [x.example] }\n");
    let two = digest("version: 1\nrules:\n  - { name: a, hosts: [x.example] }\n  - { name: b, hosts: [y.example] }\n");
    assert_ne!(one, two);
    assert_ne!(one, digest("version: 1\nrules: []\n"));
}

#[test]
fn the_clock_does_not_change_it() {
    let text = "version: 1\nrules:\n  - { name: a, expires: 2026-01-31, hosts: [x.example] }\n";
    let at = |now| Policy::parse("policy.yaml", text, now).unwrap().policy.digest().to_owned();
    assert_eq!(at(0), at(i64::MAX));
}

#[test]
fn it_is_the_same_in_every_build() {
    // A change here makes nodes of two versions differ in metrics and alerts: write it into the changelog.
    let empty = digest("version: 1\nrules: []\n");
    // SHA-256 of "sekisho policy 2\nenforce\nkeep\n".
    assert_eq!(empty, "3e7fdb31862a7f755f838ce70bb5d2c87f3f086362a0b6c932e0a6e06dfdffc0");
    assert_eq!(digest(BASE), "b167b9ffd7bdd182f080ecc25ffcd2847dd75d8fe760380846ce1157e34f0deb");
}

#[test]
fn all_clients_are_all_clients_however_they_are_written() {
    let with = |clients: &str| digest(&format!("version: 1\nrules:\n  - {{ name: a, hosts: [a.example]{clients} }}\n"));
    let of = |nets: &[String]| with(&format!(", clients: [{}]", nets.join(", ")));
    let everybody = ["0.0.0.0/0".to_owned(), "'::/0'".to_owned()];
    assert_eq!(of(&everybody), with(""));
    assert_ne!(of(&everybody[..1]), with(""));
    // IPv6 without the addresses that carry IPv4 ones, which no client ever has there.
    let mapped = u128::from(std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));
    let others = (1..=96).map(|length| {
        let bit = 1_u128 << (128 - length);
        format!("'{}/{length}'", std::net::Ipv6Addr::from((mapped ^ bit) & !(bit - 1)))
    });
    let mut nets: Vec<String> = others.collect();
    assert_eq!(of(&nets), of(&everybody[1..]));
    nets.push("0.0.0.0/0".to_owned());
    assert_eq!(of(&nets), with(""));
    nets.remove(40);
    assert_ne!(of(&nets), with(""));
    let upstream = |upstream: &str| with(&format!(", upstream: {upstream}"));
    assert_eq!(upstream("[0.0.0.0/0, '::/0']"), upstream("any"));
    assert_ne!(upstream("[0.0.0.0/0]"), upstream("any"));
}

#[test]
fn a_long_list_is_few_behaviours() {
    let policy = |more: &str| {
        let hosts: Vec<String> = (0..20_000).map(|i| format!("h{i}.example")).collect();
        let text = format!(
            "version: 1\nrules:\n  - {{ name: a, clients: [10.0.0.0/8], hosts: [{0}] }}\n  \
             - {{ name: b, ports: [443, 8443], hosts: [{0}{more}] }}\n  - {{ name: c, hosts: [.example] }}\n",
            hosts.join(", ")
        );
        Policy::parse("policy.yaml", &text, NOW).unwrap().policy
    };
    let (old, new) = (policy(""), policy(", one.test"));
    let (mut space, mut regions) = (super::Space::default(), super::regions::Regions::new(&old));
    for entry in 0..old.index.len() {
        for (shape, name) in super::regions::made_by(&old.index, entry) {
            regions.pair(&mut space, shape, name);
        }
    }
    // Those of a and b and c together, of c alone, and of nothing.
    assert_eq!(space.behaviours.all.len(), 3);
    let diff = old.diff(&new);
    let [change] = diff.changes.as_slice() else { panic!("{diff}") };
    assert_eq!(change.names.len(), 1);
    assert_eq!(change.names[0].witness, "one.test");
    // Taken away as a whole, what c allowed besides is left: the names are one pattern's exceptions no more.
    assert!(new.diff(&old).changes.iter().all(|change| change.effect == crate::Effect::Shuts));
}

#[test]
fn where_no_name_is_left_the_digest_may_say_more_than_the_difference() {
    // One label of one character fits before this domain, and one policy lists them all.
    let domain =
        [&"d".repeat(63), &"d".repeat(63), &"d".repeat(63), "d".repeat(59).as_str()].map(String::from).join(".");
    assert_eq!(domain.len(), 251);
    let all: Vec<String> = ('a'..='z').chain('0'..='9').map(|c| format!("{c}.{domain}")).collect();
    let policy = |hosts: &str| {
        Policy::parse("policy.yaml", &format!("version: 1\nrules:\n  - {{ name: a, hosts: [{hosts}] }}\n"), NOW)
            .unwrap()
            .policy
    };
    let (pattern, listed) = (policy(&format!("'*.{domain}'")), policy(&all.join(", ")));
    assert!(pattern.diff(&listed).is_empty());
    assert_ne!(pattern.digest(), listed.digest());
    // With one of them missing, that one is the difference.
    let diff = pattern.diff(&policy(&all[1..].join(", ")));
    assert_eq!(diff.changes[0].names[0].witness, all[0]);
}
