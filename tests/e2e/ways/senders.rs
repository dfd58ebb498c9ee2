//! Balancers themselves: the headers that they send for their clients, and their health checks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Redirect;
use lab::process::Process;

use super::{HOST, PATIENCE, options, text};
use crate::peer::{self, Server, echo_once};

const DEFAULTS: &str = "defaults
  mode tcp
  timeout client 9s
  timeout server 9s
  timeout connect 9s
  unique-id-format %{+X}o%ci%cp%ts%rt
";
/// Every way in which HAProxy sends headers.
const SENDS: [&str; 4] = [
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl-cn",
    "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id",
];
/// Where HAProxy's ways are reached, one port each, and nginx's behind them.
const FIRST_PORT: u16 = 9001;
const GATES: [&str; 2] = ["127.0.0.1:8443", "[::1]:8443"];

fn haproxy(lab: &Lab, name: &str, config: &str) -> Result<Process> {
    let file = lab.directory().join(format!("{name}.cfg"));
    std::fs::write(&file, config)?;
    Process::start(name, lab.directory(), lab.gate.cmd("haproxy").args(["-db", "-f"]).arg(&file))
}

/// nginx, of whose version only the first header is sent.
fn nginx(lab: &Lab, servers: &str) -> Result<Process> {
    let file = lab.directory().join("nginx.conf");
    let pid = lab.directory().join("nginx.pid");
    let module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;";
    let main = format!("{module}\ndaemon off; master_process off; pid {}; error_log stderr;", pid.display());
    std::fs::write(&file, format!("{main}\nevents {{}}\nstream {{\n{servers}}}\n"))?;
    Process::start("nginx", lab.directory(), lab.gate.cmd("nginx").arg("-c").arg(&file))
}

#[test]
fn haproxy_and_nginx_send_headers_that_are_read_over_both_families() -> Result<()> {
    let lab = Lab::new("senders")?;
    let _server = Server::start(&lab)?;
    let mut options = options("");
    options.listeners = GATES
        .map(|bind| {
            format!("{{ bind: \"{bind}\", destination: none, proxy_protocol: {{ from: [127.0.0.1, \"::1\"] }} }}")
        })
        .into();
    let gate = Gate::start(&lab, &options)?;

    let mut ports = FIRST_PORT..;
    let mut sections = DEFAULTS.to_owned();
    let mut servers = String::new();
    for to in GATES {
        for send in SENDS {
            let port = ports.next().context("a port")?;
            writeln!(
                sections,
                "listen p{port}\n  bind 10.20.0.1:{port}\n  bind 2001:db8:20::1:{port}\n  server gate {to} {send}"
            )?;
        }
    }
    let of_nginx = ports.start;
    for to in GATES {
        let port = ports.next().context("a port")?;
        writeln!(
            servers,
            "server {{ listen 10.20.0.1:{port}; listen [2001:db8:20::1]:{port}; proxy_pass {to}; proxy_protocol on; }}"
        )?;
    }
    let last = ports.start - 1;
    let mut senders = [(haproxy(&lab, "haproxy", &sections)?, FIRST_PORT), (nginx(&lab, &servers)?, of_nginx)];
    for (sender, port) in &mut senders {
        let at = ("10.20.0.1", *port);
        sender.wait_ready(Duration::from_secs(30), || {
            lab.gate.enter(|| TcpStream::connect(at).is_ok()).unwrap_or(false)
        })?;
    }
    let all: Vec<SocketAddr> = (FIRST_PORT..=last)
        .flat_map(|port| [format!("10.20.0.1:{port}"), format!("[2001:db8:20::1]:{port}")])
        .map(|to| to.parse())
        .collect::<Result<_, _>>()?;
    for &to in &all {
        peer::clients(&lab.client, PATIENCE, || echo_once(to, HOST, b"hello"))?.with_context(|| format!("by {to}"))?;
    }
    let is_allowed = |line: &&serde_json::Value| text(line, "verdict") == "allowed";
    let lines = gate.wait_closed(PATIENCE, |lines| lines.iter().filter(is_allowed).count() == all.len())?;
    // What each client dialled says by which way it came.
    let told: BTreeSet<_> = lines
        .iter()
        .filter(is_allowed)
        .map(|line| {
            (text(line, "original_dst").to_owned(), text(line, "client").rsplit_once(':').map(|(ip, _)| ip.to_owned()))
        })
        .collect();
    let client = |to: SocketAddr| if to.is_ipv4() { "10.20.0.2" } else { "[2001:db8:20::2]" };
    let expected: BTreeSet<_> = all.iter().map(|&to| (to.to_string(), Some(client(to).to_owned()))).collect();
    println!("{} ways, each with its client and what it dialled", told.len());
    ensure!(told == expected, "told {told:?}\nnot {expected:?}");
    Ok(())
}

