//! A policy that changes under load, and one that is cut short.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::peer::{self, Server, Task};

pub(crate) const HOST: &str = "relay.example";
const SECRET: &str = "secret.example";
pub(crate) const TO: &str = "198.18.1.7:443";
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// Two policies that allow one host by rules of different names, and a second host to nobody of this network: its
/// rule ends with the `clients` without which it would let anybody in. A third rule makes them mean different things: a
/// reload that changes names only counts as one that changes nothing.
pub(crate) fn policy(rule: &str) -> String {
    format!(
        "version: 1\nrules:\n  - name: {rule}\n    {UPSTREAM}\n    hosts: [{HOST}]\n  - name: other network\n    {UPSTREAM}\n    \
         hosts: [{SECRET}]\n    clients: [10.99.0.0/16]\n  - name: what tells policies apart\n    hosts: [{rule}.names.test]\n"
    )
}

fn replace(directory: &Path, text: &str) -> Result<()> {
    fs::write(directory.join("next.yaml"), text)?;
    fs::rename(directory.join("next.yaml"), directory.join("policy.yaml"))?;
    Ok(())
}

fn reloads(gate: &Gate<'_>) -> Result<f64> {
    Ok(gate.metrics()?.sum("sekisho_policy_reloads_total", &[]))
}

#[test]
fn two_hundred_reloads_under_5000_open_connections_fail_nothing() -> Result<()> {
    let lab = Lab::new("reloads")?;
    let server = Server::start(&lab)?;
    let mut options = Options::policy(&policy("one"));
    options.settings = "limits: { connections_per_client: 10000 }".to_owned();
    let mut gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    let directory = gate.directory().to_owned();

    let (begin, mut begun) = tokio::sync::watch::channel(false);
    let (end, mut ended) = tokio::sync::watch::channel(false);
    let load = std::thread::scope(|scope| -> Result<(u64, u64)> {
        let load = scope.spawn(|| {
            peer::clients(&lab.client, LIMIT, || async move {
                let mut held = Vec::new();
                while held.len() < 5000 {
                    let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
                    peer::ping(&mut stream, b"first").await?;
                    held.push(stream);
                }
                begin.send_replace(true);
                let (mut fresh, mut refused) = (0, 0);
                while !*ended.borrow_and_update() {
                    peer::echo_once(TO.parse()?, HOST, b"fresh").await?;
                    fresh += 1;
                    // The other host, whose rule half a policy would open.
                    let mut other = peer::open(TO.parse()?, SECRET, Task::Echo).await?;
                    let mut alert = Vec::new();
                    other.read_to_end(&mut alert).await?;
                    ensure!(alert == [0x15, 3, 3, 0, 2, 2, 49], "not refused: {alert:?}");
                    refused += 1;
                    let one = fresh % held.len();
                    if let Some(stream) = held.get_mut(one) {
                        peer::ping(stream, b"held").await?;
                    }
                }
                for stream in &mut held {
                    peer::ping(stream, b"last").await?;
                }
                anyhow::Ok((u64::try_from(fresh)?, refused))
            })
        });
        let work = (|| -> Result<()> {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !*begun.borrow_and_update() && !load.is_finished() {
                ensure!(Instant::now() < deadline, "5000 connections took too long");
                std::thread::sleep(Duration::from_millis(20));
            }
            for round in 0..200 {
                let text = match round % 4 {
                    0 => policy("two"),
                    1 => policy("one").replace("hosts: [relay.example]", "hosts: [\"*\"]"),
                    2 => policy("one"),
                    _ => "version: 1\nrules: [".to_owned(),
                };
                let before = reloads(&gate)?;
                replace(&directory, &text)?;
                gate.process().signal(Signal::HUP)?;
                let deadline = Instant::now() + Duration::from_secs(20);
                while reloads(&gate)? <= before {
                    ensure!(Instant::now() < deadline, "reload {round} was not done");
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Ok(())
        })();
        end.send_replace(true);
        let load = load.join().map_err(|_| anyhow::anyhow!("the clients panicked"))???;
        work.map(|()| load)
    });
    let (fresh, refused) = load?;
    println!("{fresh} connections were served and {refused} refused during 200 reloads");
    ensure!(fresh >= 200, "only {fresh} new connections");

    let lines = gate.wait_closed(Duration::from_secs(60), |lines| lines.len() as u64 >= 5000 + fresh + refused)?;
    ensure!(lines.len() as u64 == 5000 + fresh + refused, "{} lines", lines.len());
    for line in &lines {
        let (rule, verdict) = (line["rule"].as_str(), line["verdict"].as_str());
        let right = match line["host"].as_str() {
            Some(HOST) => verdict == Some("allowed") && matches!(rule, Some("one" | "two")),
            _ => verdict == Some("refused") && line["reason"] == "no_rule",
        };
        ensure!(right, "decided by no whole policy: {line}");
    }
    ensure!(server.accepted() == 5000 + fresh, "the server saw {}", server.accepted());
    let metrics = gate.metrics()?;
    for (result, least) in [("loaded", 99.0), ("failed", 99.0)] {
        let count = metrics.sum("sekisho_policy_reloads_total", &[("result", result)]);
        ensure!(count >= least, "{count} reloads were {result}");
    }
    Ok(())
}

#[test]
fn a_policy_that_is_cut_short_in_place_is_never_enforced() -> Result<()> {
    let lab = Lab::new("cut-short")?;
    let server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &Options::policy(&policy("one")))?;
    let _redirect = Redirect::nftables(&lab)?;
    let file = gate.directory().join("policy.yaml");
    let whole = fs::read_to_string(&file)?;
    let digest = gate.metrics()?;

    let refused = || {
        peer::clients(&lab.client, LIMIT, || async {
            let mut other = peer::open(TO.parse()?, SECRET, Task::Echo).await?;
            let mut alert = Vec::new();
            other.read_to_end(&mut alert).await?;
            ensure!(alert == [0x15, 3, 3, 0, 2, 2, 49], "not refused: {alert:?}");
            anyhow::Ok(())
        })?
    };
    refused()?;
    // Without its last line the file is a valid policy that lets everybody to the other host.
    let cut = whole.rfind("    clients:").unwrap_or(whole.len());
    fs::OpenOptions::new().write(true).open(&file)?.set_len(u64::try_from(cut)?)?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        refused()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    let metrics = gate.metrics()?;
    ensure!(metrics.sum("sekisho_policy_differs", &[]) > 0.5, "the node does not say that its file differs");
    ensure!(metrics.sum("sekisho_policy_reloads_total", &[]) < 0.5, "the cut file was loaded");
    ensure!(!metrics.moved_since(&digest).iter().any(|line| line.starts_with("sekisho_policy_info")));
    let (status, text) = gate.get("/readyz")?;
    ensure!(status == 200 && text.contains("written in place"), "/readyz says {status} {text}");
    ensure!(gate.get("/status.json")?.1.contains("written in place"));

    // Whole again and moved into place, it is loaded without a word, and says no more that it differs.
    replace(gate.directory(), &policy("two"))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while gate.metrics()?.sum("sekisho_policy_reloads_total", &[("result", "loaded")]) < 0.5 {
        ensure!(Instant::now() < deadline, "the new policy was not loaded");
        std::thread::sleep(Duration::from_millis(100));
    }
    ensure!(gate.metrics()?.sum("sekisho_policy_differs", &[]) < 0.5);
    refused()?;
    ensure!(server.accepted() == 0, "the other host was reached");
    Ok(())
}
