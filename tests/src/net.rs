//! Packets: redirected to the gate, counted, dropped.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::gate::UID;
use crate::netns::Netns;
use crate::topology::Lab;

/// The port that redirected connections arrive on.
pub const REDIRECT_PORT: u16 = 8443;

/// Rules that send connections to port 443 to the gate; removed on drop.
#[derive(Debug)]
pub struct Redirect<'lab> {
    ns: &'lab Netns,
    undo: &'static [&'static str],
}

impl<'lab> Redirect<'lab> {
    /// On the router, by nftables: whatever comes from the client's networks, IPv4 and IPv6; QUIC is rejected.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without its NAT.
    pub fn nftables(lab: &'lab Lab) -> Result<Self> {
        let rules = format!(
            "table inet sekisho {{
                 chain to_gate {{
                     type nat hook prerouting priority dstnat
                     ip saddr 10.20.0.0/24 tcp dport 443 redirect to :{REDIRECT_PORT}
                     ip6 saddr 2001:db8:20::/64 tcp dport 443 redirect to :{REDIRECT_PORT}
                 }}
                 chain quic {{
                     type filter hook forward priority filter
                     udp dport 443 reject
                 }}
             }}"
        );
        nft(&lab.gate, &lab.directory().join("redirect.nft"), &rules)?;
        Ok(Self { ns: &lab.gate, undo: &["nft flush ruleset"] })
    }

    /// The same by iptables and ip6tables.
    ///
    /// # Errors
    /// Fails without iptables, or a kernel without its REDIRECT target.
    pub fn iptables(lab: &'lab Lab) -> Result<Self> {
        for (program, source) in [("iptables", "10.20.0.0/24"), ("ip6tables", "2001:db8:20::/64")] {
            let to = REDIRECT_PORT.to_string();
            let from = ["-t", "nat", "-A", "PREROUTING", "-s", source, "-p", "tcp", "--dport", "443"];
            lab.gate.run(program, from.into_iter().chain(["-j", "REDIRECT", "--to-ports", &to]))?;
            lab.gate.run(program, ["-A", "FORWARD", "-p", "udp", "--dport", "443", "-j", "REJECT"])?;
        }
        let undo = &["iptables -t nat -F", "iptables -F", "ip6tables -t nat -F", "ip6tables -F"];
        Ok(Self { ns: &lab.gate, undo })
    }

    /// On one host: what any user but the gate's own sends from the gate's namespace itself.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without its NAT.
    pub fn own_output(lab: &'lab Lab) -> Result<Self> {
        let rules = format!(
            "table inet sekisho {{
                 chain to_gate {{
                     type nat hook output priority -100
                     tcp dport 443 meta skuid != {UID} redirect to :{REDIRECT_PORT}
                 }}
                 chain quic {{
                     type filter hook output priority filter
                     udp dport 443 reject
                 }}
             }}"
        );
        nft(&lab.gate, &lab.directory().join("output.nft"), &rules)?;
        Ok(Self { ns: &lab.gate, undo: &["nft flush ruleset"] })
    }
}

impl Drop for Redirect<'_> {
    fn drop(&mut self) {
        for line in self.undo {
            let mut words = line.split(' ');
            let _ = self.ns.run(words.next().unwrap_or_default(), words);
        }
    }
}

/// Counts what arrives at the servers' side for one network: the witness outside the gate.
#[derive(Debug)]
pub struct Counter<'lab> {
    ns: &'lab Netns,
    table: String,
}

impl<'lab> Counter<'lab> {
    /// Starts counting TCP packets towards a network, e.g. `198.18.2.0/24`, from anywhere.
    ///
    /// # Errors
    /// Fails without nft.
    pub fn towards(lab: &'lab Lab, network: &str) -> Result<Self> {
        let (table, to) = (unique("count"), daddr(network));
        let rules = format!(
            "table inet {table} {{
                 counter everything {{ }}
                 counter syns {{ }}
                 counter payloads {{ }}
                 chain count {{
                     type filter hook prerouting priority raw
                     {to} meta l4proto tcp counter name everything
                     {to} tcp flags & (syn | ack) == syn counter name syns
                     {to} tcp flags & psh == psh counter name payloads
                 }}
             }}"
        );
        nft(&lab.servers, &lab.directory().join(format!("{table}.nft")), &rules)?;
        Ok(Self { ns: &lab.servers, table })
    }

    /// All TCP packets.
    ///
    /// # Errors
    /// Fails when nft does.
    pub fn packets(&self) -> Result<u64> {
        self.read("everything")
    }

    /// First packets of connections, repeats included.
    ///
    /// # Errors
    /// Fails when nft does.
    pub fn syns(&self) -> Result<u64> {
        self.read("syns")
    }

    /// Packets that push payload: at least one for whatever was written.
    ///
    /// # Errors
    /// Fails when nft does.
    pub fn payloads(&self) -> Result<u64> {
        self.read("payloads")
    }

    fn read(&self, counter: &str) -> Result<u64> {
        let text = self.ns.run("nft", ["-j", "list", "counter", "inet", &self.table, counter])?;
        let json: serde_json::Value = serde_json::from_str(&text).context("nft printed no JSON")?;
        json.pointer("/nftables/1/counter/packets").and_then(serde_json::Value::as_u64).context("nft showed no counter")
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        let _ = self.ns.run("nft", ["delete", "table", "inet", &self.table]);
    }
}

/// Makes a network on the servers' side unreachable; healed on drop.
#[derive(Debug)]
pub struct Outage<'lab> {
    ns: &'lab Netns,
    table: String,
}

impl<'lab> Outage<'lab> {
    /// Every packet towards the network disappears.
    ///
    /// # Errors
    /// Fails without nft.
    pub fn silent(lab: &'lab Lab, network: &str) -> Result<Self> {
        Self::start(lab, network, "drop")
    }

    /// Every TCP packet towards the network is answered by a reset.
    ///
    /// # Errors
    /// Fails without nft.
    pub fn resetting(lab: &'lab Lab, network: &str) -> Result<Self> {
        Self::start(lab, network, "meta l4proto tcp reject with tcp reset")
    }

    fn start(lab: &'lab Lab, network: &str, verdict: &str) -> Result<Self> {
        let (table, to) = (unique("outage"), daddr(network));
        let chain = format!("chain outage {{\ntype filter hook input priority filter\n{to} {verdict}\n}}");
        let rules = format!("table inet {table} {{\n{chain}\n}}\n");
        nft(&lab.servers, &lab.directory().join(format!("{table}.nft")), &rules)?;
        Ok(Self { ns: &lab.servers, table })
    }
}

impl Drop for Outage<'_> {
    fn drop(&mut self) {
        let _ = self.ns.run("nft", ["delete", "table", "inet", &self.table]);
    }
}

/// Loads rules by way of a file, so that they can be read when a test fails.
fn nft(ns: &Netns, file: &Path, rules: &str) -> Result<()> {
    std::fs::write(file, rules)?;
    let path = file.to_str().context("the lab's directory has a name that is not UTF-8")?;
    ns.run("nft", ["-f", path]).context("cannot load nftables rules: does the kernel have nf_tables and NAT?").map(drop)
}

fn daddr(network: &str) -> String {
    format!("{} daddr {network}", if network.contains(':') { "ip6" } else { "ip" })
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
