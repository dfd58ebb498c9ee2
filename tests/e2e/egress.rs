//! What goes round the gate: every way out of a client is tried by `sekisho audit egress`, before and after the printed
//! rules, and what a user's program cannot send by hand.

mod doh;
mod protocols;
mod quic;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options, UID};
use lab::net::exported;
use lab::netns::Netns;
use lab::process::Process;
use lab::{gate_binary, reachable};
use serde_json::Value;

/// A host outside, which answers on every port that is tried.
const OUTSIDE: [&str; 2] = ["198.18.5.5", "2001:db8:18::5:5"];

/// What an audit tries towards each: TCP ports, two more greetings on 443, UDP ports, an echo.
const WAYS: usize = 8 + 2 + 5 + 1;

/// How packet rules are loaded, and taken away.
struct Rules {
    load: Vec<String>,
    undo: Vec<String>,
}

impl Rules {
    fn nftables(lab: &Lab, arguments: &[&str], table: &str) -> Result<Self> {
        let file = exported(lab, "nftables", arguments)?;
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        Ok(Self { load: words(format!("nft -f {file}")), undo: words(format!("nft delete table inet {table}")) })
    }

    fn iptables(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let file = exported(lab, "iptables", arguments)?;
        let words = |word: &str| ["sh", &file, word].map(str::to_owned).to_vec();
        Ok(Self { load: words("apply"), undo: words("remove") })
    }

    fn of_router(lab: &Lab) -> Result<[Self; 2]> {
        let arguments = ["--for", "router"];
        Ok([Self::nftables(lab, &arguments, "sekisho_router")?, Self::iptables(lab, &arguments)?])
    }

    fn load(&self, ns: &Netns) -> Result<()> {
        ns.run(&self.load[0], self.load[1..].iter().map(String::as_str)).map(drop)
    }

    fn undo(&self, ns: &Netns) -> Result<()> {
        ns.run(&self.undo[0], self.undo[1..].iter().map(String::as_str)).map(drop)
    }
}

/// What the audit printed.
struct Audit {
    passed: bool,
    ways: Vec<Value>,
}

impl Audit {
    /// The audit in this namespace, by a user without privileges, towards both addresses outside.
    fn run(lab: &Lab, ns: &Netns, more: &[&str]) -> Result<Self> {
        // Debian's setting: any user may send echoes.
        ns.sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
        let binary = reachable(gate_binary()?, lab.directory())?;
        let uid = (UID + 1).to_string();
        let mut command = ns.cmd("setpriv");
        command
            .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--inh-caps=-all", "--no-new-privs"])
            .arg(binary)
            // A kernel sends one such client an error a second, beyond the first six.
            .args(["audit", "egress", "--format", "json", "--wait", "20"])
            .args(OUTSIDE)
            .args(more);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let object: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("not JSON: {said}"))?;
        let ways = object.get("ways").and_then(Value::as_array).context("no ways")?.clone();
        Ok(Self { passed: output.status.success(), ways })
    }

    /// What was found of the ways that `which` says yes to, as `protocol port found`.
    fn found(&self, which: impl Fn(&str, u64, &str) -> bool) -> Vec<&str> {
        let text = |way: &'_ Value, key: &str| way.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let port = |way: &Value| way.get("port").and_then(Value::as_u64).unwrap_or_default();
        let chosen = self.ways.iter().filter(|way| which(&text(way, "way"), port(way), &text(way, "says")));
        chosen.filter_map(|way| way.get("found").and_then(Value::as_str)).collect()
    }

    /// What was found on both addresses: the same on each way, or that is an error.
    fn all(&self, expected: &str, which: impl Fn(&str, u64, &str) -> bool) -> Result<()> {
        let found = self.found(which);
        ensure!(
            !found.is_empty() && found.iter().all(|found| *found == expected),
            "not all {expected}: {:#?}",
            self.ways
        );
        Ok(())
    }
}

