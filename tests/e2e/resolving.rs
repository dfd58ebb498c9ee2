//! DNS that does not do what it should, seen through real connections.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hickory_proto::rr::RecordType;
use lab::Lab;
use lab::dns::{Behaviour, Dns};
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::{Counter, Outage, Redirect};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::peer::{self, Server, Task};
use crate::raw;

const TO: &str = "198.18.1.7:443";
const LIMIT: Duration = Duration::from_secs(30);
/// What the gate's DNS server is in the lab, and one more.
const SERVER: &str = "198.18.0.54";
const OTHER_SERVER: &str = "198.18.0.55";

/// Alerts, as a client reads them.
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// A gate that lists all below `listed.example`, with this `dns:`.
fn options(dns: &str) -> Options {
    let mut options = Options::policy(&format!(
        "version: 1\nrules:\n  - name: listed\n    {UPSTREAM}\n    hosts: [.listed.example]\n"
    ));
    dns.clone_into(&mut options.dns);
    options
}

/// Answers are kept for no longer than the lab's records say: a second.
fn for_a_second() -> Options {
    options(&format!("{{ servers: [\"{SERVER}\"], ttl: {{ min: 1s, max: 5m }} }}"))
}

fn name(label: &str) -> String {
    format!("{label}.listed.example")
}

/// One whole use of a host through the gate, and how long it took.
fn use_host(lab: &Lab, host: &str) -> Result<Duration> {
    let begun = Instant::now();
    peer::clients(&lab.client, LIMIT, || async { peer::echo_once(TO.parse()?, host, b"through").await })?
        .with_context(|| format!("{host} was not served"))?;
    Ok(begun.elapsed())
}

/// What a client reads that asks for a host: the alert, if it is not served; and how long that took.
fn ask_for(lab: &Lab, host: &str) -> Result<(Option<u8>, Duration)> {
    let bytes = [&peer::hello(host)[..], &Task::Echo.bytes()].concat();
    let seen = raw::converse(&lab.client, TO.parse()?, |stream| {
        stream.write_all(&bytes)?;
        stream.shutdown(std::net::Shutdown::Write)
    })?;
    match *seen.bytes.as_slice() {
        [] => Ok((None, seen.after)),
        [0x15, 3, 3, 0, 2, 2, alert] => Ok((Some(alert), seen.after)),
        _ => anyhow::bail!("the client read {:02x?}", seen.bytes),
    }
}

fn text<'line>(line: &'line Value, key: &str) -> &'line str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn an_answer_that_was_cut_is_asked_for_again_over_tcp() -> Result<()> {
    let lab = Lab::new("truncated")?;
    let _server = Server::start(&lab)?;
    let _gate = Gate::start(&lab, &for_a_second())?;
    let _redirect = Redirect::nftables(&lab)?;
    lab.gate_dns.set(Behaviour::Truncated);
    use_host(&lab, &name("a"))?;
    ensure!(lab.gate_dns.queries_over_tcp() > 0, "nothing was asked over TCP");
    Ok(())
}

#[test]
fn lies_beside_a_true_address_are_never_dialled() -> Result<()> {
    let lab = Lab::new("lies")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &for_a_second())?;
    let _redirect = Redirect::nftables(&lab)?;
    // Whatever the gate dials has a way to where it is seen.
    lab.gate.run("ip", ["route", "add", "default", "via", "10.88.0.2"])?;
    lab.gate.run("ip", ["-6", "route", "add", "default", "via", "2001:db8:88::2"])?;
    let (all, all6) = (Counter::towards(&lab, "0.0.0.0/0")?, Counter::towards(&lab, "::/0")?);
    let true_one = Counter::towards(&lab, "198.18.1.9/32")?;
    let lies = ["169.254.169.254", "10.99.0.1", "127.0.0.1", "0.0.0.0", "52.219.0.1", "fd00:ec2::254", "198.18.1.9"];
    let addresses = lies.iter().map(|address| address.parse::<IpAddr>());
    lab.gate_dns.set(Behaviour::Addresses(addresses.collect::<Result<_, _>>()?));
    for _ in 0..20 {
        use_host(&lab, &name("a"))?;
    }
    let lines = gate.wait_closed(Duration::from_secs(5), |lines| lines.len() >= 20)?;
    for line in &lines {
        ensure!(text(line, "upstream") == "198.18.1.9:443", "{line}");
    }
    ensure!(true_one.syns()? >= 20, "the servers saw {} connections", true_one.syns()?);
    ensure!(all.packets()? == true_one.packets()? && all6.packets()? == 0, "something else was dialled");
    Ok(())
}

