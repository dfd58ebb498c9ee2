//! Squid itself, asked what the policies that are made from its files and for it are asked: they decide alike, and each
//! difference is one that is listed here.

mod load;
mod moving;
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use sekisho_name::Name;
use sekisho_policy::import::{From, import};
use sekisho_policy::{Decision, Disk, Policy, Protocol, Request};

use program::{Asked, Squid};

const NOW: i64 = 1_795_521_600;

/// Names that Squid and the lists of the tests are about.
const LABELS: &[&str] = &["a", "b", "www", "x-1", "deep", "s3", "reports", "ap-northeast-1", "A", "a_b"];
const TAILS: &[&str] = &["example", "x.test", "partner.example", "amazonaws.com", "s3.ap-northeast-1.amazonaws.com"];

/// Why Squid lets a name through that the policy does not. There is nothing that only the policy lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// No pattern of a policy matches a label with an underscore: an exact name must be listed.
    Underscore,
    /// A trailing dot, or whatever else no server name may be: refused before the policy is asked.
    NoServerName,
    /// A name in which any bucket could be chosen; the import says so in a comment.
    PinsNoBucket,
}

/// A small generator of numbers: the same names in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn name(&mut self) -> String {
        let mut name = self.of(TAILS).to_owned();
        for _ in 0..self.below(4) {
            name = format!("{}.{name}", self.of(LABELS));
        }
        if self.below(40) == 0 { format!("{name}.") } else { name }
    }
}

fn decide(policy: &Policy, asked: &Asked) -> bool {
    let Ok(name) = Name::parse(&asked.host) else { return false };
    let protocol = if asked.connect { Protocol::Tls } else { Protocol::Http };
    let request =
        Request { name: &name, client: asked.client, port: asked.port, protocol, now: NOW, vpce: None, ech: false };
    matches!(policy.decide(&request), Decision::Allow { .. })
}

/// Compares over all that is asked; counts the differences that are listed, and fails on any other.
fn compare(asked: &[Asked], squid: &[bool], policy: &Policy) -> Result<BTreeMap<Difference, usize>> {
    let mut differences = BTreeMap::new();
    let mut open = 0;
    for (asked, squid) in asked.iter().zip(squid) {
        let own = decide(policy, asked);
        open += usize::from(own);
        if own == *squid {
            continue;
        }
        ensure!(!own, "only the policy lets through {asked:?}");
        let aws = asked.host.ends_with(".amazonaws.com") || asked.host == "amazonaws.com";
        let difference = match Name::parse(&asked.host) {
            Err(_) => Difference::NoServerName,
            Ok(name) if name.has_underscore() => Difference::Underscore,
            Ok(_) if aws => Difference::PinsNoBucket,
            Ok(_) => anyhow::bail!("only Squid lets through {asked:?}"),
        };
        *differences.entry(difference).or_default() += 1;
    }
    let share = open * 100 / asked.len().max(1);
    ensure!((2..98).contains(&share), "{open} of {} are let through, which shows little", asked.len());
    println!("{} questions, {open} let through by both, differences {differences:?}", asked.len());
    Ok(differences)
}

fn imported(path: &Path) -> Result<Policy> {
    let made = import(From::Squid, path, &Disk, NOW)?;
    let policy =
        Policy::parse("policy.yaml", &made.text, NOW).map_err(|faults| anyhow::anyhow!("{faults}\n{}", made.text))?;
    Ok(policy.policy)
}

fn connects(hosts: impl IntoIterator<Item = String>) -> Vec<Asked> {
    let client = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 2));
    hosts.into_iter().map(|host| Asked { host, client, port: 443, connect: true }).collect()
}