/// How balancers check a gate's own port. The second is the gate's answer to a hello without a name: dead or alive.
const CHECKS: [(&str, &str); 8] = [
    ("bare", "server gate 10.20.0.1:8443 check"),
    ("hello", "option ssl-hello-chk\n  server gate 10.20.0.1:8443 check"),
    ("ssl", "server gate 10.20.0.1:8443 check check-ssl verify none"),
    ("v1", "server gate 127.0.0.1:8444 check send-proxy"),
    ("v2", "server gate 127.0.0.1:8444 check send-proxy-v2"),
    ("v2-hello", "option ssl-hello-chk\n  server gate 127.0.0.1:8444 check send-proxy-v2"),
    ("v2-ssl", "server gate 127.0.0.1:8444 check check-ssl verify none send-proxy-v2"),
    ("http", "option httpchk GET /readyz\n  server gate 10.20.0.1:8443 check port 9181"),
];

#[test]
fn health_checks_are_told_from_clients_and_raise_no_alarm() -> Result<()> {
    let lab = Lab::new("checks")?;
    let mut options = options("");
    options.listeners = vec![
        "{ bind: \"0.0.0.0:8443\", destination: redirect, health_checks: { from: [10.20.0.1] } }".to_owned(),
        "{ bind: \"127.0.0.1:8444\", destination: none, proxy_protocol: { from: [127.0.0.1] } }".to_owned(),
    ];
    options.settings = "health: { bind: \"10.20.0.1:9181\" }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    let stats = lab.directory().join("stats");
    let mut config = format!("global\n  stats socket {} level user\n{DEFAULTS}", stats.display());
    for (name, lines) in CHECKS {
        writeln!(config, "backend {name}\n  default-server inter 100ms fall 2 rise 2\n  {lines}")?;
    }
    let mut haproxy = haproxy(&lab, "checking", &config)?;

    // The checks of keepalived (TCP_CHECK) and of a network balancer: a connect and a close. A reset is another way to close.
    let redirected: SocketAddr = "10.20.0.1:8443".parse()?;
    for round in 0..10 {
        let stream = crate::raw::connect(&lab.gate, None, redirected);
        if let (0, Ok(stream)) = (round % 2, stream) {
            crate::raw::reset(stream)?;
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let checked = |said: &str| -> Option<Vec<(String, String)>> {
        // Of each server: its backend, what the last check found, and how many have failed.
        let rows = said.lines().filter(|line| line.split(',').nth(1) == Some("gate"));
        let rows = rows.map(|row| row.split(',').map(str::to_owned).collect::<Vec<_>>());
        rows.map(|row| Some((row.first()?.clone(), row.get(17)?.clone()))).collect()
    };
    let states = loop {
        ensure!(haproxy.is_running(), "HAProxy: {}", haproxy.stderr());
        let said = std::os::unix::net::UnixStream::connect(&stats).and_then(|mut socket| {
            use std::io::{Read, Write};
            socket.write_all(b"show stat\n")?;
            let mut said = String::new();
            socket.read_to_string(&mut said)?;
            Ok(said)
        });
        let states = said.ok().and_then(|said| checked(&said)).unwrap_or_default();
        let closed = gate.wait_closed(Duration::ZERO, |_| true)?.len();
        if states.len() == CHECKS.len() && closed > 150 && states.iter().all(|(_, state)| !state.contains('/')) {
            break states;
        }
        ensure!(Instant::now() < deadline, "{closed} checks are in the log, and HAProxy says {states:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    // A redirect listener that is dialled itself answers nothing, and nobody has a certificate for no name.
    for (name, state) in &states {
        let alive = !matches!(&**name, "hello" | "ssl" | "v2-ssl");
        ensure!(state == if alive { "UP" } else { "DOWN" }, "{name}: HAProxy says {state}");
    }
    let lines = gate.wait_closed(Duration::ZERO, |_| true)?;
    let details: BTreeSet<_> = lines.iter().map(|line| text(line, "detail")).collect();
    println!("{} checks: {details:?}; HAProxy says {states:?}", lines.len());
    ensure!(
        lines.iter().all(|line| text(line, "reason") == "probe"),
        "a check that is told as something else: {lines:?}"
    );
    ensure!(details.len() == 3, "not every kind of check came: {details:?}");
    let metrics = gate.metrics()?;
    let all = metrics.sum("sekisho_connections_total", &[]);
    let probes = metrics.sum("sekisho_connections_total", &[("verdict", "failed"), ("reason", "probe")]);
    ensure!((all - probes).abs() < 0.5, "{all} connections, {probes} of them checks");
    // That verdict and reason are what no alert counts.
    let alerts = std::fs::read_to_string(lab::workspace().join("deploy/prometheus/alerts.yaml"))?;
    ensure!(alerts.matches("probe").count() == alerts.matches("reason!=\"probe\"").count(), "an alert counts checks");
    Ok(())
}
