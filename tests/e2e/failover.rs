//! Two gates, and one of them dies under load: behind HAProxy, behind one address of VRRP's, and behind equal-cost routes,
//! each with the files that `deploy/` has for it. What fails is counted: of the connections that were open, those of the
//! dead gate; of new ones, none once it is known to be dead.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::pair::Pair;
use lab::process::Process;
use rustix::process::Signal;

mod load;

use load::{Load, Told};

/// Connections that are held while a gate dies.
const HELD: usize = 30;
/// Where the clients of a route dial.
const ROUTED: [&str; 2] = ["198.18.1.7:443", "[2001:db8:18::1:7]:443"];

fn options(settings: &str) -> Options {
    crate::peer::options(&format!("limits: {{ connections_per_client: 10000 }}\n{settings}"))
}

/// A file of `deploy/`, with what an operator would change changed.
fn deployed(path: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut text = fs::read_to_string(lab::workspace().join("deploy").join(path))?;
    for (from, to) in changes {
        ensure!(text.contains(from), "deploy/{path} has no {from:?}");
        text = text.replace(from, to);
    }
    Ok(text)
}

fn wait(limit: Duration, what: &str, mut until: impl FnMut() -> Result<bool>) -> Result<Instant> {
    let deadline = Instant::now() + limit;
    while !until()? {
        ensure!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Instant::now())
}

