//! Source ports: a range of fifty stands for one of thousands. When it is used up towards one address, that is said, and
//! nothing else is hurt; more source addresses carry more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{self, Server, TO, Task};

const LIMIT: Duration = Duration::from_secs(60);
const RANGE: usize = 50;
/// The alert `internal_error`.
const ALERT: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 80];
/// A name of one address, a name of another, and one of both.
const ONE: &str = "one.ports.example";
const OTHER: &str = "other.ports.example";
const BOTH: &str = "both.ports.example";
const V4: [&str; 2] = ["198.18.1.1", "198.18.1.2"];
const V6: [&str; 2] = ["2001:db8:18::1:1", "2001:db8:18::1:2"];

/// A gate whose host has [`RANGE`] ports to dial from.
fn start<'lab>(lab: &'lab Lab, addresses: [&str; 2], settings: &str) -> Result<(Gate<'lab>, Redirect<'lab>)> {
    let options = options(lab, addresses, settings)?;
    Ok((Gate::start(lab, &options)?, Redirect::nftables(lab)?))
}

fn options(lab: &Lab, addresses: [&str; 2], settings: &str) -> Result<Options> {
    let addresses = addresses.iter().map(|address| address.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    for (name, which) in [(ONE, 0..1), (OTHER, 1..2), (BOTH, 0..2)] {
        lab.gate_dns.set_name(name, Behaviour::Addresses(addresses[which].to_vec()));
    }
    lab.gate.sysctl("net/ipv4/ip_local_port_range", &format!("40000 {}", 40_000 + RANGE - 1))?;
    let policy = format!("version: 1\nrules:\n  - name: relay\n    {UPSTREAM}\n    hosts: [.ports.example]\n");
    let mut options = Options::policy(&policy);
    settings.clone_into(&mut options.settings);
    Ok(options)
}

/// Connections that were opened one after the other: those that were served are held; of the others, what they got.
#[derive(Default)]
struct Opened {
    served: Vec<TcpStream>,
    refused: Vec<Vec<u8>>,
}

impl Opened {
    async fn more(mut self, host: &str, count: usize) -> Result<Self> {
        for _ in 0..count {
            let mut stream = peer::open(TO.parse()?, host, Task::Echo).await?;
            stream.write_all(b"in").await?;
            let mut back = vec![0; 2];
            stream.read_exact(&mut back).await.context("neither an echo nor an alert")?;
            if back == b"in" {
                self.served.push(stream);
            } else {
                stream.read_to_end(&mut back).await?;
                self.refused.push(back);
            }
        }
        Ok(self)
    }

    fn counts(&self) -> (usize, usize) {
        (self.served.len(), self.refused.len())
    }
}

/// Opens so many to each host in turn, checks `(served, refused)`, and looks at the servers' side and the gate while they
/// are held.
fn hold<T: Send>(
    lab: &Lab,
    to: &[(&str, usize)],
    expected: (usize, usize),
    look: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    peer::clients(&lab.client, LIMIT, || async {
        let mut opened = Opened::default();
        for (host, count) in to {
            opened = opened.more(host, *count).await?;
        }
        ensure!(opened.counts() == expected, "{:?} served and refused, not {expected:?}", opened.counts());
        ensure!(opened.refused.iter().all(|bytes| *bytes == ALERT), "refused with {:02x?}", opened.refused);
        look()
    })?
}

/// How many established connections the servers have from each address.
fn seen(lab: &Lab) -> Result<BTreeMap<String, usize>> {
    let table = lab.servers.run("ss", ["-Htn", "state", "established", "( sport = :443 )"])?;
    let mut from = BTreeMap::new();
    for line in table.lines() {
        let peer = line.split_whitespace().nth(3).with_context(|| format!("no peer in {line}"))?;
        let (address, _) = peer.rsplit_once(':').with_context(|| format!("no port in {line}"))?;
        let address = address.trim_matches(['[', ']']).trim_start_matches("::ffff:");
        *from.entry(address.to_owned()).or_default() += 1;
    }
    Ok(from)
}

fn exhausted(gate: &Gate<'_>, source: &str) -> Result<f64> {
    Ok(gate.metrics()?.sum("sekisho_source_exhausted_total", &[("source", source)]))
}

fn failed(gate: &Gate<'_>, reason: &str) -> Result<f64> {
    let labels = [("verdict", "failed"), ("reason", reason)];
    Ok(gate.metrics()?.sum("sekisho_connections_total", &labels))
}

fn sources(gate: &Gate<'_>) -> Result<Value> {
    let status: Value = serde_json::from_str(&gate.get("/status.json")?.1)?;
    Ok(status["sources"].clone())
}

fn same(number: f64, expected: u32) -> Result<()> {
    ensure!(number.to_bits() == f64::from(expected).to_bits(), "{number}, not {expected}");
    Ok(())
}

#[test]
fn when_ports_towards_one_address_are_used_up_that_is_said_and_all_else_is_served() -> Result<()> {
    let lab = Lab::new("ports")?;
    let _server = Server::start(&lab)?;
    let (gate, _redirect) = start(&lab, V4, "")?;
    // Of the excess, connections to a name that has another address besides are served as well.
    hold(&lab, &[(ONE, RANGE + 20), (BOTH, 20), (OTHER, 20)], (RANGE + 40, 20), || {
        ensure!(seen(&lab)?.into_iter().eq([("10.88.0.1".to_owned(), RANGE + 40)]), "{:?}", seen(&lab)?);
        same(failed(&gate, "ports_exhausted")?, 20)?;
        // Once for each that failed, and once or not at all for those that had a second address.
        let times = exhausted(&gate, "")?;
        ensure!((20.0..=40.0).contains(&times), "{times} times");
        let shown = sources(&gate)?;
        ensure!(shown[0]["address"].is_null() && shown[0]["exhausted"].as_f64() == Some(times), "{shown}");
        Ok(())
    })?;
    let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() == RANGE + 60)?;
    let detail: Vec<_> = lines.iter().filter(|line| line["reason"] == "ports_exhausted").collect();
    ensure!(detail.len() == 20 && detail.iter().all(|line| line["detail"] == "no source port left"), "{detail:?}");

    // The gate closed these connections first, so their ports wait for a minute, unless the kernel may use them again.
    hold(&lab, &[(ONE, 1)], (0, 1), || Ok(()))?;
    lab.gate.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
    sleep(Duration::from_millis(1500));
    hold(&lab, &[(ONE, RANGE)], (RANGE, 0), || Ok(()))
}