#[test]
fn an_imported_list_decides_over_ten_thousand_names_as_squid_does() -> Result<()> {
    let lab = Lab::new("squid-list")?;
    let mut numbers = Numbers(0x5e15);
    let mut list = String::from("# names\n.s3.ap-northeast-1.amazonaws.com\n\n");
    // Squid does not start where an entry lies in another's domain.
    let mut hosts = BTreeSet::new();
    let mut domains = vec!["s3.ap-northeast-1.amazonaws.com".to_owned()];
    let under = |a: &str, b: &str| a == b || a.ends_with(&format!(".{b}"));
    for _ in 0..400 {
        let name = numbers.name().trim_end_matches('.').to_ascii_lowercase();
        if domains.iter().any(|domain| under(&name, domain)) {
            continue;
        }
        if numbers.below(4) > 0 {
            list.extend([name.as_str(), "\n"]);
            hosts.insert(name);
        } else if hosts.iter().chain(&domains).all(|other| !under(other, &name)) {
            list.extend([".", name.as_str(), "  # and all below\n"]);
            domains.push(name);
        }
    }
    ensure!(domains.len() > 8, "hardly any domain: {domains:?}");
    let path = lab.directory().join("list");
    fs::write(&path, &list)?;
    let rules =
        format!("acl list dstdomain -n \"{}\"\nhttp_access allow CONNECT list\nhttp_access deny all\n", path.display());
    let squid = Squid::start(&lab, &rules)?;

    let asked = connects((0..10_000).map(|_| numbers.name()));
    let said = squid.ask_all(&asked)?;
    let differences = compare(&asked, &said, &imported(&path)?)?;
    for listed in [Difference::Underscore, Difference::NoServerName, Difference::PinsNoBucket] {
        ensure!(differences.contains_key(&listed), "{listed:?} is listed as a difference, and there is none");
    }

    // The same list, unchanged, under a rule that accepts the names that pin no bucket: one difference less.
    let text = "version: 1\nrules:\n  - { name: list, reason: as it was, hosts_files: [list], acknowledge: [path_style, shared_suffix, unknown_region] }\n";
    fs::write(lab.directory().join("policy.yaml"), text)?;
    let policy =
        Policy::load(&lab.directory().join("policy.yaml"), NOW).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let differences = compare(&asked, &said, &policy.policy)?;
    ensure!(!differences.contains_key(&Difference::PinsNoBucket), "{differences:?}");
    Ok(())
}

#[test]
fn the_lines_of_a_list_are_read_as_squid_reads_them() -> Result<()> {
    let lab = Lab::new("squid-lines")?;
    let lines = "a1.test b1.test\n a2.test\t\nb2.test\tc2.test\na3.test\x0bb3.test\na4.test\x0cb4.test\na5.test\x0b\n\x0ca6.test\n\
                 a7.test\r\na8.test\rb8.test\n#a9.test\na10.test#b10.test\na11.test #b11.test\na12.test\t# b12.test c12.test\n\
                 A13.Test\n.a14.test\n..a15.test\n*.a16.test\n\"a17.test\"\n-n a18.test\na19.test.\n\u{a0}a20.test\n\
                 a21.test\u{2028}b21.test\na22.test \\\nb22.test\n a23.test b23.test # c23.test\n.a24.test.\na25_a.test\n";
    let path = lab.directory().join("list");
    fs::write(&path, lines)?;
    let rules =
        format!("acl list dstdomain -n \"{}\"\nhttp_access allow CONNECT list\nhttp_access deny all\n", path.display());
    let squid = Squid::start(&lab, &rules)?;
    let numbers = 1..=25;
    let asked = connects(numbers.flat_map(|n| {
        let one = |letter: &str| format!("{letter}{n}.test");
        [one("a"), one("b"), one("c"), one("x.a"), format!("a{n}_a.test")]
    }));
    let said = squid.ask_all(&asked)?;
    let text = "version: 1\nrules:\n  - { name: list, hosts_files: [list] }\n";
    fs::write(lab.directory().join("policy.yaml"), text)?;
    let policy =
        Policy::load(&lab.directory().join("policy.yaml"), NOW).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let differences = compare(&asked, &said, &policy.policy)?;
    ensure!(differences.len() <= 1 && !differences.contains_key(&Difference::PinsNoBucket), "{differences:?}");
    let differences = compare(&asked, &said, &imported(&path)?)?;
    ensure!(differences.len() <= 1, "{differences:?}");
    Ok(())
}

