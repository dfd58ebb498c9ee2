//! Connections that packet rules bring to the gate, by REDIRECT and by TPROXY, over IPv4 and IPv6, to sockets that it binds
//! itself and to sockets that are handed over: the same cases for all of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::activation::handing_over;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use serde_json::Value;

use crate::peer::{self, Server, Task};
use crate::raw::{self, End};

mod handed;

const PATIENCE: Duration = Duration::from_secs(30);
/// Hosts that the policy lists. The second is, by the gate's DNS, the gate itself.
const HOST: &str = "listed.example";
const LOOP: &str = "loop.example";

/// One family: an address that clients dial, two of the gate's own, and the client's.
struct Family {
    dialled: &'static str,
    own: [&'static str; 2],
    client: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family { dialled: "198.18.1.7", own: ["10.20.0.1", "10.88.0.1"], client: "10.20.0.2" },
    Family { dialled: "[2001:db8:18::1:7]", own: ["[2001:db8:20::1]", "[2001:db8:88::1]"], client: "[2001:db8:20::2]" },
];

/// What a client does, and what must come of it.
struct Case {
    what: &'static str,
    to: String,
    says: Vec<u8>,
    gets: &'static [u8],
    end: End,
    verdict: &'static str,
    reason: &'static str,
    /// Whether the log has where the client wanted to go.
    told: bool,
}

fn cases(family: &Family) -> Vec<Case> {
    let alert = |what, says, gets, reason| Case {
        what,
        to: format!("{}:443", family.dialled),
        says,
        gets,
        end: End::Finished,
        verdict: "refused",
        reason,
        told: true,
    };
    let direct =
        |what, to: String, says| Case { to, end: End::Reset, told: false, ..alert(what, says, b"", "not_redirected") };
    let served = || [peer::hello(HOST), Task::Echo.bytes().to_vec(), b"through".to_vec()].concat();
    let [first, second] = family.own;
    vec![
        Case { verdict: "allowed", gets: b"through", ..alert("served", served(), b"", "") },
        Case {
            verdict: "allowed",
            gets: b"through",
            to: format!("{first}:443"),
            ..alert("served, by way of the gate's own address", served(), b"", "")
        },
        alert("refused by name", peer::hello("other.example"), &[0x15, 3, 3, 0, 2, 2, 49], "no_rule"),
        alert("without a name", nameless(), &[0x15, 3, 3, 0, 2, 2, 109], "no_sni"),
        direct("the gate's own port", format!("{first}:8443"), served()),
        direct("the gate's own port, silently", format!("{second}:8443"), Vec::new()),
        Case { verdict: "failed", ..alert("a loop", peer::hello(LOOP), &[0x15, 3, 3, 0, 2, 2, 80], "connect_failed") },
    ]
}

/// A whole hello with an extension that is no name.
fn nameless() -> Vec<u8> {
    let hello = peer::hello(HOST);
    let at = hello.windows(HOST.len()).position(|window| window == HOST.as_bytes()).unwrap_or_default();
    let mut other = hello;
    // The extension's type stands before four lengths and the name's type.
    if let Some(kind) = at.checked_sub(8).and_then(|at| other.get_mut(at)) {
        *kind = 0xff;
    }
    other
}

fn options(name: &str, listeners: &[&str]) -> Options {
    let policy = format!(
        "version: 1\nrules:\n  - {{ name: listed, hosts: [{HOST}], {UPSTREAM} }}\n  \
         - {{ name: own, hosts: [{LOOP}], upstream: [10.0.0.0/8, \"2001:db8::/32\"] }}\n"
    );
    Options {
        name: name.to_owned(),
        listeners: listeners.iter().map(|listener| (*listener).to_owned()).collect(),
        settings: "threads: 2\nshutdown: { lame_duck: 0s, drain: 5s }".to_owned(),
        ..Options::policy(&policy)
    }
}

/// All cases of both families, at one gate.
fn holds(lab: &Lab, options: &Options) -> Result<()> {
    let mut gate = Gate::start(lab, options)?;
    let mut ended = 0;
    for family in &FAMILIES {
        let itself = family.own.iter().map(|own| own.trim_matches(['[', ']']).parse()).collect::<Result<_, _>>()?;
        lab.gate_dns.set_name(LOOP, Behaviour::Addresses(itself));
        for case in cases(family) {
            let to: SocketAddr = case.to.parse()?;
            let seen = raw::converse(&lab.client, to, |stream| {
                use std::io::Write;
                stream.write_all(&case.says)?;
                if case.verdict == "allowed" {
                    stream.shutdown(std::net::Shutdown::Write)?;
                }
                Ok(())
            });
            let seen = seen.with_context(|| format!("{} ({to})", case.what))?;
            ended += 1;
            let lines = gate.wait_closed(PATIENCE, |lines| lines.len() >= ended)?;
            let line = lines.last().context("no line")?;
            // One that met itself would have more.
            ensure!(lines.len() == ended, "{}: {} connections in place of {ended}: {lines:?}", case.what, lines.len());
            let why = || format!("{} ({to}): {seen:?}, {line}", case.what);
            ensure!(seen.bytes == case.gets && seen.end == case.end, why());
            ensure!(text(line, "verdict") == case.verdict && text(line, "reason") == case.reason, why());
            let client: SocketAddr = text(line, "client").parse()?;
            ensure!(client.ip().to_string() == family.client.trim_matches(['[', ']']), why());
            ensure!(text(line, "original_dst") == if case.told { &*case.to } else { "" }, why());
            if case.verdict == "allowed" {
                let upstream: SocketAddr = text(line, "upstream").parse()?;
                ensure!(upstream.port() == 443 && upstream != to, why());
            }
        }
    }
    has_no_capability(gate.process().pid())?;
    let status = gate.stop(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", gate.process().stderr());
    Ok(())
}

/// In no set of any of its threads.
pub(crate) fn has_no_capability(pid: u32) -> Result<()> {
    let mut threads = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let empty = format!("{set}:\t{:016}\n", 0);
            ensure!(status.contains(&empty), "{status}");
        }
        ensure!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        threads += 1;
    }
    // Two workers, and the thread that starts before any of the gate's own.
    ensure!(threads >= 4, "{threads} threads");
    Ok(())
}