#[test]
fn more_source_addresses_are_used_in_turn_and_the_next_one_when_one_has_no_port_left() -> Result<()> {
    for (addresses, own, length, more) in [
        (V4, "10.88.0.1", 24, ["10.88.0.11", "10.88.0.12"]),
        (V6, "2001:db8:88::1", 64, ["2001:db8:88::11", "2001:db8:88::12"]),
    ] {
        let lab = Lab::new("sources")?;
        let _server = Server::start(&lab)?;
        for address in more {
            lab.gate.run("ip", ["addr", "add", &format!("{address}/{length}"), "dev", "north"])?;
        }
        if own.contains(':') {
            // Until it is known that nobody else has it, an address cannot be bound.
            sleep(Duration::from_secs(3));
        }
        let all = [own, more[0], more[1]];
        let list: Vec<_> = all.iter().map(|address| format!("\"{address}\"")).collect();
        let (gate, _redirect) =
            start(&lab, addresses, &format!("upstream: {{ source_addresses: [{}] }}", list.join(", ")))?;
        // Long before any of them has none left.
        hold(&lab, &[(ONE, 30)], (30, 0), || {
            ensure!(seen(&lab)?.len() == 3, "in turn: {:?}", seen(&lab)?);
            all.iter().try_for_each(|source| same(exhausted(&gate, source)?, 0))
        })?;
        gate.wait_closed(Duration::from_secs(10), |lines| lines.len() == 30)?;
        lab.gate.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
        sleep(Duration::from_millis(1500));

        hold(&lab, &[(ONE, 3 * RANGE + 10)], (3 * RANGE, 10), || {
            let each: Vec<_> = seen(&lab)?.into_values().collect();
            ensure!(each == [RANGE; 3], "{:?}", seen(&lab)?);
            same(failed(&gate, "ports_exhausted")?, 10)?;
            let shown = sources(&gate)?;
            ensure!(shown.as_array().is_some_and(|shown| shown.len() == 4), "{shown}");
            for source in all {
                ensure!(exhausted(&gate, source)? >= 10.0, "{source}: {}", exhausted(&gate, source)?);
            }
            same(exhausted(&gate, "")?, 0)
        })?;
        gate.wait_closed(Duration::from_secs(10), |lines| lines.len() == 40 + 3 * RANGE)?;

        // A source that this host loses is passed over.
        lab.gate.run("ip", ["addr", "del", &format!("{}/{length}", more[1]), "dev", "north"])?;
        sleep(Duration::from_millis(1500));
        let before = exhausted(&gate, more[1])?;
        hold(&lab, &[(OTHER, 30)], (30, 0), || {
            ensure!(seen(&lab)?.len() == 2, "{:?}", seen(&lab)?);
            ensure!(exhausted(&gate, more[1])? > before, "nothing says that {} is gone", more[1]);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn one_source_has_its_whole_range_for_each_destination() -> Result<()> {
    // Where binding a source chose its port, both destinations together would have one range.
    let lab = Lab::new("destinations")?;
    let _server = Server::start(&lab)?;
    let (gate, _redirect) = start(&lab, V4, "upstream: { source_addresses: [10.88.0.1] }")?;
    hold(&lab, &[(ONE, RANGE - 2), (OTHER, RANGE - 2)], (2 * RANGE - 4, 0), || {
        ensure!(seen(&lab)?.into_iter().eq([("10.88.0.1".to_owned(), 2 * RANGE - 4)]), "{:?}", seen(&lab)?);
        same(exhausted(&gate, "10.88.0.1")?, 0)
    })
}

#[test]
fn a_source_that_is_not_this_hosts_is_told_at_the_start() -> Result<()> {
    let lab = Lab::new("no-source")?;
    let options = options(&lab, V4, "upstream: { source_addresses: [10.88.0.1, 10.88.0.77] }")?;
    let mut gate = Gate::launch(&lab, &options)?;
    let status = gate.process().wait(Duration::from_secs(20))?;
    let said = gate.process().stderr();
    ensure!(status.code() == Some(1), "{status}: {said}");
    ensure!(said.contains("cannot dial from 10.88.0.77, which is no address of this host"), "{said}");
    Ok(())
}

#[test]
fn a_host_without_ipv6_does_not_pass_for_one_without_ports() -> Result<()> {
    let lab = Lab::new("no-ipv6")?;
    let _server = Server::start(&lab)?;
    lab.gate.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
    let mut options = options(&lab, [V6[0], V4[0]], "")?;
    options.listeners.truncate(1);
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    hold(&lab, &[(ONE, 3), (BOTH, 3)], (3, 3), || {
        same(failed(&gate, "connect_failed")?, 3)?;
        same(failed(&gate, "ports_exhausted")?, 0)?;
        same(exhausted(&gate, "")?, 0)
    })?;
    let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() == 6)?;
    let failed: Vec<_> = lines.iter().filter(|line| line["verdict"] == "failed").collect();
    ensure!(failed.iter().all(|line| line["detail"] == "this host has no address to reach it from"), "{failed:?}");
    Ok(())
}