/// Questions over clients, ports and methods too.
fn mixed(numbers: &mut Numbers, count: usize) -> Vec<Asked> {
    let one = |_| {
        let host = numbers.name();
        let client = IpAddr::V4(Ipv4Addr::new(10, 20, 0, u8::try_from(2 + numbers.below(8)).unwrap_or(2)));
        let port = [443, 443, 80, 8443, 25][numbers.below(5)];
        Asked { host, client, port, connect: numbers.below(3) > 0 }
    };
    (0..count).map(one).collect()
}

#[test]
fn an_imported_configuration_decides_by_order_client_port_and_method_as_squid_does() -> Result<()> {
    let lab = Lab::new("squid-conf")?;
    let list = lab.directory().join("whitelist-domain");
    fs::write(&list, "# the seed's list\n.x.test\na.example\nwww.example\n.b.example\n")?;
    let rules = format!(
        "acl SSL_ports port 443 8443\nacl Safe_ports port 80 443 8443\nacl apps src 10.20.0.2-10.20.0.5\nacl apps src 10.20.0.8/31\n\
         acl banned src 10.20.0.4\nacl admins src 10.20.0.6/255.255.255.255\nacl secret dstdomain .deep.x.test\nacl plain port 80\n\
         acl whitelist dstdomain \"{}\"\nacl partner dstdomain .partner.example \\\n  .deep.x.test\nacl office time 09:00-17:00\n\
         http_access deny !Safe_ports\nhttp_access deny CONNECT !SSL_ports\nhttp_access deny manager\nhttp_access deny banned\n\
         http_access allow admins partner\nhttp_access deny secret\nhttp_access deny to_localhost\n\
         http_access allow CONNECT whitelist apps\nhttp_access allow whitelist apps !CONNECT plain\n\
         http_access deny all\n",
        list.display()
    );
    let path = lab.directory().join("imported.conf");
    fs::write(&path, &rules)?;
    let squid = Squid::start(&lab, &rules)?;
    let mut numbers = Numbers(0x5e1);
    let asked = mixed(&mut numbers, 10_000);
    let said = squid.ask_all(&asked)?;
    compare(&asked, &said, &imported(&path)?)?;
    Ok(())
}

#[test]
fn a_list_by_exclusion_is_carried_over() -> Result<()> {
    let lab = Lab::new("squid-not")?;
    // The other common way to write it: whatever is not listed is denied, and then everybody inside is let through.
    let rules = "acl allowed dstdomain .x.test a.example .b.example\nacl inside src 10.20.0.0/29\nacl fine port 443\n\
                 http_access deny !fine\nhttp_access deny !CONNECT\nhttp_access deny !allowed\nhttp_access allow inside\n\
                 http_access deny all\n";
    let path = lab.directory().join("imported.conf");
    fs::write(&path, rules)?;
    let squid = Squid::start(&lab, rules)?;
    let mut numbers = Numbers(77);
    let asked = mixed(&mut numbers, 4_000);
    let said = squid.ask_all(&asked)?;
    compare(&asked, &said, &imported(&path)?)?;
    Ok(())
}

#[test]
fn an_exported_policy_decides_in_squid_as_it_does_here() -> Result<()> {
    let lab = Lab::new("squid-export")?;
    let text = "version: 1\nrules:\n  - { name: not that, action: deny, hosts: [.deep.x.test] }\n  \
                - { name: apps, clients: [10.20.0.2/31, 10.20.0.7], hosts: [\"*.x.test\", .b.example, a_b.example], ports: [443, 8443] }\n  \
                - { name: plain, protocols: [http], hosts: [.example] , clients: [10.20.0.0/29] }\n  \
                - { name: not b, action: deny, hosts: [b.partner.example], protocols: [tls, http] }\n  \
                - { name: partner, hosts: [.partner.example, a.example], protocols: [tls, http] }\n  \
                - name: reports\n    buckets: [{ name: reports, region: ap-northeast-1 }]\n";
    let loaded = Policy::parse("policy.yaml", text, NOW).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let squid = Squid::start(&lab, &loaded.policy.squid(NOW).text)?;
    let mut numbers = Numbers(0xe0);
    let asked = mixed(&mut numbers, 10_000);
    let said = squid.ask_all(&asked)?;
    let differences = compare(&asked, &said, &loaded.policy)?;
    // Squid takes the dot at the end of a name for nothing; a hello with one is refused.
    ensure!(differences.keys().all(|difference| *difference == Difference::NoServerName), "{differences:?}");
    Ok(())
}

