//! The units of systemd: what they open and load is what the gate and its packet rules want.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::activation::handing_over;
use lab::gate::{Gate, Options};

use super::read;

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
