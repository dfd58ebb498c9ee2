//! Sockets that are handed over: what is wrong with them is said in plain words, they outlive a gate, and a gate that has
//! them needs nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::activation::{handing_over, restarting};
use lab::gate::{Gate, Options, UID};
use lab::net::Redirect;
use lab::netns::run;
use rustix::process::{Pid, Signal, kill_process};

use super::{HOST, PATIENCE, has_no_capability, holds, options, text};
use crate::peer::{self, Server};

const TO: &str = "198.18.1.7:443";
const TPROXY: &str = "{ name: front, bind: \"[::]:8443\", ipv6_only: false, destination: tproxy, socket: handed_over }";
const REDIRECT: &str =
    "{ name: front, bind: \"[::]:8443\", ipv6_only: false, destination: redirect, socket: handed_over }";

/// A gate that must not start, and why.
struct Fault {
    listener: &'static str,
    sockets: &'static [&'static str],
    wrapper: &'static [&'static str],
    capability: &'static str,
    says: &'static [&'static str],
}

const FINE: Fault =
    Fault { listener: TPROXY, sockets: &["front=[::]:8443,transparent"], wrapper: &[], capability: "", says: &[] };
const BY_HAND: Fault = Fault { listener: "{ bind: \"0.0.0.0:8443\", destination: tproxy }", sockets: &[], ..FINE };

const FAULTS: &[Fault] = &[
    Fault {
        sockets: &["front=[::]:8443,transparent", "back=[::]:8444"],
        says: &["by the name `back`, which no listener has (`front`)", "FileDescriptorName="],
        ..FINE
    },
    Fault { sockets: &[], says: &["listener `front` has `socket: handed_over`", "start the socket unit"], ..FINE },
    Fault {
        // Meant for another process.
        wrapper: &["env", "LISTEN_PID=1"],
        says: &["listener `front` has `socket: handed_over`"],
        ..FINE
    },
    Fault {
        sockets: &["front=0.0.0.0:8443,transparent"],
        says: &["listens on 0.0.0.0:8443", "`bind: \"[::]:8443\"`"],
        ..FINE
    },
    Fault {
        sockets: &["front=[::]:8443,only,transparent"],
        says: &["takes IPv6 only", "`ipv6_only: false`; make it `ipv6_only: true`, or write BindIPv6Only=both"],
        ..FINE
    },
    Fault {
        listener: "{ name: front, bind: \"[::]:8443\", destination: none }",
        sockets: &["front=[::]:8443"],
        says: &["takes IPv4 as well", "`ipv6_only: true`; make it `ipv6_only: false`, or write BindIPv6Only=ipv6-only"],
        ..FINE
    },
    Fault { sockets: &["front=[::]:8444,transparent"], says: &["listens on [::]:8444"], ..FINE },
    Fault { sockets: &["front=[::]:8443"], says: &["`front` is not transparent", "Transparent=yes"], ..FINE },
    Fault { sockets: &["front=[::]:8443,transparent,deaf"], says: &["`front` is no TCP socket that listens"], ..FINE },
    Fault {
        listener: REDIRECT,
        sockets: &["front=[::]:8443,datagram"],
        says: &["`front` is no TCP socket that listens", "not a valid tcp socket"],
        ..FINE
    },
    Fault { sockets: &["fr:ont=[::]:8443,transparent"], says: &["1 sockets are handed over", "2 names"], ..FINE },
    Fault { says: &["takes CAP_NET_ADMIN", "Transparent=yes"], ..BY_HAND },
    // Whoever holds a capability that the gate cannot take from it: here a thread that is there before `main`.
    Fault {
        capability: "+net_admin",
        wrapper: &["env", "_RJEM_MALLOC_CONF=background_thread:true"],
        says: &["still has capabilities, 0000000000001000"],
        ..BY_HAND
    },
];

