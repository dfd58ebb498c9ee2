//! Networks without IPv4: a translator (NAT64) reaches it, and a resolver (DNS64) gives its addresses in the translator's
//! form.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options};
use lab::net::{Counter, Redirect};
use lab::process::Process;
use serde_json::Value;

use crate::peer::{self, Server, echo_once};

const PATIENCE: Duration = Duration::from_secs(20);
/// One that the operator has chosen: Tayga translates no address of documentation or benchmarks by the well-known one.
const PREFIX: &str = "2001:db8:64::/96";
const HOST: &str = "four.example";
/// What the client's own DNS64 would give.
const TO: &str = "[2001:db8:64::c612:107]:443";

/// A lab whose gate has no way to IPv4 but Tayga, on the servers' side, and no resolver but unbound, with DNS64.
struct Translated {
    _programs: [Process; 2],
    lab: Lab,
}

impl Translated {
    fn new(name: &str) -> Result<Self> {
        let lab = Lab::new(name)?;
        let directory = lab.directory();
        let tayga = directory.join("tayga.conf");
        let text = format!(
            "tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:65::1\nprefix {PREFIX}\n\
             dynamic-pool 192.168.255.0/24\ndata-dir {}\n",
            directory.display()
        );
        std::fs::write(&tayga, text)?;
        lab.servers.run("tayga", ["--mktun", "-c", &tayga.display().to_string()])?;
        for line in [
            "link set nat64 up",
            "addr add 192.168.255.254/32 dev nat64",
            "route add 192.168.255.0/24 dev nat64",
            "-6 addr add 2001:db8:66::1/128 dev nat64 nodad",
            "-6 route add 2001:db8:64::/96 dev nat64",
        ] {
            lab.servers.run("ip", line.split(' '))?;
        }
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            lab.servers.sysctl(key, "1")?;
        }
        let translator = Process::start("tayga", directory, lab.servers.cmd("tayga").arg("-d").arg("-c").arg(&tayga))?;

        let unbound = directory.join("unbound.conf");
        let text = format!(
            "server:\n  directory: \"\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  do-daemonize: no\n\
             \x20 interface: 2001:db8:88::2\n  access-control: ::/0 allow\n  module-config: \"dns64 iterator\"\n\
             \x20 dns64-prefix: {PREFIX}\n  do-not-query-localhost: no\nforward-zone:\n  name: \".\"\n  forward-addr: 198.18.0.54\n"
        );
        std::fs::write(&unbound, text)?;
        let mut resolver =
            Process::start("unbound", directory, lab.servers.cmd("unbound").arg("-d").arg("-c").arg(&unbound))?;
        resolver.wait_ready(PATIENCE, || {
            lab.gate.enter(|| std::net::TcpStream::connect("[2001:db8:88::2]:53").is_ok()).unwrap_or(false)
        })?;

        // From here on the gate has IPv6 alone.
        lab.gate.run("ip", ["route", "del", "198.18.0.0/15"])?;
        lab.gate.run("ip", ["-6", "route", "add", "2001:db8:64::/96", "via", "2001:db8:88::2"])?;
        Ok(Self { _programs: [translator, resolver], lab })
    }

    fn gate(&self, nat64: &str) -> Result<Gate<'_>> {
        let mut options = Options::policy(
            "version: 1\nrules:
  - { name: four, hosts: [four.example], upstream: [198.18.0.0/15] }
  - { name: any, hosts: [.any.example], upstream: any }
",
        );
        "{ servers: [\"[2001:db8:88::2]:53\"] }".clone_into(&mut options.dns);
        options.settings = format!("upstream: {{ nat64: [{nat64}] }}");
        Gate::start(&self.lab, &options)
    }
}

#[test]
fn a_host_that_has_ipv6_alone_reaches_what_has_ipv4_alone_through_a_translator() -> Result<()> {
    let translated = Translated::new("nat64")?;
    let lab = &translated.lab;
    let _server = Server::start(lab)?;
    let gate = translated.gate(&format!("\"{PREFIX}\""))?;
    let _redirect = Redirect::nftables(lab)?;
    for (host, address) in [
        (HOST, "198.18.1.7"),
        ("metadata.any.example", "169.254.169.254"),
        ("own.any.example", "10.88.0.1"),
        ("far.any.example", "198.18.1.9"),
    ] {
        lab.gate_dns.set_name(host, Behaviour::Plain(vec![address.parse()?]));
    }

    let to = TO.parse()?;
    peer::clients(&lab.client, PATIENCE, || echo_once(to, HOST, b"six to four"))??;
    let lines = gate.wait_closed(PATIENCE, |lines| !lines.is_empty())?;
    let text = |line: &Value, key: &str| line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let line = lines.first().cloned().unwrap_or_default();
    ensure!(text(&line, "verdict") == "allowed" && text(&line, "upstream") == TO, "{line}");
    ensure!(text(&line, "client").starts_with("[2001:db8:20::2]:") && text(&line, "original_dst") == TO, "{line}");

    // What is never dialled is not dialled in the translator's form either, whatever a rule says.
    let translations = Counter::towards(lab, PREFIX)?;
    let seen = lab.client.enter(|| -> Result<Vec<u8>> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(TO)?;
        stream.write_all(&peer::hello("metadata.any.example"))?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        Ok(said)
    })??;
    ensure!(seen == [0x15, 3, 3, 0, 2, 2, 49], "{}", seen.escape_ascii());
    ensure!(translations.packets()? == 0, "the metadata service was dialled");
    let lines = gate.wait_closed(PATIENCE, |lines| lines.len() >= 2)?;
    let line = lines.last().cloned().unwrap_or_default();
    let seen = (text(&line, "reason"), text(&line, "detail"));
    ensure!(seen == ("forbidden_address".to_owned(), "address that is never dialled".to_owned()), "{line}");
    Ok(())
}

#[test]
fn a_prefix_that_nobody_configured_is_no_way_to_ipv4() -> Result<()> {
    let translated = Translated::new("no-nat64")?;
    let lab = &translated.lab;
    let _server = Server::start(lab)?;
    let gate = translated.gate("\"64:ff9b::/96\"")?;
    let _redirect = Redirect::nftables(lab)?;
    lab.gate_dns.set_name(HOST, Behaviour::Plain(vec!["198.18.1.7".parse()?]));
    let to = TO.parse()?;
    let refused = peer::clients(&lab.client, PATIENCE, || echo_once(to, HOST, b"six"))?;
    ensure!(refused.is_err(), "it was served");
    let lines = gate.wait_closed(PATIENCE, |lines| !lines.is_empty())?;
    let line = lines.first().cloned().unwrap_or_default();
    // The name has an IPv4 address as well, to which there is no route.
    ensure!(line.get("upstream").and_then(Value::as_str).is_none_or(|to| !to.starts_with('[')), "{line}");
    ensure!(line.get("verdict").and_then(Value::as_str) != Some("allowed"), "{line}");
    Ok(())
}
