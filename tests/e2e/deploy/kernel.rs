//! The kernel settings that are shipped: each one there, and taken.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Redirect;
use lab::netns::Netns;

use super::read;
use crate::peer::{self, HOST, Server, TO};

/// Settings of the whole host, which a namespace shows or has not. This test only looks that they are there.
const OF_THE_HOST: &[&str] =
    &["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "fs.pipe-user-pages-soft"];

fn settings() -> Result<Vec<(String, String)>> {
    let text = read("sysctl.d/60-sekisho.conf")?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let setting = |line: &str| {
        let (key, value) = line.split_once(" = ").with_context(|| format!("no setting: {line}"))?;
        Ok((key.to_owned(), value.to_owned()))
    };
    lines.map(setting).collect()
}

fn is(ns: &Netns, key: &str) -> Result<String> {
    let text = ns.run("cat", [&*format!("/proc/sys/{}", key.replace('.', "/"))])?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_kernel_setting_exists_is_taken_and_a_gate_serves_with_it() -> Result<()> {
    let lab = Lab::new("sysctl")?;
    let _server = Server::start(&lab)?;
    // Its rules bring connection tracking with them.
    let gate = Gate::start(&lab, &peer::options(""))?;
    let _redirect = Redirect::nftables(&lab)?;
    lab.gate.sysctl("net/ipv4/ip_local_port_range", "32768 60999")?;
    let all = settings()?;
    ensure!(all.len() > 5, "hardly any setting: {all:?}");
    for (key, value) in &all {
        if OF_THE_HOST.contains(&&**key) {
            let there = is(&lab.gate, key)?;
            ensure!(there.parse::<u64>().is_ok() && value.parse::<u64>().is_ok(), "{key} is {there}, not a number");
            continue;
        }
        lab.gate.sysctl(&key.replace('.', "/"), value).with_context(|| format!("{key} = {value}"))?;
        let taken = is(&lab.gate, key)?;
        // The kernel writes neighbouring ports as one range.
        ensure!(taken == *value || taken.replace("9180-9181", "9180,9181") == *value, "{key} is {taken}, not {value}");
    }
    peer::clients(&lab.client, std::time::Duration::from_secs(20), || async {
        for _ in 0..20 {
            peer::echo_once(TO.parse()?, HOST, b"here").await?;
        }
        anyhow::Ok(())
    })??;
    gate.wait_closed(std::time::Duration::from_secs(10), |lines| lines.len() == 20).map(drop)
}

#[test]
fn no_port_that_the_examples_listen_on_is_dialled_from() -> Result<()> {
    let all = settings()?;
    let value =
        |key: &str| all.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone()).context("no such setting");
    let reserved = value("net.ipv4.ip_local_reserved_ports")?;
    let reserved = reserved.split(',').map(str::parse).collect::<Result<BTreeSet<u16>, _>>()?;
    let mut listened = BTreeSet::new();
    for file in ["sekisho.yaml", "haproxy/sekisho.yaml", "prometheus/scrape.yaml"] {
        let text = fs::read_to_string(super::deploy(file))?;
        // `"0.0.0.0:8443"`: a port ends a quoted address.
        listened.extend(text.split('"').filter_map(|word| word.rsplit_once(':')?.1.parse::<u16>().ok()));
    }
    listened.retain(|port| *port >= 1024);
    ensure!(
        listened.len() >= 4 && listened.is_subset(&reserved),
        "{listened:?} are listened on, {reserved:?} reserved"
    );
    Ok(())
}

#[test]
fn sysctl_reads_the_file() -> Result<()> {
    // It says which of the settings it cannot set here, and nothing of lines that it cannot read.
    let dry = std::process::Command::new("sysctl")
        .arg("--dry-run")
        .arg("--load")
        .arg(super::deploy("sysctl.d/60-sekisho.conf"))
        .output();
    let dry = dry.context("cannot start sysctl")?;
    let said = String::from_utf8_lossy(&dry.stdout).into_owned();
    ensure!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    for (key, value) in settings()? {
        ensure!(said.contains(&format!("{key} = {value}")), "{key} is missing in: {said}");
    }
    Ok(())
}