#[test]
fn an_exported_list_is_one_that_squid_takes_and_opens_nothing_else() -> Result<()> {
    let lab = Lab::new("squid-list-export")?;
    let text = "version: 1\nrules:\n  - { name: not that, action: deny, hosts: [.deep.x.test] }\n  \
                - { name: all, hosts: [.x.test, .b.example, www.b.example, a.example, \"*.partner.example\"] }\n";
    let loaded = Policy::parse("policy.yaml", text, NOW).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let list = lab.directory().join("allowed");
    fs::write(&list, loaded.policy.squid_list(&[], NOW).text)?;
    let rules = format!(
        "acl allowed dstdomain -n \"{}\"\nhttp_access allow CONNECT allowed\nhttp_access deny all\n",
        list.display()
    );
    let squid = Squid::start(&lab, &rules)?;
    let mut numbers = Numbers(0x115);
    let asked = connects((0..2_000).map(|_| numbers.name()));
    let said = squid.ask_all(&asked)?;
    let mut open = 0;
    for (asked, squid) in asked.iter().zip(said) {
        let name = Name::parse(&asked.host).ok();
        let odd = name.is_none_or(|name| name.has_underscore());
        ensure!(!squid || odd || decide(&loaded.policy, asked), "only Squid lets through {asked:?}");
        open += usize::from(squid);
    }
    ensure!(open > 20, "{open} names are let through");
    let log = squid.log()?;
    ensure!(!log.contains("WARNING: '") && !log.contains("ERROR"), "{log}");
    fs::metadata(&list).context("the list").map(drop)
}

/// Lines at random: what they mean together, and which of it a policy can say, is nobody's choice.
#[test]
fn no_configuration_at_random_lets_more_through_here_than_in_squid() -> Result<()> {
    const ACLS: &str = "acl n1 dstdomain .x.test a.example\nacl n2 dstdomain www.example .b.example deep.x.test\n\
                        acl n3 dstdomain .deep.x.test .partner.example a.example\nacl s1 src 10.20.0.2-10.20.0.4\n\
                        acl s2 src 10.20.0.4/30\nacl p1 port 443 8443\nacl p2 port 80 443\nacl m1 method GET\n";
    const WORDS: &[&str] = &["n1", "n2", "n3", "n1", "n2", "s1", "s2", "p1", "p2", "CONNECT", "m1", "all", "manager"];
    let lab = Lab::new("squid-random")?;
    let mut numbers = Numbers(0xacce);
    let (mut both, mut only_squid) = (0, 0);
    let rounds = if std::env::var_os("SEKISHO_LONG").is_some() { 200 } else { 16 };
    for round in 0..rounds {
        let mut rules = ACLS.to_owned();
        for _ in 0..2 + numbers.below(6) {
            rules += if numbers.below(5) < 3 { "http_access allow" } else { "http_access deny" };
            for _ in 0..=numbers.below(3) {
                rules += if numbers.below(4) == 0 { " !" } else { " " };
                rules += numbers.of(WORDS);
            }
            rules.push('\n');
        }
        let path = lab.directory().join(format!("random-{round}.conf"));
        fs::write(&path, &rules)?;
        let policy = imported(&path)?;
        let squid = Squid::start(&lab, &rules)?;
        let asked = mixed(&mut numbers, 500);
        for (asked, squid) in asked.iter().zip(squid.ask_all(&asked)?) {
            let own = decide(&policy, asked);
            ensure!(squid || !own, "only the policy lets through {asked:?} of\n{rules}");
            both += usize::from(own);
            only_squid += usize::from(squid && !own);
        }
    }
    println!("{both} let through by both, {only_squid} by Squid only");
    ensure!(both > 100, "{both} were let through by both, which shows little");
    Ok(())
}
