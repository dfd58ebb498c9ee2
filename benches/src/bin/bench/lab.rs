//! The three namespaces, and what runs in them whatever the gate: the servers' side, and the redirect.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::netns::{self, Netns};
use lab::process::Process;

/// How many names the policy has.
pub(crate) const NAMES: usize = 1000;
/// The addresses of the origin.
const ORIGINS: std::ops::RangeInclusive<u8> = 10..=17;
/// Where gates listen, whatever for, and where proxies' clients dial them.
pub(crate) const GATE: &str = "10.91.1.1";
pub(crate) const PORT: &str = "8443";
const TABLE: &str = "table ip bench {
    chain to_gate {
        type nat hook prerouting priority dstnat
        iifname \"south\" tcp dport { 80, 443 } redirect to :8443
    }
}";

/// All that stays while gates come and go; removed on drop.
pub(crate) struct Lab {
    pub(crate) clients: Netns,
    pub(crate) gate: Netns,
    servers: Netns,
    /// For files of gates and programs; any user may enter it.
    pub(crate) directory: PathBuf,
    redirected: bool,
    programs: PathBuf,
    running: Vec<Process>,
}

impl Lab {
    /// Makes the namespaces and starts origin and DNS.
    pub(crate) fn new(threads: usize, verify: bool) -> Result<Self> {
        netns::remove_leftovers();
        lab::cgroup::remove_leftovers();
        lab::remove_labs_on_signal();
        let directory = lab::run_directory("bench")?;
        let (clients, gate, servers) =
            (Netns::create("bench-clients")?, Netns::create("bench-gate")?, Netns::create("bench-servers")?);
        wire(&clients, "north", &gate, "south")?;
        wire(&gate, "north", &servers, "south")?;
        ip(&clients, "addr add 10.91.1.2/24 dev north")?;
        ip(&gate, "addr add 10.91.1.1/24 dev south")?;
        ip(&gate, "addr add 10.91.2.1/24 dev north")?;
        ip(&servers, "addr add 10.91.2.2/24 dev south")?;
        ip(&servers, "addr add 10.91.2.3/24 dev south")?;
        for host in ORIGINS {
            ip(&servers, &format!("addr add 10.91.2.{host}/24 dev south"))?;
        }
        ip(&clients, "route add default via 10.91.1.1")?;
        ip(&servers, "route add 10.91.1.0/24 via 10.91.2.1")?;
        gate.sysctl("net/ipv4/ip_forward", "1")?;
        for ns in [&clients, &gate, &servers] {
            ns.sysctl("net/ipv4/ip_local_port_range", "1024 65535")?;
            ns.sysctl("net/ipv4/tcp_tw_reuse", "1")?;
            // What went before must not make what comes after dearer: finding a port among a million that wait does.
            ns.sysctl("net/ipv4/tcp_max_tw_buckets", "4096")?;
            ns.sysctl("net/core/somaxconn", "65535")?;
            ns.sysctl("net/ipv4/tcp_max_syn_backlog", "65535")?;
        }
        let names = (0..NAMES).map(|at| format!("b{at:04}.s3.ap-northeast-1.amazonaws.com\n"));
        fs::write(directory.join("names.txt"), names.collect::<String>())?;
        let others = (0..NAMES).map(|at| format!("x{at:04}.s3.ap-northeast-1.amazonaws.com\n"));
        fs::write(directory.join("refused.txt"), others.collect::<String>())?;
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let programs = own.parent().unwrap_or(&own).to_owned();
        let mut lab = Self { clients, gate, servers, directory, redirected: false, programs, running: Vec::new() };
        lab.start_servers(threads, verify)?;
        Ok(lab)
    }