#[test]
fn what_is_wrong_with_a_socket_is_said_and_the_gate_does_not_start() -> Result<()> {
    let lab = Lab::new("handed-faults")?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    for (number, fault) in FAULTS.iter().enumerate() {
        let options = Options {
            activator: if fault.sockets.is_empty() { Vec::new() } else { handing_over(fault.sockets) },
            wrapper: words(fault.wrapper),
            capability: fault.capability.to_owned(),
            ..options(&format!("fault-{number}"), &[fault.listener])
        };
        let mut gate = Gate::launch(&lab, &options)?;
        let status = gate.process().wait(PATIENCE).with_context(|| format!("{:?}", fault.says))?;
        let said = gate.process().stderr();
        ensure!(status.code() == Some(1), "{status}: {said}");
        ensure!(fault.says.iter().all(|words| said.contains(words)), "{:?}: {said}", fault.says);
    }
    // And with nothing wrong it does; either capability is enough.
    let fine = Options { activator: handing_over(FINE.sockets), ..options("fine", &[FINE.listener]) };
    drop(Gate::start(&lab, &fine)?);
    for capability in ["+net_admin", "+net_raw"] {
        let options =
            Options { capability: capability.to_owned(), ..options(&format!("by{capability}"), &[BY_HAND.listener]) };
        let mut gate = Gate::start(&lab, &options)?;
        has_no_capability(gate.process().pid())?;
    }
    Ok(())
}

#[test]
fn a_gate_that_restarts_on_a_socket_that_is_kept_refuses_nobody() -> Result<()> {
    let lab = Lab::new("handed-restarts")?;
    let _server = Server::start(&lab)?;
    let _redirect = Redirect::tproxy(&lab)?;
    let options = Options { activator: restarting(FINE.sockets, 3), ..options("gate", &[FINE.listener]) };
    let mut gate = Gate::start(&lab, &options)?;
    let reloads = |result| {
        let seen = || gate.metrics().map(|all| all.sum("sekisho_policy_reloads_total", &[("result", result)]));
        wait(|| seen().is_ok_and(|count| count >= 1.0)).with_context(|| format!("no reload was {result}"))
    };
    gate.replace_policy("version: 1\nrules: []\nno: key\n")?;
    reloads("failed")?;
    gate.replace_policy(&format!("{}  - {{ name: more, hosts: [more.example] }}\n", options.policy))?;
    reloads("loaded")?;
    let mut pids = BTreeSet::new();
    for round in 0..3 {
        let ready = || gate.get("/readyz").is_ok_and(|(status, _)| status == 200);
        wait(ready).with_context(|| format!("gate {round} is not ready"))?;
        let pid = child(gate.process().pid())?;
        ensure!(pids.insert(pid), "the same process serves");
        // Open before it is told to end, and through by then; new ones all the while, which wait for the next.
        peer::clients(&lab.client, PATIENCE, || async move {
            let mut open = peer::open(TO.parse()?, HOST, peer::Task::Echo).await?;
            peer::ping(&mut open, b"before").await?;
            kill_process(Pid::from_raw(pid).context("a pid")?, Signal::TERM)?;
            for _ in 0..10 {
                peer::ping(&mut open, b"meanwhile").await?;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            drop(open);
            if round < 2 {
                for number in 0..50u32 {
                    peer::echo_once(TO.parse()?, HOST, &number.to_be_bytes())
                        .await
                        .with_context(|| format!("{number}"))?;
                }
            }
            anyhow::Ok(())
        })??;
    }
    let status = gate.process().wait(PATIENCE)?;
    ensure!(status.success() && gate.process().stdout().matches("ended with 0").count() == 3, "{status}");
    let lines = gate.wait_closed(PATIENCE, |lines| lines.len() >= 103)?;
    ensure!(lines.len() == 103 && lines.iter().all(|line| text(line, "verdict") == "allowed"), "{lines:?}");
    ensure!(lines.iter().all(|line| text(line, "original_dst") == TO), "{lines:?}");
    Ok(())
}

/// systemd's own program, which knows no transparent sockets and starts what it has a socket for at the first connection.
#[test]
fn the_connection_that_starts_a_gate_is_served_by_it() -> Result<()> {
    let lab = Lab::new("handed-systemd")?;
    let _server = Server::start(&lab)?;
    let _redirect = Redirect::nftables(&lab)?;
    let activate = "systemd-socket-activate --fdname=front --listen=[::]:8443".split(' ').map(str::to_owned).collect();
    let mut gate = Gate::launch(&lab, &Options { activator: activate, ..options("gate", &[REDIRECT]) })?;
    let listens = || lab.gate.run("ss", ["-Hltn", "sport", "=", ":8443"]).is_ok_and(|said| !said.is_empty());
    wait(listens).context("nobody listens")?;
    ensure!(gate.get("/readyz").is_err(), "it was started for nobody");
    peer::clients(&lab.client, PATIENCE, || async {
        for to in [TO, "[2001:db8:18::1:7]:443"] {
            peer::echo_once(to.parse()?, HOST, b"first").await?;
        }
        anyhow::Ok(())
    })??;
    let lines = gate.wait_closed(PATIENCE, |lines| lines.len() == 2)?;
    ensure!(text(&lines[0], "original_dst") == TO && text(&lines[0], "listener") == "front", "{lines:?}");
    ensure!(gate.stop(PATIENCE)?.success(), "{}", gate.process().stderr());
    Ok(())
}

/// The unit's filter refuses `capset` among others: a gate that is handed its sockets has nothing to set.
#[test]
fn a_gate_with_a_socket_from_a_unit_makes_no_call_that_the_service_unit_forbids() -> Result<()> {
    let lab = Lab::new("handed-filter")?;
    let _server = Server::start(&lab)?;
    lab.gate_dns.set_pool(Lab::gate_pool());
    let _redirect = Redirect::tproxy(&lab)?;
    // Not beside the policy, whose directory the gate watches.
    let directory = lab.directory().join("trace");
    fs::create_dir(&directory)?;
    chown(&directory, Some(UID), Some(UID))?;
    let file = directory.join("calls");
    let strace = ["strace", "-D", "-f", "-qq", "--signal=none", "-o", file.to_str().context("path")?];
    let strace = strace.map(str::to_owned).to_vec();
    let options =
        Options { activator: handing_over(FINE.sockets), wrapper: strace, ..options("gate", &[FINE.listener]) };
    holds(&lab, &options)?;

    let calls = fs::read_to_string(file)?;
    // `PID call(…`, and what is resumed or exits has no name of its own.
    let calls =
        calls.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('(')).map(|(call, _)| call);
    let calls: BTreeSet<_> =
        calls.filter(|call| call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).collect();
    ensure!(calls.contains("accept4") && calls.contains("capget") && calls.len() > 40, "{calls:?}");
    let allowed = allowed_calls()?;
    let forbidden: Vec<_> = calls.iter().filter(|call| !allowed.contains(**call)).collect();
    ensure!(forbidden.is_empty() && !allowed.contains("capset"), "the unit forbids {forbidden:?}");
    Ok(())
}