/// The host outside.
fn outside(lab: &Lab) -> Result<Process> {
    // Its address is one of many that are routed here, and none that an interface has.
    lab.servers.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
    let mut command: Command = lab.servers.cmd(gate_binary()?);
    command.args(["audit", "answer", "--bind", &OUTSIDE.join(",")]);
    let mut answering = Process::start("answer", lab.directory(), &mut command)?;
    let mut said = String::new();
    answering.wait_ready(Duration::from_secs(30), || lab_says(&lab.directory().join("answer.stdout"), &mut said))?;
    ensure!(said.contains("answering on 26 sockets"), "{said}");
    Ok(answering)
}

fn lab_says(file: &std::path::Path, said: &mut String) -> bool {
    *said = std::fs::read_to_string(file).unwrap_or_default();
    said.ends_with('\n')
}

#[test]
fn an_audit_finds_every_way_open_without_rules_and_none_with_those_that_are_printed() -> Result<()> {
    let lab = Lab::new("egress-router")?;
    let _outside = outside(&lab)?;
    let audit = Audit::run(&lab, &lab.client, &[])?;
    ensure!(!audit.passed && audit.ways.len() == 2 * WAYS, "{:#?}", audit.ways);
    audit.all("open", |_, _, _| true)?;

    for (number, rules) in Rules::of_router(&lab)?.into_iter().enumerate() {
        let mut options = Options::listing(&["reports"]);
        options.name = format!("gate-{number}");
        let gate = Gate::start(&lab, &options)?;
        rules.load(&lab.gate)?;
        let audit = Audit::run(&lab, &lab.client, &[])?;
        ensure!(audit.passed && audit.ways.len() == 2 * WAYS, "{:#?}", audit.ways);
        audit.all("gate", |way, port, says| (way, port) == ("tcp", 443) && says.starts_with("TLS"))?;
        // What the gate resets, and what the rules reject: nothing is left to a timeout.
        audit.all("shut", |way, port, says| (way, port) != ("tcp", 443) || !says.starts_with("TLS"))?;

        let lines = gate.wait_closed(Duration::from_secs(30), |lines| lines.len() >= 6)?;
        for reason in ["no_rule", "no_sni", "not_tls"] {
            let count = lines.iter().filter(|line| line.get("reason").and_then(Value::as_str) == Some(reason)).count();
            ensure!(count == 2 && lines.len() == 6, "{count} times {reason}: {lines:#?}");
        }

        // Fails closed.
        drop(gate);
        let audit = Audit::run(&lab, &lab.client, &["--tcp", "443", "--udp", "443", "--no-icmp"])?;
        ensure!(audit.passed, "{:#?}", audit.ways);
        audit.all("shut", |_, _, _| true)?;
        rules.undo(&lab.gate)?;
    }
    Audit::run(&lab, &lab.client, &["--tcp", "22", "--udp", "123"])?.all("open", |_, _, _| true)
}

#[test]
fn what_a_policy_lets_through_an_audit_calls_open() -> Result<()> {
    let lab = Lab::new("egress-listed")?;
    let _outside = outside(&lab)?;
    let policy = format!(
        "version: 1\nmode: audit\nrules:\n  - {{ name: a, hosts: [listed.example.net], {} }}\n",
        lab::gate::UPSTREAM
    );
    let _gate = Gate::start(&lab, &Options::policy(&policy))?;
    let rules = Rules::nftables(&lab, &["--for", "router", "--pass", "udp:123"], "sekisho_router")?;
    rules.load(&lab.gate)?;
    let pool = OUTSIDE.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    lab.gate_dns.set_pool(pool);
    let name = ["--name", "listed.example.net", "--tcp", "443,9443", "--udp", "123", "--no-icmp"];
    let audit = Audit::run(&lab, &lab.client, &name)?;
    ensure!(!audit.passed, "{:#?}", audit.ways);
    audit.all("open", |way, _, says| says.contains("with a name") || way == "udp")?;
    audit.all("gate", |_, _, says| says.contains("without a name"))?;
    audit.all("shut", |way, _, says| way == "tcp" && !says.starts_with("TLS"))
}