/// Kills the first of `gates` under load, and waits until `detected`.
fn kill_one(
    lab: &Lab,
    gates: &mut [Gate<'_>; 2],
    to: &[&str],
    mut detected: impl FnMut() -> Result<bool>,
) -> Result<(Load, Told)> {
    let to = to.iter().map(|to| to.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let told = load::under(lab, &to, HELD, |progress| {
        wait(Duration::from_secs(30), "every connection that is to be held stands", || Ok(progress.opened() == HELD))?;
        let mut open = [0; 2];
        for (gate, open) in gates.iter().zip(&mut open) {
            let active = gate.metrics()?.sum("sekisho_connections_active", &[]);
            *open = (0..=HELD)
                .find(|&count| u32::try_from(count).is_ok_and(|count| (f64::from(count) - active).abs() < 0.5))
                .context("more are open than were opened")?;
        }
        progress.begin();
        std::thread::sleep(Duration::from_secs(1));
        let killed = Instant::now();
        gates[0].process().signal(Signal::KILL)?;
        gates[0].process().wait(Duration::from_secs(10))?;
        let detected = wait(Duration::from_secs(20), "the dead gate is found out", &mut detected)?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok(Told { open, killed, detected })
    })?;
    Ok(told)
}

#[test]
fn behind_haproxy_only_what_a_dead_gate_had_open_fails() -> Result<()> {
    let lab = Lab::new("pair-haproxy")?;
    let _server = crate::peer::Server::start(&lab)?;
    let pair = Pair::new(&lab)?;
    let mut options = options("health: { bind: \"0.0.0.0:9181\" }");
    options.listeners =
        vec!["{ bind: \"0.0.0.0:8443\", destination: none, proxy_protocol: { from: [10.21.0.1] } }".to_owned()];
    let mut gates = [pair.start(&lab, 0, &options)?, pair.start(&lab, 1, &options)?];
    let config = deployed(
        "haproxy/haproxy.cfg",
        &[
            ("10.20.0.11:8443", "10.21.0.11:8443"),
            ("10.20.0.12:8443", "10.21.0.12:8443"),
            // A test may not have the 100,000 files that so many connections could need.
            ("maxconn 50000", "maxconn 5000"),
        ],
    )?;
    let file = lab.directory().join("haproxy.cfg");
    fs::write(&file, config)?;
    let mut haproxy =
        Process::start("haproxy", lab.directory(), lab.gate.cmd("haproxy").args(["-db", "-f"]).arg(&file))?;
    haproxy.wait_ready(Duration::from_secs(30), || {
        lab.gate.enter(|| std::net::TcpStream::connect("10.20.0.1:443").is_ok()).unwrap_or(false)
    })?;
    // Known at once: HAProxy hands a connection that is refused to the other gate, whatever its checks have found so far.
    let (load, told) = kill_one(&lab, &mut gates, &["10.20.0.1:443", "[2001:db8:20::1]:443"], || Ok(true))?;
    load.judge("HAProxy", &told)?;
    // The gates know the clients behind HAProxy.
    let lines = gates[1].wait_closed(Duration::from_secs(10), |lines| lines.len() > 100)?;
    let behind = |line: &&serde_json::Value| {
        let client = line["client"].as_str().unwrap_or_default();
        client.starts_with("10.20.0.2:") || client.starts_with("[2001:db8:20::2]:")
    };
    let stranger = lines.iter().filter(|line| line["verdict"] == "allowed").find(|line| !behind(line));
    ensure!(stranger.is_none(), "of whom is this: {stranger:?}");
    Ok(())
}

/// keepalived on one of the hosts, with `deploy/`'s configuration.
fn keepalived(lab: &Lab, pair: &Pair, index: usize) -> Result<Process> {
    let mut changes = vec![
        ("interface eth0", "interface south"),
        ("10.20.0.10/24", "10.21.0.254/24"),
        ("2001:db8:20::10/64", "2001:db8:21::254/64"),
    ];
    if index == 1 {
        changes.push(("priority 101", "priority 100"));
    }
    let name = format!("keepalived-{index}");
    let file = lab.directory().join(format!("{name}.conf"));
    fs::write(&file, deployed("keepalived/keepalived.conf", &changes)?)?;
    let mut command = pair.hosts[index].cmd("keepalived");
    command.args(["--vrrp", "--dont-fork", "--log-console", "--use-file"]).arg(&file);
    for (option, end) in [("--pid", "pid"), ("--vrrp_pid", "vrrp.pid")] {
        command.arg(option).arg(lab.directory().join(format!("{name}.{end}")));
    }
    Process::start(&name, lab.directory(), &mut command)
}

#[test]
fn behind_one_address_of_vrrp_the_other_gate_takes_over() -> Result<()> {
    let lab = Lab::new("pair-vrrp")?;
    let _server = crate::peer::Server::start(&lab)?;
    let pair = Pair::new(&lab)?;
    pair.redirect(&lab)?;
    let options = options("health: { bind: \"0.0.0.0:9181\" }");
    let mut gates = [pair.start(&lab, 0, &options)?, pair.start(&lab, 1, &options)?];
    lab.gate.run("ip", "route replace 198.18.0.0/15 via 10.21.0.254".split(' '))?;
    lab.gate.run("ip", "-6 route replace 2001:db8:18::/48 via fe80::10 dev gates".split(' '))?;
    // Whose the address is, by what the clients' router sends to: both families'.
    let held_by = |index: usize| -> Result<bool> {
        let hardware = pair.hosts[index].run("cat", ["/sys/class/net/south/address"])?;
        let known = lab.gate.run("ip", ["neighbour", "show", "dev", "gates"])?;
        let of = |address: &str| {
            known.lines().any(|line| line.starts_with(&format!("{address} ")) && line.contains(hardware.trim()))
        };
        Ok(of("10.21.0.254") && of("fe80::10"))
    };
    let reach = || -> Result<()> {
        for to in ROUTED {
            let _ = lab.client.enter(|| {
                std::net::TcpStream::connect_timeout(&to.parse().expect("an address"), Duration::from_millis(200))
            })?;
        }
        Ok(())
    };
    let first = keepalived(&lab, &pair, 0)?;
    wait(Duration::from_secs(30), "the first takes the address", || {
        reach()?;
        held_by(0)
    })
    .with_context(|| first.stdout() + &first.stderr())?;
    let second = keepalived(&lab, &pair, 1)?;
    // Until its check has said twice that its gate is ready it would not take over.
    wait(Duration::from_secs(30), "the second waits", || {
        Ok((second.stdout() + &second.stderr()).matches("Entering BACKUP STATE").count() >= 2)
    })
    .with_context(|| second.stdout() + &second.stderr())?;
    let (load, told) = kill_one(&lab, &mut gates, &ROUTED, || held_by(1))?;
    ensure!(told.open == [HELD, 0], "the gate that waits has connections: {:?}", told.open);
    load.judge("VRRP", &told)?;
    Ok(())
}

#[test]
fn of_equal_cost_routes_the_dead_gates_is_withdrawn_and_comes_back_without_harm() -> Result<()> {
    let lab = Lab::new("pair-ecmp")?;
    let _server = crate::peer::Server::start(&lab)?;
    let pair = Pair::new(&lab)?;
    pair.redirect(&lab)?;
    let options = options("health: { bind: \"0.0.0.0:9181\" }");
    let mut gates = [pair.start(&lab, 0, &options)?, pair.start(&lab, 1, &options)?];
    let settings = deployed(
        "ecmp/sekisho-ecmp.conf",
        &[("CLIENTS=lan", "CLIENTS=south"), ("10.20.1.11", "10.21.0.11"), ("10.20.1.12", "10.21.0.12")],
    )?;
    let file = lab.directory().join("sekisho-ecmp.conf");
    fs::write(&file, settings)?;
    let agent = |word: &str| -> Command {
        let mut command = lab.gate.cmd("sh");
        let script = lab::workspace().join("deploy/ecmp/sekisho-ecmp");
        command.args(["-c", "set -a; . \"$1\"; exec \"$2\" \"$3\"", "agent"]).arg(&file).arg(script).arg(word);
        command
    };
    let running = Process::start("agent", lab.directory(), &mut agent("run"))?;
    let next_hops = |ids: [&str; 2]| -> Result<bool> {
        let groups = lab.gate.run("ip", ["nexthop", "show", "groups"])?;
        Ok(ids.iter().all(|id| groups.contains(&format!(" group {id} "))))
    };
    let both = || next_hops(["44301/44302/44303/44304", "44801/44802/44803/44804"]);
    wait(Duration::from_secs(30), "both gates are in the routes", both)
        .with_context(|| running.stdout() + &running.stderr())?;
    let (load, told) = kill_one(&lab, &mut gates, &ROUTED, || next_hops(["44303/44304", "44803/44804"]))?;
    ensure!(told.open.iter().all(|&open| open > 0), "one gate has all connections: {:?}", told.open);
    load.judge("ECMP", &told)?;

    // What flows stays where it is when the other one comes back.
    let [first, second] = &mut gates;
    let to = ROUTED.iter().map(|to| to.parse()).collect::<Result<Vec<SocketAddr>, _>>()?;
    let (load, ()) = load::under(&lab, &to, HELD, |progress| {
        wait(Duration::from_secs(30), "every connection stands", || Ok(progress.opened() == HELD))?;
        ensure!(second.metrics()?.sum("sekisho_connections_active", &[]) > 29.5);
        *first = pair.start(&lab, 0, &options)?;
        wait(Duration::from_secs(20), "it is in the routes again", both)?;
        progress.begin();
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    load.judge_unharmed()?;
    ensure!(
        first.metrics()?.sum("sekisho_connections_total", &[("verdict", "allowed")]) > 0.5,
        "it gets no connection"
    );
    let removed = agent("remove").output()?;
    ensure!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    for (what, words) in [("rules", "rule show"), ("next hops", "nexthop show"), ("IPv6 rules", "-6 rule show")] {
        let left = lab.gate.run("ip", words.split(' '))?;
        ensure!(!left.contains("443"), "{what} are left:\n{left}");
    }
    Ok(())
}