fn text<'l>(line: &'l Value, key: &str) -> &'l str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The three ways to a socket, under rules that bring connections by `destination`.
fn every_way(lab: &Lab, destination: &str, transparent: &str, capability: &str) -> Result<()> {
    let _server = Server::start(lab)?;
    lab.gate_dns.set_pool(Lab::gate_pool());
    let listener = |name: &str, bind: &str, more: &str| {
        format!("{{ name: {name}, bind: \"{bind}:8443\", destination: {destination}{more} }}")
    };
    let (v4, v6) = (listener("four", "0.0.0.0", ""), listener("six", "[::]", ""));

    let by_hand = Options { capability: capability.to_owned(), ..options("by-hand", &[&v4, &v6]) };
    holds(lab, &by_hand).context("by hand")?;

    let both = listener("both", "[::]", ", ipv6_only: false, socket: handed_over");
    let activator = handing_over(&[&format!("both=[::]:8443{transparent}")]);
    let shared = Options { activator, ..options("shared", &[&both]) };
    holds(lab, &shared).context("one socket of both families, handed over and shared by two workers")?;

    let four = format!("four=0.0.0.0:8443,reuseport{transparent}");
    let six = format!("six=[::]:8443,only,reuseport{transparent}");
    let activator = handing_over(&[&four, &six, &four, &six]);
    let each = Options { activator, ..options("each", &[&v4, &v6]) };
    holds(lab, &each).context("handed over, one for each worker")
}

#[test]
fn redirect_brings_the_same_to_sockets_of_the_gates_own_and_to_those_handed_over() -> Result<()> {
    let lab = Lab::new("by-redirect")?;
    let _redirect = Redirect::nftables(&lab)?;
    every_way(&lab, "redirect", "", "")
}

#[test]
fn tproxy_brings_the_same_to_a_gate_without_any_capability() -> Result<()> {
    let lab = Lab::new("by-tproxy")?;
    let _redirect = Redirect::tproxy(&lab)?;
    every_way(&lab, "tproxy", ",transparent", "+net_admin")
}