/// What the service unit's lines come to, in their order, by systemd's own groups.
fn allowed_calls() -> Result<BTreeSet<String>> {
    let unit = fs::read_to_string(lab::workspace().join("deploy/systemd/sekisho.service"))?;
    let mut allowed = group("@default")?;
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (words, add) = line.strip_prefix('~').map_or((line, true), |words| (words, false));
        for word in words.split(' ') {
            for call in if word.starts_with('@') { group(word)? } else { [word.to_owned()].into() } {
                if add {
                    allowed.insert(call)
                } else {
                    allowed.remove(&call)
                };
            }
        }
    }
    Ok(allowed)
}

/// A group's calls, and those of the groups in it.
fn group(name: &str) -> Result<BTreeSet<String>> {
    let said = run(Command::new("systemd-analyze").args(["syscall-filter", name]))?;
    let mut calls = BTreeSet::new();
    for word in said.lines().map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#') && *word != name) {
        if word.starts_with('@') {
            calls.extend(group(word)?);
        } else {
            calls.insert(word.to_owned());
        }
    }
    Ok(calls)
}

/// The process that a supervisor has started.
fn child(supervisor: u32) -> Result<i32> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"))?;
    children.split_whitespace().next().context("no child")?.parse().context("a child's id")
}

fn wait(ready: impl Fn() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !ready() {
        ensure!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}