#[test]
fn another_server_answers_where_the_first_is_silent_or_refuses() -> Result<()> {
    let lab = Lab::new("servers")?;
    let _server = Server::start(&lab)?;
    let first = Dns::start(&lab.servers, OTHER_SERVER.parse()?, Lab::pool())?;
    let gate = Gate::start(&lab, &options(&format!("{{ servers: [\"{OTHER_SERVER}\", \"{SERVER}\"] }}")))?;
    let _redirect = Redirect::nftables(&lab)?;
    // Of one use of a name. Half a second of silence passes before the next server is asked.
    let resolved_after = |label: &str| -> Result<f64> {
        use_host(&lab, &name(label))?;
        let is_of = |line: &&Value| text(line, "host") == name(label);
        let lines = gate.wait_closed(Duration::from_secs(5), |lines| lines.iter().any(|line| is_of(&line)))?;
        lines.iter().find(is_of).and_then(|line| line.get("dns_ms")?.as_f64()).context("no dns_ms")
    };

    for (label, behaviour) in [("refused", Behaviour::Refused), ("servfail", Behaviour::ServFail)] {
        first.set(behaviour);
        let took = resolved_after(label)?;
        ensure!(first.queries(&name(label)) > 0, "the first server was not asked");
        ensure!(took < 450.0, "{label}: the second was asked after {took} ms only");
    }
    first.set(Behaviour::Silent);
    let took = resolved_after("silent")?;
    ensure!((450.0..1500.0).contains(&took), "the second server was asked after {took} ms");
    for label in ["b", "c", "d", "e"] {
        let took = resolved_after(label)?;
        ensure!(first.queries(&name(label)) == 0, "a server that was silent a moment ago was asked first again");
        ensure!(took < 450.0, "{label} took {took} ms");
    }
    Ok(())
}

#[test]
fn names_in_use_outlive_an_outage_and_an_unknown_one_fails_quickly() -> Result<()> {
    let lab = Lab::new("dns-outage")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &for_a_second())?;
    let _redirect = Redirect::nftables(&lab)?;
    let names = ["a", "b", "c"].map(name);
    for host in &names {
        use_host(&lab, host)?;
    }

    let mut silence = Some(Outage::silent(&lab, &format!("{SERVER}/32"))?);
    let (begun, mut slowest, mut used) = (Instant::now(), Duration::ZERO, 0_u32);
    let mut unknown = 0;
    for second in 1.. {
        for host in &names {
            slowest = slowest.max(use_host(&lab, host)?);
            used += 1;
        }
        let elapsed = begun.elapsed();
        // Twenty seconds of silence, ten of SERVFAIL.
        if elapsed > Duration::from_secs(20) && silence.is_some() {
            lab.gate_dns.set(Behaviour::ServFail);
            drop(silence.take());
        }
        if second % 8 == 0 {
            unknown += 1;
            let host = name(&format!("unknown-{unknown}"));
            let (alert, took) = ask_for(&lab, &host)?;
            ensure!(alert == Some(INTERNAL_ERROR), "{host} got {alert:?}");
            ensure!(took < Duration::from_millis(2500), "{host} failed after {took:?} only");
            // The failure is remembered for a second.
            let (alert, took) = ask_for(&lab, &host)?;
            ensure!(alert == Some(INTERNAL_ERROR) && took < Duration::from_secs(1), "again: {alert:?}, {took:?}");
        }
        if elapsed > Duration::from_secs(30) {
            break;
        }
        sleep((begun + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
    }
    println!("{used} connections to {} names in the outage; the slowest took {slowest:.1?}", names.len());
    ensure!(unknown >= 2, "no unknown name was tried");
    // An answer is waited for no longer than a second before the old one serves.
    ensure!(slowest < Duration::from_millis(1500), "one took {slowest:?}");
    let stale = gate.metrics()?.sum("sekisho_dns_lookups_total", &[("result", "stale")]);
    ensure!(stale >= 3.0, "only {stale} lookups ended with an old answer");
    let lines =
        gate.wait_closed(Duration::from_secs(5), |lines| lines.len() >= 3 + usize::try_from(used).unwrap_or(0))?;
    for line in lines.iter().filter(|line| text(line, "host").starts_with("unknown")) {
        ensure!(text(line, "reason") == "dns_failed", "{line}");
    }

    // Healed, and every name has moved.
    lab.gate_dns.set_pool(Lab::gate_pool());
    lab.gate_dns.set(Behaviour::Answer);
    let moved = Counter::towards(&lab, lab::GATE_POOL)?;
    let begun = Instant::now();
    while moved.syns()? == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(10), "the old addresses are dialled still");
        use_host(&lab, &names[0])?;
        sleep(Duration::from_millis(200));
    }
    Ok(())
}

