//! The units of systemd: what they open and load is what the gate and its packet rules want.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::activation::{by_systemd, handing_over};
use lab::cgroup::Cgroup;
use lab::gate::{Gate, Options};
use lab::net::Redirect;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{deploy, read};
use crate::interception::has_no_capability;
use crate::peer::{self, HOST, Server};

const PATIENCE: Duration = Duration::from_secs(30);

/// The value of a setting in a unit.
fn setting<'u>(unit: &'u str, name: &str) -> Option<&'u str> {
    unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn a_gate_takes_the_socket_of_a_unit_by_the_listener_that_the_unit_tells_of() -> Result<()> {
    let lab = Lab::new("deploy-sockets")?;
    for file in ["sekisho.socket", "sekisho-tproxy.socket"] {
        let unit = read(&format!("systemd/{file}"))?;
        let of = |name| setting(&unit, name).with_context(|| format!("{file} has no {name}="));
        ensure!(of("BindIPv6Only")? == "both" && setting(&unit, "Accept").is_none(), "{unit}");
        let transparent = if setting(&unit, "Transparent") == Some("yes") { ",transparent" } else { "" };
        let socket = format!("{}=[::]:{}{transparent}", of("FileDescriptorName")?, of("ListenStream")?);
        let listener = unit.lines().find_map(|line| line.strip_prefix("#     - ")).context("no listener")?;
        let options = Options {
            name: file.to_owned(),
            listeners: vec![listener.to_owned()],
            activator: handing_over(&[&socket]),
            ..Options::listing(&["reports"])
        };
        let mut gate = Gate::start(&lab, &options).with_context(|| format!("{socket} for {listener}"))?;
        let said = gate.process().stderr();
        ensure!(said.contains("listening") && listener.contains("socket: handed_over"), "{said}");
    }
    Ok(())
}

#[test]
fn systemd_opens_a_transparent_socket_and_hands_it_to_a_gate_without_capabilities() -> Result<()> {
    let lab = Lab::new("deploy-systemd")?;
    let group = Cgroup::create("systemd")?;
    let _server = Server::start(&lab)?;
    let _redirect = Redirect::tproxy(&lab)?;
    let file = deploy("systemd/sekisho-tproxy.socket");
    let unit = read("systemd/sekisho-tproxy.socket")?;
    let listener = unit.lines().find_map(|line| line.strip_prefix("#     - ")).context("no listener")?;
    let options = Options {
        listeners: vec![listener.to_owned()],
        activator: by_systemd(&group, &file),
        ..peer::options("threads: 2")
    };
    let mut manager = Gate::launch(&lab, &options)?;
    let listens = || lab.gate.run("ss", ["-Hltn", "sport", "=", ":8443"]).is_ok_and(|said| !said.is_empty());
    manager.process().wait_ready(PATIENCE, listens)?;
    ensure!(manager.get("/readyz").is_err(), "the gate was started for nobody");

    let clients = ["198.18.1.7:443", "[2001:db8:18::1:7]:443"];
    let mut pids = BTreeSet::new();
    for round in 1..=2 {
        // The first of them starts it.
        peer::clients(&lab.client, PATIENCE, || async {
            for to in clients {
                peer::echo_once(to.parse()?, HOST, b"through").await.with_context(|| to.to_owned())?;
            }
            anyhow::Ok(())
        })??;
        let lines = manager.wait_closed(PATIENCE, |lines| lines.len() == clients.len() * round)?;
        let wanted = |line: &Value| line.get("original_dst").and_then(Value::as_str).unwrap_or_default().to_owned();
        let new: Vec<_> = lines.iter().skip(clients.len() * (round - 1)).map(wanted).collect();
        ensure!(new == clients, "{lines:?}");
        let gate = gate_in(&group)?;
        has_no_capability(gate)?;
        ensure!(pids.insert(gate), "the same process");
        kill_process(Pid::from_raw(gate.cast_signed()).context("a pid")?, Signal::KILL)?;
    }
    Ok(())
}

/// The process that the service manager has started.
fn gate_in(group: &Cgroup) -> Result<u32> {
    let is_gate = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sekisho\n");
    let pids = group.pids();
    pids.iter().copied().find(is_gate).with_context(|| format!("no gate among {pids:?}"))
}

#[test]
fn the_rules_and_routes_of_tproxy_are_the_same_wherever_they_stand() -> Result<()> {
    let unit = read("systemd/sekisho-tproxy.service")?;
    let run = |line: &str| Some(line.strip_prefix("ExecStart=/usr/sbin/ip ")?.to_owned());
    let of_unit: BTreeSet<_> = unit.lines().filter_map(run).collect();
    ensure!(of_unit.len() == 4, "{of_unit:?}");
    for file in ["tproxy-router.nft", "tproxy-host.nft"] {
        let rules = read(&format!("nftables/{file}"))?;
        let told: BTreeSet<_> =
            rules.lines().filter_map(|line| Some(line.strip_prefix("#   ip ")?.to_owned())).collect();
        ensure!(told == of_unit, "{file}: {told:?}");
        ensure!(rules.contains("\ndefine tproxy_mark = 0x5e16\n"), "another mark");
    }
    for file in ["tproxy-router.sh", "tproxy-host.sh"] {
        let script = read(&format!("iptables/{file}"))?;
        ensure!(script.contains("\nMARK=0x5e16\nTABLE=24086\n"), "{file}: another mark or table");
    }
    Ok(())
}
