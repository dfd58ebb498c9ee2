//! The three namespaces, their wires and addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::dns::Dns;
use crate::netns::{self, Netns};
use crate::{interrupt, place};

/// The client's DNS server.
pub const CLIENT_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 53));
/// The gate's DNS server.
pub const GATE_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 54));
/// The network of [`Lab::pool`]: the addresses that both DNS servers give at first.
pub const POOL: &str = "198.18.1.0/24";
/// The network of [`Lab::gate_pool`]: addresses that only a gate's own DNS gives.
pub const GATE_POOL: &str = "198.18.2.0/24";
/// The network of [`Lab::pool6`].
pub const POOL6: &str = "2001:db8:18::/48";

/// A client, a gate (a router at first) and servers, with a DNS server for each of the first two.
#[derive(Debug)]
pub struct Lab {
    /// What the client asks: 198.18.0.53, pool 198.18.1.1–64.
    pub client_dns: Dns,
    /// What the gate asks: 198.18.0.54, the same pool until [`Dns::set_pool`].
    pub gate_dns: Dns,
    /// Where the client's programs run: 10.20.0.2 to 10.20.0.9, and `2001:db8:20::2`.
    pub client: Netns,
    /// The router between, on which sekisho runs: 10.20.0.1 and 10.88.0.1, `2001:db8:20::1` and `2001:db8:88::1`.
    pub gate: Netns,
    /// The far side, which owns every address of 198.18.0.0/15 and `2001:db8:18::/48`.
    pub servers: Netns,
    number: u32,
    directory: PathBuf,
}

impl Lab {
    /// Makes a lab; `name` appears in its directory's name. Leftovers of labs whose process died are removed first, and
    /// from here on SIGINT, SIGTERM and SIGHUP remove the labs of this process before it ends.
    ///
    /// # Errors
    /// Fails, saying so, without root, iproute2, or a kernel with network namespaces and veth.
    pub fn new(name: &str) -> Result<Self> {
        static ONCE: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            bail!("the lab makes network namespaces, so it needs root");
        }
        ONCE.call_once(|| {
            netns::remove_leftovers();
            interrupt::remove_labs_on_signal();
        });
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = place::run_directory(&format!("{number}-{name}"))?;
        let make = |part: &str| Netns::create(&format!("{number}-{part}"));
        let (client, gate, servers) = (make("client")?, make("gate")?, make("servers")?);

        wire(&client, "north", &gate, "south").context("cannot make a veth pair: does the kernel have veth?")?;
        wire(&gate, "north", &servers, "south")?;
        for ns in [&client, &gate, &servers] {
            ns.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
            ns.sysctl("net/core/somaxconn", "65535")?;
        }
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            gate.sysctl(key, "1")?;
        }
        for host in 2..=9 {
            client.run("ip", ["addr", "add", &format!("10.20.0.{host}/24"), "dev", "north"])?;
        }
        ip(&client, "-6 addr add 2001:db8:20::2/64 dev north nodad")?;
        ip(&client, "route add default via 10.20.0.1")?;
        ip(&client, "-6 route add default via 2001:db8:20::1")?;
        ip(&gate, "addr add 10.20.0.1/24 dev south")?;
        ip(&gate, "addr add 10.88.0.1/24 dev north")?;
        ip(&gate, "-6 addr add 2001:db8:20::1/64 dev south nodad")?;
        ip(&gate, "-6 addr add 2001:db8:88::1/64 dev north nodad")?;
        ip(&gate, "route add 198.18.0.0/15 via 10.88.0.2")?;
        ip(&gate, "-6 route add 2001:db8:18::/48 via 2001:db8:88::2")?;
        ip(&servers, "addr add 10.88.0.2/24 dev south")?;
        ip(&servers, "-6 addr add 2001:db8:88::2/64 dev south nodad")?;
        ip(&servers, "route add 10.20.0.0/24 via 10.88.0.1")?;
        ip(&servers, "-6 route add 2001:db8:20::/64 via 2001:db8:88::1")?;
        ip(&servers, "route add local 198.18.0.0/15 dev lo")?;
        ip(&servers, "-6 route add local 2001:db8:18::/48 dev lo")?;

        let client_dns = Dns::start(&servers, CLIENT_DNS, Self::pool())?;
        let gate_dns = Dns::start(&servers, GATE_DNS, Self::pool())?;
        client.use_dns(&[CLIENT_DNS])?;
        gate.use_dns(&[GATE_DNS])?;
        Ok(Self { client_dns, gate_dns, client, gate, servers, number, directory })
    }

    /// One more namespace, and a wire from it (its end is `south`) to `to`, where the wire's end is called `end`.
    ///
    /// # Errors
    /// As for the lab itself.
    pub fn join(&self, part: &str, to: &Netns, end: &str) -> Result<Netns> {
        let ns = Netns::create(&format!("{}-{part}", self.number))?;
        wire(to, end, &ns, "south")?;
        Ok(ns)
    }

    /// 198.18.1.1 to 198.18.1.64.
    pub fn pool() -> Vec<IpAddr> {
        (1..=64).map(|host| Ipv4Addr::new(198, 18, 1, host).into()).collect()
    }

    /// 198.18.2.1 to 198.18.2.64: no address of [`Lab::pool`].
    pub fn gate_pool() -> Vec<IpAddr> {
        (1..=64).map(|host| Ipv4Addr::new(198, 18, 2, host).into()).collect()
    }

    /// `2001:db8:18::1:1` to `2001:db8:18::1:40`.
    pub fn pool6() -> Vec<IpAddr> {
        (1..=64).map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0x18, 0, 0, 0, 1, host).into()).collect()
    }

    /// Where this lab's files are: every program's output, the gate's configuration and logs. Removed with the lab, but
    /// kept when a test panics, and where `SEKISHO_KEEP` is set: of a test that returns an error the lab knows nothing.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() || std::env::var_os("SEKISHO_KEEP").is_some() {
            eprintln!("what the test's programs wrote is in {}", self.directory.display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

pub(crate) fn ip(ns: &Netns, arguments: &str) -> Result<()> {
    ns.run("ip", arguments.split(' ')).map(drop)
}

/// A veth pair made inside, so that the host never sees an interface.
pub(crate) fn wire(a: &Netns, a_end: &str, b: &Netns, b_end: &str) -> Result<()> {
    let ends = ["link", "add", a_end, "netns", a.name(), "type", "veth", "peer", "name", b_end, "netns", b.name()];
    netns::run(Command::new("ip").args(ends))?;
    ip(a, &format!("link set {a_end} up"))?;
    ip(b, &format!("link set {b_end} up"))
}
