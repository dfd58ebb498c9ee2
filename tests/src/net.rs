//! Packets: redirected to the gate, counted, dropped.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::gate::UID;
use crate::netns::{self, Netns};
use crate::place;
use crate::topology::Lab;

/// The port that redirected connections arrive on.
pub const REDIRECT_PORT: u16 = 8443;

/// Rules that send connections to port 443 to the gate, as `sekisho export` prints them; removed on drop.
#[derive(Debug)]
pub struct Redirect<'lab> {
    ns: &'lab Netns,
    undo: Vec<String>,
}

impl<'lab> Redirect<'lab> {
    /// On the router, by nftables: whatever comes from the client's networks, IPv4 and IPv6; QUIC is rejected. DNS passes,
    /// and nothing else.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without its NAT.
    pub fn nftables(lab: &'lab Lab) -> Result<Self> {
        Self::nftables_with(lab, &[])
    }

    /// The same with more options of the export.
    ///
    /// # Errors
    /// As of [`Redirect::nftables`].
    pub fn nftables_with(lab: &'lab Lab, more: &[&str]) -> Result<Self> {
        let file = exported(lab, "nftables", &[&["--for", "router", "--pass", "udp:53,tcp:53"], more].concat())?;
        load(&lab.gate, &["nft", "-f", &file])?;
        let undo = "nft delete table inet sekisho_router".split(' ').map(str::to_owned).collect();
        Ok(Self { ns: &lab.gate, undo })
    }

    /// The same by iptables and ip6tables.
    ///
    /// # Errors
    /// Fails without iptables, or a kernel without its REDIRECT target.
    pub fn iptables(lab: &'lab Lab) -> Result<Self> {
        let file = exported(lab, "iptables", &["--for", "router", "--pass", "udp:53,tcp:53"])?;
        load(&lab.gate, &["sh", &file, "apply"])?;
        Ok(Self { ns: &lab.gate, undo: vec!["sh".to_owned(), file, "remove".to_owned()] })
    }

    /// As [`Redirect::nftables`] by TPROXY, with the rules and routes that the file's comments tell of.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without TPROXY or policy routing.
    pub fn tproxy(lab: &'lab Lab) -> Result<Self> {
        Self::tproxy_with(lab, &[])
    }

    /// The same with more options of the export.
    ///
    /// # Errors
    /// As of [`Redirect::tproxy`].
    pub fn tproxy_with(lab: &'lab Lab, more: &[&str]) -> Result<Self> {
        let all = [&["--for", "router", "--by", "tproxy", "--pass", "udp:53,tcp:53"], more].concat();
        let file = exported(lab, "nftables", &all)?;
        // They are there already where such rules were loaded before.
        if lab.gate.run("ip", ["rule", "show"])?.matches("fwmark").count() == 0 {
            route_marked(&lab.gate, &std::fs::read_to_string(&file)?)?;
        }
        load(&lab.gate, &["nft", "-f", &file])?;
        let undo = "nft delete table inet sekisho_router".split(' ').map(str::to_owned).collect();
        Ok(Self { ns: &lab.gate, undo })
    }

    /// On one host: what any user but the gate's own sends from the gate's namespace itself.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without its NAT.
    pub fn own_output(lab: &'lab Lab) -> Result<Self> {
        let file = exported(lab, "nftables", &["--for", "host", "--user", &UID.to_string()])?;
        load(&lab.gate, &["nft", "-f", &file])?;
        let undo = "nft delete table inet sekisho_host".split(' ').map(str::to_owned).collect();
        Ok(Self { ns: &lab.gate, undo })
    }
}

impl Drop for Redirect<'_> {
    fn drop(&mut self) {
        let mut words = self.undo.iter().map(String::as_str);
        let _ = self.ns.run(words.next().unwrap_or_default(), words);
    }
}

/// Runs the commands of `ip` that stand in the comments of rules for TPROXY.
///
/// # Errors
/// Fails where they do, or where there are fewer than a rule and a route for each family.
pub fn route_marked(ns: &Netns, rules: &str) -> Result<()> {
    let commands: Vec<_> = rules.lines().filter_map(|line| line.strip_prefix("#   ip ")).collect();
    anyhow::ensure!(commands.len() == 4, "no rules and routes for TPROXY: {commands:?}");
    commands.iter().try_for_each(|command| ns.run("ip", command.split(' ')).map(drop))
}

/// Takes the rules away that [`route_marked`] has made; the routes mean nothing without.
pub fn unroute(ns: &Netns) {
    for family in ["-4", "-6"] {
        while ns.run("ip", [family, "rule", "del", "fwmark", "0x5e16", "lookup", "24086"]).is_ok() {}
    }
}

/// What `sekisho export` prints for the lab's clients, as a file in the lab's directory.
///
/// # Errors
/// Fails when there is no binary, or it says no.
pub fn exported(lab: &Lab, what: &str, arguments: &[&str]) -> Result<String> {
    let policy = lab.directory().join("clients.yaml");
    let rule = r#"{ name: clients, clients: [10.20.0.0/24, "2001:db8:20::/64"], hosts: [.example.net] }"#;
    std::fs::write(&policy, format!("version: 1\nrules:\n  - {rule}\n"))?;
    let mut command = Command::new(place::gate_binary()?);
    let port = REDIRECT_PORT.to_string();
    command.args(["export", what, "--gate-port", &port, "--policy"]).arg(&policy).args(arguments);
    let file = lab.directory().join(unique(what));
    std::fs::write(&file, netns::run(&mut command)?)?;
    file.to_str().map(str::to_owned).context("the lab's directory has a name that is not UTF-8")
}

fn load(ns: &Netns, words: &[&str]) -> Result<()> {
    let (program, arguments) = words.split_first().context("no command")?;
    let loaded = ns.run(program, arguments.iter().copied());
    loaded.context("cannot load packet rules: does the kernel have nf_tables and NAT?").map(drop)
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
