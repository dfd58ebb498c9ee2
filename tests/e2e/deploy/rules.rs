//! The packet rules of `deploy/`, loaded as they are shipped: what goes through the gate, and that nothing else does, the
//! gate running or not.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use lab::gate::{Gate, Options, UID};
use lab::net::{Counter, route_marked, unroute};
use lab::netns::{self, Netns};
use lab::s3::{AUTHORIZATION, S3};

use super::{deploy, read};

/// An address of each family that the client dials; a gate that must resolve dials others.
const DIALLED: [&str; 2] = ["198.18.1.1", "2001:db8:18::1:1"];

/// A server that just listens, for connections that are not to be TLS.
const SERVER: &str = "198.18.5.5:443";

/// One of `deploy/`'s rule sets: how it is loaded, and how it is taken away.
struct Rules {
    load: Vec<String>,
    undo: Vec<String>,
    /// The file, where its comments say which rules and routes of `ip` it needs.
    routes: Option<String>,
    /// The listeners' `destination`.
    destination: &'static str,
    /// Where they listen.
    binds: [&'static str; 2],
}

const ROUTER: [&str; 2] = ["0.0.0.0", "[::]"];
const HOST: [&str; 2] = ["127.0.0.1", "[::1]"];

impl Rules {
    fn nft(file: &str, binds: [&'static str; 2]) -> Self {
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        let table = if binds == HOST { "sekisho_host" } else { "sekisho_router" };
        let tproxy = destination(file) == "tproxy";
        Self {
            load: words(format!("nft -f {file}")),
            undo: words(format!("nft delete table inet {table}")),
            routes: tproxy.then(|| file.to_owned()),
            destination: destination(file),
            binds,
        }
    }

    fn script(file: &str, binds: [&'static str; 2]) -> Self {
        let command = |word: &str| ["sh", file, word].map(str::to_owned).to_vec();
        Self { load: command("apply"), undo: command("remove"), routes: None, destination: destination(file), binds }
    }

    fn load(&self, ns: &Netns) -> Result<()> {
        if let Some(file) = &self.routes {
            unroute(ns);
            route_marked(ns, &fs::read_to_string(file)?)?;
        }
        // Twice: loading is to be repeatable.
        for _ in 0..2 {
            ns.run(&self.load[0], self.load[1..].iter().map(String::as_str))?;
        }
        Ok(())
    }

    fn undo(&self, ns: &Netns) -> Result<()> {
        ns.run(&self.undo[0], self.undo[1..].iter().map(String::as_str))?;
        if self.routes.is_some() {
            unroute(ns);
        }
        let left = ns.run("nft", ["list", "ruleset"])?;
        ensure!(!left.to_lowercase().contains("sekisho"), "not all is undone:\n{left}");
        let left = [ns.run("ip", ["-4", "rule"])?, ns.run("ip", ["-6", "rule"])?].concat();
        ensure!(!left.contains("fwmark"), "not all is undone:\n{left}");
        Ok(())
    }

    /// What becomes of a connection that nobody takes: iptables' TPROXY can but drop it.
    fn without_a_gate(&self) -> ErrorKind {
        let dropped = self.destination == "tproxy" && self.routes.is_none();
        if dropped { ErrorKind::TimedOut } else { ErrorKind::ConnectionRefused }
    }

    /// A gate for connections that they bring.
    fn gate(&self, name: &str) -> Options {
        let listener = |bind| format!("{{ bind: \"{bind}:8443\", destination: {} }}", self.destination);
        Options {
            name: name.to_owned(),
            listeners: self.binds.map(listener).to_vec(),
            capability: if self.destination == "tproxy" { "+net_admin" } else { "" }.to_owned(),
            ..Options::listing(&["reports"])
        }
    }
}

/// What the name of a file of rules says.
fn destination(file: &str) -> &'static str {
    let name = file.rsplit('/').next().unwrap_or_default();
    if name.contains("tproxy") { "tproxy" } else { "redirect" }
}

fn router_rules() -> Result<[Rules; 4]> {
    let path = |file| deploy(file).to_str().map(str::to_owned).context("path");
    Ok([
        Rules::nft(&path("nftables/router.nft")?, ROUTER),
        Rules::script(&path("iptables/router.sh")?, ROUTER),
        Rules::nft(&path("nftables/tproxy-router.nft")?, ROUTER),
        Rules::script(&path("iptables/tproxy-router.sh")?, ROUTER),
    ])
}

/// The host's rules name the gate's user, which a test machine does not have: the same with its number.
fn host_rules(lab: &Lab) -> Result<[Rules; 4]> {
    let with_uid = |file: &str| -> Result<String> {
        let (line, new) = if file.starts_with("nftables") {
            ("define gate_user = sekisho\n", format!("define gate_user = {UID}\n"))
        } else {
            ("GATE_USER=\"sekisho\"\n", format!("GATE_USER=\"{UID}\"\n"))
        };
        let text = read(file)?;
        ensure!(text.matches(line).count() == 1, "{file} does not say {line}");
        let copy = lab.directory().join(file.replace('/', "-"));
        fs::write(&copy, text.replace(line, &new))?;
        copy.to_str().map(str::to_owned).context("path")
    };
    Ok([
        Rules::nft(&with_uid("nftables/host.nft")?, HOST),
        Rules::script(&with_uid("iptables/host.sh")?, HOST),
        Rules::nft(&with_uid("nftables/tproxy-host.nft")?, HOST),
        Rules::script(&with_uid("iptables/tproxy-host.sh")?, HOST),
    ])
}

#[test]
fn a_router_sends_clients_through_the_gate_and_nowhere_else() -> Result<()> {
    let lab = Lab::new("deploy-router")?;
    let s3 = S3::start(&lab, &["reports"])?;
    for (number, rules) in router_rules()?.into_iter().enumerate() {
        for forwarding in ["1", "0"] {
            forward(&lab, "1")?;
            rules.load(&lab.gate)?;
            forward(&lab, forwarding)?;
            holds(&lab, &s3, &lab.client, &rules, &format!("gate-{number}-{forwarding}"))?;
            if forwarding == "1" {
                // Another port is shut too, and at once.
                ensure!(connect(&lab.client, "198.18.1.1:8080")? == Err(ErrorKind::ConnectionRefused));
            }
            rules.undo(&lab.gate)?;
        }
    }
    Ok(())
}

#[test]
fn what_a_router_is_told_to_pass_passes() -> Result<()> {
    let lab = Lab::new("deploy-passed")?;
    let resolve = || lab.client.run("getent", ["ahostsv4", "reports.s3.ap-northeast-1.amazonaws.com"]);
    for rules in router_rules()? {
        let script = rules.load[0] == "sh";
        rules.load(&lab.gate)?;
        ensure!(resolve().is_err(), "a resolver was reached through the router");
        if script {
            let text = fs::read_to_string(&rules.load[1])?.replace("\nPASSED=\"\"\n", "\nPASSED=\"udp:53 tcp:53\"\n");
            let copy = lab.directory().join("router.sh");
            fs::write(&copy, text)?;
            lab.gate.run("sh", [copy.to_str().context("path")?, "apply"])?;
        } else {
            lab.gate.run("nft", ["add", "element", "inet", "sekisho_router", "passed", "{ udp . 53 }"])?;
        }
        resolve().with_context(|| format!("udp:53 did not pass {:?}", rules.load))?;
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

#[test]
fn a_hosts_own_programs_go_through_the_gate_and_nowhere_else() -> Result<()> {
    let lab = Lab::new("deploy-host")?;
    let s3 = S3::start(&lab, &["reports"])?;
    for (number, rules) in host_rules(&lab)?.into_iter().enumerate() {
        rules.load(&lab.gate)?;
        holds(&lab, &s3, &lab.gate, &rules, &format!("gate-{number}"))?;
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

#[test]
fn a_connection_from_before_the_rules_is_cut() -> Result<()> {
    let lab = Lab::new("deploy-earlier")?;
    let listener = listen(&lab)?;
    // The kernel follows connections only once a rule asks about them, and takes one that it had not followed for new.
    let follow = "add table inet follow; add chain inet follow out { type filter hook output priority 0; }; \
                  add rule inet follow out ct state new counter";
    lab.gate.run("nft", [follow])?;
    let routers = router_rules()?.into_iter().map(|rules| (rules, &lab.client));
    let hosts = host_rules(&lab)?.into_iter().map(|rules| (rules, &lab.gate));
    for (rules, from) in routers.chain(hosts) {
        let mut earlier = from.enter(|| TcpStream::connect(SERVER))??;
        let mut server = accept(&listener)?;
        rules.load(&lab.gate)?;
        let dropped = rules.without_a_gate() == ErrorKind::TimedOut;
        earlier.set_read_timeout(Some(Duration::from_secs(if dropped { 1 } else { 5 })))?;
        let ended = earlier.write_all(b"carried out").and_then(|()| earlier.read(&mut [0; 16]));
        let ended = ended.map_err(|error| error.kind());
        let expected = if dropped { ErrorKind::WouldBlock } else { ErrorKind::ConnectionReset };
        ensure!(ended == Err(expected), "it lives on: {ended:?}");
        server.set_read_timeout(Some(Duration::from_millis(300)))?;
        ensure!(server.read(&mut [0; 16]).is_err(), "its bytes went on reaching the server");
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

/// A socket that is closed with bytes to deliver has no user any more, so rules by user alone would reset it: the end of
/// whatever the gate relays would be lost.
#[test]
fn what_the_gates_user_had_left_to_deliver_when_it_closed_arrives() -> Result<()> {
    const BYTES: usize = 4_000_000;
    let lab = Lab::new("deploy-orphan")?;
    let listener = listen(&lab)?;
    for rules in host_rules(&lab)? {
        rules.load(&lab.gate)?;
        let send = format!("exec 3<>/dev/tcp/{} && head -c {BYTES} /dev/zero >&3", SERVER.replace(':', "/"));
        let uid = UID.to_string();
        let mut sender = lab.gate.cmd("setpriv");
        sender.args(["--reuid", &uid, "--clear-groups", "bash", "-c", &send]);
        let mut sender = sender.spawn()?;
        let mut stream = accept(&listener)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Slowly, so that the sender is gone before its bytes are: what is in its buffers then belongs to nobody.
        let mut received = 0;
        let mut buffer = vec![0; 65_536];
        while sender.try_wait()?.is_none() {
            received += stream.read(&mut buffer)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        ensure!(received < BYTES, "nothing was left to deliver, so nothing was shown");
        loop {
            match stream.read(&mut buffer).context("reset before its end")? {
                0 => break,
                count => received += count,
            }
        }
        ensure!(received == BYTES, "{received} of {BYTES} bytes arrived");
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

/// What TPROXY marks is brought to the gate by a rule and a route of `ip`, which another program may take away.
#[test]
fn without_its_rule_or_its_route_tproxy_lets_nothing_through() -> Result<()> {
    let lab = Lab::new("deploy-routes")?;
    let routers = router_rules()?.into_iter().map(|rules| (rules, &lab.client));
    let hosts = host_rules(&lab)?.into_iter().map(|rules| (rules, &lab.gate));
    let tproxy = routers.chain(hosts).filter(|(rules, _)| rules.destination == "tproxy");
    for (number, (rules, from)) in tproxy.enumerate() {
        let _listeners = DIALLED.map(|address| lab.servers.enter(|| TcpListener::bind((address, 443))));
        let _gate = Gate::start(&lab, &rules.gate(&format!("gate-{number}")))?;
        rules.load(&lab.gate)?;
        for (what, word) in [("rule", "del"), ("route", "flush")] {
            for (family, address) in ["-4", "-6"].into_iter().zip(DIALLED) {
                let to = format!("{}:443", bracketed(address));
                let there = connect(from, &to)?;
                ensure!(there.is_ok(), "{:?}, with all of it: {there:?}", rules.load);
                match what {
                    "rule" => lab.gate.run("ip", [family, what, word, "fwmark", "0x5e16", "lookup", "24086"])?,
                    _ => lab.gate.run("ip", [family, what, word, "table", "24086"])?,
                };
                let to_server =
                    Counter::towards(&lab, &format!("{address}/{}", if family == "-4" { 32 } else { 128 }))?;
                let gone = connect(from, &to)?;
                ensure!(gone.is_err(), "{:?}, without its {what}: {gone:?}", rules.load);
                ensure!(to_server.packets()? == 0, "{:?}, without its {what}: packets reached {to}", rules.load);
            }
            rules.load(&lab.gate)?;
        }
        rules.undo(&lab.gate)?;
    }
    Ok(())
}

/// Through the gate and nowhere else, on both families; and without the gate, nowhere at all.
fn holds(lab: &Lab, s3: &S3, from: &Netns, rules: &Rules, name: &str) -> Result<()> {
    // A log of its own.
    let mut gate = Gate::start(lab, &rules.gate(name))?;
    let to_servers = [Counter::towards(lab, "198.18.1.1/32")?, Counter::towards(lab, "2001:db8:18::1:1/128")?];
    lab.gate_dns.set_pool(Lab::gate_pool());
    for address in DIALLED {
        let to = format!("::{}:443", bracketed(address));
        let url = "https://reports.s3.ap-northeast-1.amazonaws.com/?list-type=2";
        let mut curl = s3.curl(from, ["--fail", "--connect-to", &to, "--header", AUTHORIZATION, url]);
        ensure!(netns::run(&mut curl)?.contains("ListBucketResult"), "no list by way of {address}");
        quic_is_rejected(lab, from, address)?;
    }
    let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() >= 2)?;
    let allowed = |line: &serde_json::Value| line.get("verdict").and_then(|v| v.as_str()) == Some("allowed");
    ensure!(lines.len() == 2 && lines.iter().all(allowed), "{lines:?}");

    ensure!(gate.process().is_running(), "the gate has ended");
    drop(gate);
    for address in DIALLED {
        let refused = connect(from, &format!("{}:443", bracketed(address)))?;
        ensure!(refused == Err(rules.without_a_gate()), "without the gate, {address} gave {refused:?}");
    }
    for counter in to_servers {
        ensure!(counter.packets()? == 0, "{} packets reached what was dialled", counter.packets()?);
    }
    Ok(())
}

/// A datagram to port 443 comes back as an error at once, and does not arrive.
fn quic_is_rejected(lab: &Lab, from: &Netns, address: &str) -> Result<()> {
    let to = SocketAddr::new(address.parse()?, 443);
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let server = lab.servers.enter(|| UdpSocket::bind((any, 443)))??;
    server.set_read_timeout(Some(Duration::from_millis(300)))?;
    let said = from.enter(|| -> std::io::Result<()> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.connect(to)?;
        socket.send(b"no name to be read")?;
        socket.recv(&mut [0; 16]).map(drop)
    })?;
    // The kernel tells a host's own programs as they send; others by ICMP.
    match said.map_err(|error| error.kind()) {
        Err(ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied) => {}
        other => bail!("QUIC to {address} was not rejected: {other:?}"),
    }
    ensure!(server.recv(&mut [0; 64]).is_err(), "QUIC reached {address}");
    Ok(())
}

fn connect(from: &Netns, to: &str) -> Result<Result<(), ErrorKind>> {
    let to: SocketAddr = to.parse()?;
    let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(1)).map(drop).map_err(|error| error.kind());
    from.enter(connect)
}

fn listen(lab: &Lab) -> Result<TcpListener> {
    Ok(lab.servers.enter(|| TcpListener::bind(SERVER))??)
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    for _ in 0..100 {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false)?;
            return Ok(stream);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("nobody got through")
}

fn forward(lab: &Lab, value: &str) -> Result<()> {
    lab.gate.sysctl("net/ipv4/ip_forward", value)?;
    lab.gate.sysctl("net/ipv6/conf/all/forwarding", value)
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