#[test]
fn ipv6_goes_nowhere_where_the_gate_listens_on_ipv4_alone() -> Result<()> {
    let lab = Lab::new("egress-ipv4")?;
    let _outside = outside(&lab)?;
    let mut options = Options::listing(&["reports"]);
    options.listeners.truncate(1);
    let _gate = Gate::start(&lab, &options)?;
    for rules in Rules::of_router(&lab)? {
        rules.load(&lab.gate)?;
        let audit = Audit::run(&lab, &lab.client, &[])?;
        ensure!(audit.passed && audit.ways.len() == 2 * WAYS, "{:#?}", audit.ways);
        let of = |six: bool| {
            let ways = audit.ways.iter().filter(|way| way["target"].as_str().is_some_and(|to| to.contains(':')) == six);
            Audit { passed: true, ways: ways.cloned().collect() }
        };
        let four = of(false).found(|way, port, _| (way, port) == ("tcp", 443)).join(" ");
        ensure!(four == "gate gate shut", "{four}");
        of(true).all("shut", |_, _, _| true)?;
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

#[test]
fn a_hosts_own_users_have_no_other_way_out_once_the_rest_is_shut() -> Result<()> {
    let lab = Lab::new("egress-host")?;
    let _outside = outside(&lab)?;
    let user = UID.to_string();
    let host = ["--for", "host", "--user", &user];
    let tproxy = [&host[..], &["--by", "tproxy"]].concat();
    let rest = ["--for", "host-rest", "--user", &user, "--pass", "udp:123"];
    let nft_rest = || Rules::nftables(&lab, &rest, "sekisho_host_rest");
    for (destination, host, rest) in [
        ("redirect", Rules::nftables(&lab, &host, "sekisho_host")?, nft_rest()?),
        ("redirect", Rules::iptables(&lab, &host)?, Rules::iptables(&lab, &rest)?),
        // The script sets the routes, too.
        ("tproxy", Rules::iptables(&lab, &tproxy)?, nft_rest()?),
        ("tproxy", Rules::iptables(&lab, &tproxy)?, Rules::iptables(&lab, &rest)?),
    ] {
        let mut options = Options::listing(&["reports"]);
        options.listeners = ["127.0.0.1", "[::1]"]
            .map(|bind| format!("{{ bind: \"{bind}:8443\", destination: {destination} }}"))
            .into();
        options.capability = if destination == "tproxy" { "+net_admin" } else { "" }.to_owned();
        let _gate = Gate::start(&lab, &options)?;
        host.load(&lab.gate)?;
        let quick = ["--tcp", "22,443", "--udp", "53,123,443"];
        let audit = Audit::run(&lab, &lab.gate, &quick)?;
        audit.all("gate", |way, port, says| (way, port) == ("tcp", 443) && says.starts_with("TLS"))?;
        audit.all("open", |_, port, _| port != 443)?;

        rest.load(&lab.gate)?;
        let audit = Audit::run(&lab, &lab.gate, &quick)?;
        audit.all("gate", |way, port, says| (way, port) == ("tcp", 443) && says.starts_with("TLS"))?;
        audit.all("open", |way, port, _| (way, port) == ("udp", 123))?;
        audit
            .all("shut", |way, port, says| port != 123 && !((way, port) == ("tcp", 443) && says.starts_with("TLS")))?;
        // Root's programs, and the gate's own, are not held by it.
        let root = lab.gate.enter(|| std::net::TcpStream::connect((OUTSIDE[0], 22)).is_ok())?;
        ensure!(root, "root was held");
        rest.undo(&lab.gate)?;
        host.undo(&lab.gate)?;
    }
    let left = lab.gate.run("nft", ["list", "ruleset"])?;
    ensure!(!left.to_lowercase().contains("sekisho"), "not all is undone:\n{left}");
    Ok(())
}