#[test]
fn a_name_in_use_that_exists_no_longer_ends_and_nothing_old_is_served_over_that() -> Result<()> {
    let lab = Lab::new("nxdomain")?;
    let _server = Server::start(&lab)?;
    let _gate = Gate::start(&lab, &for_a_second())?;
    let _redirect = Redirect::nftables(&lab)?;
    let host = name("a");
    use_host(&lab, &host)?;
    lab.gate_dns.set(Behaviour::NxDomain);
    let begun = Instant::now();
    while ask_for(&lab, &host)?.0 != Some(UNRECOGNIZED_NAME) {
        ensure!(begun.elapsed() < Duration::from_secs(3), "it is served still");
        sleep(Duration::from_millis(50));
    }
    for _ in 0..10 {
        let (alert, _) = ask_for(&lab, &host)?;
        ensure!(alert == Some(UNRECOGNIZED_NAME), "it came back: {alert:?}");
        sleep(Duration::from_millis(200));
    }
    lab.gate_dns.set(Behaviour::Silent);
    // The denial's own TTL is a second.
    sleep(Duration::from_millis(1500));
    let (alert, _) = ask_for(&lab, &host)?;
    ensure!(alert == Some(INTERNAL_ERROR), "what was known before the denial was served: {alert:?}");
    lab.gate_dns.set(Behaviour::Answer);
    sleep(Duration::from_millis(5500));
    use_host(&lab, &host).map(drop)
}

#[test]
fn a_thousand_connections_that_wait_for_one_name_ask_for_it_once() -> Result<()> {
    const COUNT: usize = 1000;
    let lab = Lab::new("one-query")?;
    let _server = Server::start(&lab)?;
    let mut options = options(&format!("{{ servers: [\"{SERVER}\"], ttl: {{ min: 5m, max: 5m }} }}"));
    "limits: { connections_per_client: 2000 }".clone_into(&mut options.settings);
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    let host = name("a");
    lab.gate_dns.set_name(&host, Behaviour::Slow(Duration::from_millis(450)));

    peer::clients(&lab.client, LIMIT, || async {
        let mut streams = Vec::new();
        for _ in 0..COUNT {
            streams.push(TcpStream::connect(TO).await?);
        }
        // All hellos at once, as far as one thread can.
        let bytes = [&peer::hello(&host)[..], &Task::Echo.bytes()].concat();
        for stream in &mut streams {
            stream.write_all(&bytes).await?;
        }
        for stream in &mut streams {
            peer::ping(stream, b"through").await?;
        }
        anyhow::Ok(())
    })??;

    let asked = [RecordType::A, RecordType::AAAA].map(|kind| lab.gate_dns.queries_of(&host, kind));
    let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() >= COUNT)?;
    let waited = lines.iter().filter(|line| line.get("dns_ms").and_then(Value::as_f64) > Some(1.0)).count();
    let upstreams: BTreeSet<_> = lines.iter().map(|line| text(line, "upstream")).collect();
    println!(
        "{COUNT} connections, of which {waited} waited: {asked:?} queries; {} upstream addresses",
        upstreams.len()
    );
    ensure!(asked == [1, 1], "{asked:?} queries for A and AAAA");
    ensure!(waited >= COUNT / 2, "only {waited} connections waited for the answer");
    // Nobody's choice but the gate's: they spread over the answer's eight.
    ensure!(upstreams.len() == 8, "dialled {upstreams:?}");
    Ok(())
}
