//! Two gates on a network of their own, between the lab's router (its gate's namespace, on which none runs then) and its
//! servers.

use anyhow::{Context, Result};

use crate::gate::{Gate, Options};
use crate::net::exported;
use crate::netns::Netns;
use crate::topology::{Lab, ip, wire};

/// The gates' hosts, `10.21.0.11` and `.12`, `2001:db8:21::11` and `::12`, behind the router's bridge `gates`, which has
/// `10.21.0.1` and `2001:db8:21::1`. The lab's routes still go past them.
#[derive(Debug)]
pub struct Pair {
    /// The hosts.
    pub hosts: [Netns; 2],
}

impl Pair {
    /// Makes the two hosts, each with a way to the servers of its own.
    ///
    /// # Errors
    /// Fails where the lab itself would, or where the kernel has no bridge.
    pub fn new(lab: &Lab) -> Result<Self> {
        ip(&lab.gate, "link add gates type bridge mcast_snooping 0").context("does the kernel have bridges?")?;
        ip(&lab.gate, "addr add 10.21.0.1/24 dev gates")?;
        ip(&lab.gate, "-6 addr add 2001:db8:21::1/64 dev gates nodad")?;
        ip(&lab.gate, "link set gates up")?;
        Ok(Self { hosts: [Self::host(lab, "a", 11)?, Self::host(lab, "b", 12)?] })
    }

    fn host(lab: &Lab, part: &str, number: u8) -> Result<Netns> {
        let port = format!("gate-{part}");
        let host = lab.join(part, &lab.gate, &port)?;
        ip(&lab.gate, &format!("link set {port} master gates"))?;
        // A link-local address that moves is to be used at once.
        host.sysctl("net/ipv6/conf/all/accept_dad", "0")?;
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            host.sysctl(key, "0")?;
        }
        host.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
        host.sysctl("net/core/somaxconn", "65535")?;
        ip(&host, &format!("addr add 10.21.0.{number}/24 dev south"))?;
        ip(&host, &format!("-6 addr add 2001:db8:21::{number}/64 dev south nodad"))?;
        ip(&host, "route add 10.20.0.0/24 via 10.21.0.1")?;
        ip(&host, "-6 route add 2001:db8:20::/64 via 2001:db8:21::1")?;

        let end = format!("from-{part}");
        wire(&host, "north", &lab.servers, &end)?;
        ip(&host, &format!("addr add 10.88.{number}.1/24 dev north"))?;
        ip(&host, &format!("-6 addr add 2001:db8:88:{number}::1/64 dev north nodad"))?;
        ip(&host, &format!("route add 198.18.0.0/15 via 10.88.{number}.2"))?;
        ip(&host, &format!("-6 route add 2001:db8:18::/48 via 2001:db8:88:{number}::2"))?;
        ip(&lab.servers, &format!("addr add 10.88.{number}.2/24 dev {end}"))?;
        ip(&lab.servers, &format!("-6 addr add 2001:db8:88:{number}::2/64 dev {end} nodad"))?;
        Ok(host)
    }

    /// Loads the packet rules of a router box on both hosts.
    ///
    /// # Errors
    /// Fails without nft, or a kernel without its NAT.
    pub fn redirect(&self, lab: &Lab) -> Result<()> {
        let file = exported(lab, "nftables", &["--for", "router"])?;
        self.hosts.iter().try_for_each(|host| host.run("nft", ["-f", &file]).map(drop))
    }

    /// Starts a gate on the first or the second host, under its own name, and waits until it is ready.
    ///
    /// # Errors
    /// As for [`Gate::start`].
    pub fn start<'lab>(&'lab self, lab: &'lab Lab, index: usize, options: &Options) -> Result<Gate<'lab>> {
        let name = ["first", "second"].get(index).context("there are two")?;
        let host = self.hosts.get(index).context("there are two")?;
        let mut gate = Gate::launch_in(lab, host, &Options { name: (*name).to_owned(), ..options.clone() })?;
        gate.wait_ready()?;
        Ok(gate)
    }
}