    fn start_servers(&mut self, threads: usize, verify: bool) -> Result<()> {
        let bind = ORIGINS
            .flat_map(|host| [80, 443].map(|port| format!("10.91.2.{host}:{port}")))
            .collect::<Vec<_>>()
            .join(",");
        let (addresses, threads) = (Self::addresses(), threads.to_string());
        let mut origin = vec!["--bind", &bind, "--threads", &threads];
        origin.extend(verify.then_some("--verify"));
        self.serve("origin", "origin", &origin)?;
        self.serve("names", "names", &["--bind", "10.91.2.2:53", "--answers", &addresses, "--per-answer", "4"])?;
        // For Squid, which refuses a client whose address is not in its own answer: all eight, always.
        self.serve("names", "all-names", &["--bind", "10.91.2.3:53", "--answers", &addresses, "--per-answer", "8"])?;
        let first = SocketAddr::from(([10, 91, 2, 10], 443));
        self.wait("the origin", Duration::from_secs(5), || connects(&self.clients, first))
    }

    fn serve(&mut self, program: &str, name: &str, args: &[&str]) -> Result<()> {
        let mut command = limited(&self.servers, &self.program(program)?);
        command.args(args);
        self.running.push(Process::start(name, &self.directory, &mut command)?);
        Ok(())
    }

    /// The servers' addresses, with commas.
    pub(crate) fn addresses() -> String {
        ORIGINS.map(|host| format!("10.91.2.{host}")).collect::<Vec<_>>().join(",")
    }

    /// One of our own programs, which are built beside this one.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.is_file() {
            bail!("there is no {}: `cargo xtask bench` builds it", path.display());
        }
        Ok(path)
    }

    /// `load` among the clients, ready for its arguments.
    pub(crate) fn load(&self) -> Result<Command> {
        Ok(limited(&self.clients, &self.program("load")?))
    }

    /// The 1,000 names, one a line; or as many that are not among them.
    pub(crate) fn names(&self, listed: bool) -> PathBuf {
        self.directory.join(if listed { "names.txt" } else { "refused.txt" })
    }

    /// From here on ports 80 and 443 are redirected to the gate, or are not.
    pub(crate) fn redirect(&mut self, wanted: bool) -> Result<()> {
        if wanted && !self.redirected {
            self.gate.run("nft", [TABLE])?;
            // A connection that has ended is forgotten at once, so that the table never fills.
            self.gate.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
            self.gate.sysctl("net/netfilter/nf_conntrack_tcp_timeout_close", "1")?;
        } else if !wanted && self.redirected {
            self.gate.run("nft", ["delete table ip bench"])?;
        }
        self.redirected = wanted;
        Ok(())
    }

    /// How many sockets listen where the redirect leads.
    pub(crate) fn listeners(&self) -> usize {
        let read = || {
            ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default())
        };
        let lines = self.gate.enter(read).unwrap_or_default().concat();
        lines.lines().filter(|line| line.contains(":20FB 0") && line.contains(":0000 0A ")).count()
    }

    fn wait(&self, what: &str, limit: Duration, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            if Instant::now() >= deadline {
                let said: Vec<_> = self.running.iter().map(Process::stderr).collect();
                bail!("{what} is not ready after {limit:?}: {}", said.concat().trim_end());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.running.clear();
        if std::env::var_os("SEKISHO_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// A program inside with the descriptors that a gate has too.
fn limited(ns: &Netns, program: &Path) -> Command {
    let mut command = ns.cmd("prlimit");
    command.arg("--nofile=20000").arg(program);
    command
}

fn connects(ns: &Netns, to: SocketAddr) -> bool {
    ns.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok()).unwrap_or(false)
}

fn ip(ns: &Netns, arguments: &str) -> Result<()> {
    ns.run("ip", arguments.split(' ')).map(drop)
}

/// A veth pair made inside, so that the host never sees an interface.
fn wire(a: &Netns, a_end: &str, b: &Netns, b_end: &str) -> Result<()> {
    let ends = ["link", "add", a_end, "netns", a.name(), "type", "veth", "peer", "name", b_end, "netns", b.name()];
    netns::run(Command::new("ip").args(ends)).context("cannot make a veth pair: does the kernel have veth?")?;
    ip(a, &format!("link set {a_end} up"))?;
    ip(b, &format!("link set {b_end} up"))
}
