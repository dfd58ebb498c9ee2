//! Every way in, over IPv4 and IPv6, by the same cases; and the table of docs/ways-in.md, which is what came of it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::{Counter, Redirect};

use super::{answer, closed, say, text, web};
use crate::peer::{self, Server, Task};

/// How a client says what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// By its hello.
    Tls,
    /// By the Host of a request to the server itself.
    Http,
    /// By CONNECT, and a hello in the tunnel.
    Connect,
    /// By a request in absolute-form.
    Absolute,
}

/// How it comes to the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Redirect,
    Tproxy,
    /// To the listener's own address.
    Dialled,
    /// The same, through a balancer that sends a PROXY header of this version.
    Balanced(u8),
}

/// A way in.
#[derive(Clone, Copy, Debug)]
struct Way {
    speech: Speech,
    road: Road,
    /// The listener's port, for both families.
    port: u16,
    /// Whether one socket takes both.
    dual: bool,
}

const fn way(speech: Speech, road: Road, port: u16) -> Way {
    Way { speech, road, port, dual: false }
}

const fn dual(way: Way) -> Way {
    Way { dual: true, ..way }
}

/// At a gate to which REDIRECT leads.
const REDIRECTED: &[Way] = &[
    way(Speech::Tls, Road::Redirect, 8443),
    way(Speech::Tls, Road::Dialled, 9001),
    way(Speech::Tls, Road::Balanced(1), 9002),
    way(Speech::Tls, Road::Balanced(2), 9003),
    way(Speech::Http, Road::Redirect, 8080),
    way(Speech::Http, Road::Dialled, 9004),
    way(Speech::Http, Road::Balanced(1), 9005),
    way(Speech::Http, Road::Balanced(2), 9006),
    way(Speech::Connect, Road::Dialled, 9007),
    way(Speech::Connect, Road::Balanced(1), 9008),
    way(Speech::Connect, Road::Balanced(2), 9009),
    way(Speech::Absolute, Road::Dialled, 9007),
    way(Speech::Absolute, Road::Balanced(1), 9008),
    way(Speech::Absolute, Road::Balanced(2), 9009),
];

/// The same, where each IPv6 socket takes IPv4 too.
const REDIRECTED_DUAL: &[Way] = &[
    dual(way(Speech::Tls, Road::Redirect, 8443)),
    dual(way(Speech::Tls, Road::Dialled, 9001)),
    dual(way(Speech::Http, Road::Redirect, 8080)),
    dual(way(Speech::Connect, Road::Balanced(2), 9009)),
];

/// At a gate to which TPROXY leads.
const TPROXIED: &[Way] = &[way(Speech::Tls, Road::Tproxy, 8443), way(Speech::Http, Road::Tproxy, 8080)];
const TPROXIED_DUAL: &[Way] =
    &[dual(way(Speech::Tls, Road::Tproxy, 8443)), dual(way(Speech::Http, Road::Tproxy, 8080))];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// An address of the client's, one that a balancer says it has, the gate's, and a server's.
    const fn addresses(self) -> [&'static str; 4] {
        match self {
            Self::V4 => ["10.20.0.2", "192.0.2.7", "10.20.0.1", "198.18.1.7"],
            Self::V6 => ["2001:db8:20::2", "2001:db8:99::7", "2001:db8:20::1", "2001:db8:18::1:7"],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// What is asked for through every way.
const POLICY: &str = "
  - { name: listed, hosts: [four.example, six.example], protocols: [tls, http], UPSTREAM }
  - { name: ours, hosts: [ours.example], protocols: [tls, http], clients: [OURS], UPSTREAM }
  - { name: theirs, hosts: [theirs.example], protocols: [tls, http], clients: [192.0.2.99], UPSTREAM }
  - { name: any, hosts: [.any.example], protocols: [tls, http], upstream: any }
  - { name: public, hosts: [.public.example], protocols: [tls, http] }
";

/// What no way in may make the gate dial, and under which rule: this process's own sockets, the metadata services in
/// whatever form, and what a rule without `upstream` leaves out.
const NEVER: &[(&str, &str)] = &[
    ("listener.any.example", "10.20.0.1"),
    ("listener6.any.example", "2001:db8:20::1"),
    ("listener-carried.any.example", "64:ff9b::10.20.0.1"),
    ("admin.any.example", "127.0.0.1"),
    ("admin-mapped.any.example", "::ffff:127.0.0.1"),
    ("health.any.example", "10.88.0.1"),
    ("instance.any.example", "169.254.169.254"),
    ("task.any.example", "169.254.170.2"),
    ("instance6.any.example", "fd00:ec2::254"),
    ("mapped.any.example", "::ffff:169.254.169.254"),
    ("translated.any.example", "64:ff9b::169.254.169.254"),
    ("platform.any.example", "168.63.129.16"),
    ("link.any.example", "fe80::1"),
    ("unspecified.any.example", "0.0.0.0"),
    ("unspecified6.any.example", "::"),
    ("multicast.any.example", "224.0.0.1"),
    ("loopback.public.example", "127.0.0.1"),
    ("loopback6.public.example", "::1"),
    ("private.public.example", "10.20.0.9"),
    ("shared.public.example", "100.64.0.1"),
    ("unique.public.example", "fd99::1"),
    ("reserved.public.example", "198.18.1.9"),
    ("sixtofour.public.example", "2002:a14:9::1"),
];

impl Way {
    fn listeners(self) -> Vec<String> {
        let protocol = match self.speech {
            Speech::Tls => "tls",
            Speech::Http => "http",
            Speech::Connect | Speech::Absolute => "connect",
        };
        let rest = match self.road {
            Road::Redirect => "destination: redirect",
            Road::Tproxy => "destination: tproxy",
            Road::Dialled => "destination: none",
            Road::Balanced(_) => "destination: none, proxy_protocol: { from: [10.20.0.0/24, \"2001:db8:20::/64\"] }",
        };
        let families: &[_] =
            if self.dual { &[("[::]", ", ipv6_only: false")] } else { &[("0.0.0.0", ""), ("[::]", "")] };
        let listener = |&(bind, form): &(&str, &str)| {
            format!("{{ bind: \"{bind}:{}\"{form}, protocol: {protocol}, {rest} }}", self.port)
        };
        families.iter().map(listener).collect()
    }

    /// The port that is dialled in the end.
    fn server_port(self) -> u16 {
        if matches!(self.speech, Speech::Http | Speech::Absolute) { 80 } else { 443 }
    }

    /// Where the client dials.
    fn to(self, family: Family) -> Result<SocketAddr> {
        let [_, _, gate, server] = family.addresses();
        let (to, port) = if matches!(self.road, Road::Redirect | Road::Tproxy) {
            (server, self.server_port())
        } else {
            (gate, self.port)
        };
        Ok(SocketAddr::new(to.parse()?, port))
    }

    /// Who the client is, as the record should say; and where it wanted to go, if the gate can know.
    fn seen(self, family: Family) -> (String, Option<String>) {
        let [client, claimed, _, server] = family.addresses();
        let at =
            |ip: &str, port: u16| ip.parse().map_or_else(|_| ip.to_owned(), |ip| SocketAddr::new(ip, port).to_string());
        match self.road {
            Road::Redirect | Road::Tproxy => (at(client, 0), Some(at(server, self.server_port()))),
            Road::Dialled => (at(client, 0), None),
            Road::Balanced(_) => (at(claimed, 40_000), Some(at(server, self.server_port()))),
        }
    }

    /// What stands in front of what the client says.
    fn header(self, family: Family) -> Result<Vec<u8>> {
        let [_, client, _, server] = family.addresses();
        let port = self.server_port();
        Ok(match self.road {
            Road::Redirect | Road::Tproxy | Road::Dialled => Vec::new(),
            Road::Balanced(1) => {
                let kind = if family == Family::V4 { "TCP4" } else { "TCP6" };
                format!("PROXY {kind} {client} {server} 40000 {port}\r\n").into_bytes()
            }
            Road::Balanced(_) => {
                let octets = |text: &str| -> Result<Vec<u8>> {
                    Ok(match text.parse()? {
                        IpAddr::V4(v4) => v4.octets().to_vec(),
                        IpAddr::V6(v6) => v6.octets().to_vec(),
                    })
                };
                let addresses = [octets(client)?, octets(server)?].concat();
                let ports = [40_000_u16.to_be_bytes(), port.to_be_bytes()].concat();
                let kind = if family == Family::V4 { 0x11 } else { 0x21 };
                let length = u16::try_from(addresses.len() + ports.len())?.to_be_bytes();
                [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[kind], &length, &addresses, &ports].concat()
            }
        })
    }

    /// One client that asks for `host`: what it was told. `Ok` when it was served.
    fn ask(self, lab: &Lab, family: Family, host: &str) -> Result<Result<(), String>> {
        let hello = [peer::hello(host), Task::Answer(5).bytes().to_vec()].concat();
        let request = match self.speech {
            Speech::Tls => hello,
            Speech::Http => format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
            Speech::Connect => {
                [format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").into_bytes(), hello].concat()
            }
            Speech::Absolute => format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(),
        };
        let bytes = [self.header(family)?, request].concat();
        let mut said = say(&lab.client, &self.to(family)?.to_string(), &bytes, true)?;
        if self.speech != Speech::Tls {
            let (status, told) = answer(&said)?;
            if status != 200 {
                return Ok(Err(told.lines().last().unwrap_or_default().to_owned()));
            }
            ensure!(self.speech == Speech::Connect || told.contains(&format!("read-host: {host}")), "{told}");
            let head = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no end of the head")?;
            said.drain(..head + 4);
        }
        if !matches!(self.speech, Speech::Tls | Speech::Connect) {
            return Ok(Ok(()));
        }
        Ok(match said.as_slice() {
            [0x15, 3, 3, 0, 2, 2, alert] => Err(format!("alert {alert}")),
            [_, _, _, _, _] => Ok(()),
            other => bail!("neither an answer nor an alert: {}", other.escape_ascii()),
        })
    }

    /// As the page's table says it.
    fn row(self) -> [String; 3] {
        let protocol = match self.speech {
            Speech::Tls => "`tls`",
            Speech::Http => "`http`",
            Speech::Connect => "`connect`: CONNECT",
            Speech::Absolute => "`connect`: absolute-form",
        };
        let (destination, header) = match self.road {
            Road::Redirect => ("`redirect`", ""),
            Road::Tproxy => ("`tproxy`", ""),
            Road::Dialled => ("`none`", ""),
            Road::Balanced(1) => ("`none`", "version 1"),
            Road::Balanced(_) => ("`none`", "version 2"),
        };
        let one = if self.dual { ", one socket for both families" } else { "" };
        [protocol.to_owned(), format!("{destination}{one}"), header.to_owned()]
    }
}

/// What came of one way over one family: the cells of its row.
#[derive(Debug, Default)]
struct Cells {
    servers: Vec<&'static str>,
    client: bool,
    wanted: bool,
    kept_from: usize,
}

fn options(ways: &[Way]) -> Options {
    let ours =
        Family::BOTH.map(|family| format!("\"{}\", \"{}\"", family.addresses()[0], family.addresses()[1])).join(", ");
    let policy = POLICY.replace("UPSTREAM", UPSTREAM).replace("OURS", &ours);
    let mut options = Options::policy(&format!("version: 1\nrules:{policy}"));
    let mut listeners: Vec<_> = ways.iter().flat_map(|way| way.listeners()).collect();
    // Those of CONNECT take requests in absolute-form as well.
    listeners.sort_unstable();
    listeners.dedup();
    // Ports that are dialled, for a name that leads back here.
    listeners.extend(
        ["10.20.0.1:443", "[2001:db8:20::1]:443"].map(|bind| format!("{{ bind: \"{bind}\", destination: none }}")),
    );
    listeners.extend(
        ["10.20.0.1:80", "[2001:db8:20::1]:80", "127.0.0.1:80", "10.88.0.1:80"]
            .map(|bind| format!("{{ bind: \"{bind}\", protocol: http, destination: none }}")),
    );
    options.listeners = listeners;
    options.admin_port = 443;
    "health: { bind: \"10.88.0.1:443\" }".clone_into(&mut options.settings);
    if ways.iter().any(|way| way.road == Road::Tproxy) {
        "+net_admin".clone_into(&mut options.capability);
    }
    options
}

#[test]
fn every_way_in_serves_refuses_and_is_kept_from_the_same() -> Result<()> {
    let lab = Lab::new("matrix")?;
    let (_server, _web) = (Server::start(&lab)?, web(&lab)?);
    lab.gate.sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
    // Whatever was dialled would leave, and be seen.
    lab.gate.run("ip", ["route", "replace", "default", "via", "10.88.0.2"])?;
    lab.gate.run("ip", ["-6", "route", "replace", "default", "via", "2001:db8:88::2"])?;
    for (host, address) in NEVER {
        lab.gate_dns.set_name(host, Behaviour::Addresses(vec![address.parse()?]));
    }
    for (host, address) in [
        ("four.example", "198.18.1.5"),
        ("six.example", "2001:db8:18::1:5"),
        ("ours.example", "198.18.1.5"),
        ("theirs.example", "198.18.1.5"),
    ] {
        lab.gate_dns.set_name(host, Behaviour::Addresses(vec![address.parse()?]));
    }
    let witnesses = [Counter::towards(&lab, "0.0.0.0/0")?, Counter::towards(&lab, "::/0")?];

    let mut table = Vec::new();
    let by_redirect: &Load = &|lab| Redirect::nftables_with(lab, &["--http-port", "8080"]);
    let by_tproxy: &Load = &|lab| Redirect::tproxy_with(lab, &["--http-port", "8080"]);
    for (ways, load) in
        [(REDIRECTED, by_redirect), (REDIRECTED_DUAL, by_redirect), (TPROXIED, by_tproxy), (TPROXIED_DUAL, by_tproxy)]
    {
        rows(&lab, ways, load, &witnesses, &mut table)?;
    }
    table.sort_by_key(|(way, _)| WORDS.iter().position(|speech| *speech == way.speech));
    let table: String = table.into_iter().map(|(_, row)| row).collect();

    let page = include_str!("../../../docs/ways-in.md");
    let (_, rest) =
        page.split_once("<!-- ways: what was seen -->\n").context("docs/ways-in.md has no place for the table")?;
    let (documented, _) = rest.split_once("<!-- ways: end -->").context("the table has no end")?;
    let documented: Vec<_> = documented.lines().filter(|line| line.starts_with("| `")).collect();
    ensure!(
        documented == table.lines().collect::<Vec<_>>(),
        "docs/ways-in.md has another table than was seen:\n{table}"
    );
    Ok(())
}

/// The order of the table.
const WORDS: [Speech; 4] = [Speech::Tls, Speech::Http, Speech::Connect, Speech::Absolute];

/// Loads the packet rules that lead to a gate.
type Load = dyn for<'lab> Fn(&'lab Lab) -> Result<Redirect<'lab>>;

/// What came of all ways in of one gate.
fn rows(
    lab: &Lab,
    ways: &[Way],
    load: &Load,
    witnesses: &[Counter<'_>; 2],
    table: &mut Vec<(Way, String)>,
) -> Result<()> {
    let mut options = options(ways);
    options.name = format!("gate-{}", table.len());
    let gate = Gate::start(lab, &options)?;
    let _rules = load(lab)?;
    let dialled = || -> Result<u64> { Ok(witnesses[0].syns()? + witnesses[1].syns()?) };
    let mut asked = 0;
    for way in ways {
        let mut row = way.row().to_vec();
        for family in Family::BOTH {
            let cells = cells(lab, &gate, *way, family, &mut asked, &dialled)
                .with_context(|| format!("{way:?} over {}", family.name()))?;
            row.push(cells.servers.join(", "));
            row.push(if cells.client { "yes" } else { "no" }.to_owned());
            row.push(if cells.wanted { "yes" } else { "no" }.to_owned());
            row.push(format!("all {}", cells.kept_from));
        }
        // No family is better off than the other.
        ensure!(row[3..7] == row[7..11], "{row:?}");
        row.truncate(7);
        table.push((*way, format!("| {} |\n", row.join(" | "))));
    }
    // Nobody spoke to the gate but those clients: it never dialled itself.
    let all = gate.metrics()?.sum("sekisho_connections_total", &[]);
    ensure!(all.to_bits() == f64::from(asked).to_bits(), "{all} connections for {asked} clients");
    Ok(())
}

fn cells(
    lab: &Lab,
    gate: &Gate<'_>,
    way: Way,
    family: Family,
    asked: &mut u32,
    dialled: &dyn Fn() -> Result<u64>,
) -> Result<Cells> {
    let (mut cells, dialled_before, lines_before) = (Cells::default(), dialled()?, *asked);
    let served = ["four.example", "six.example", "ours.example"];
    let refused = [("theirs.example", "no_rule"), ("unlisted.example", "no_rule")];
    let never = NEVER.iter().map(|(host, _)| (*host, "forbidden_address"));
    let hosts: Vec<(&str, &str)> = served.map(|host| (host, "")).into_iter().chain(refused).chain(never).collect();
    for (host, reason) in &hosts {
        let told = way.ask(lab, family, host).with_context(|| (*host).to_owned())?;
        ensure!(told.is_ok() == reason.is_empty(), "{host}: {told:?}");
        if let Err(told) = told {
            is_told(way, &told, reason)?;
        }
        *asked += 1;
    }
    ensure!(dialled()? == dialled_before + served.len() as u64, "something else was dialled than what was served");

    let lines = closed(gate, usize::try_from(*asked)?)?;
    let lines = lines.get(usize::try_from(lines_before)?..).unwrap_or_default();
    // Two workers write them, each in its own order.
    let line =
        |host: &str| lines.iter().find(|line| text(line, "host") == host).with_context(|| format!("no line of {host}"));
    let (client, wanted) = way.seen(family);
    let ip = |address: &str| address.parse::<SocketAddr>().map(|address| address.ip()).ok();
    for (host, reason) in &hosts {
        let line = line(host)?;
        ensure!(text(line, "reason") == *reason, "{line}");
        ensure!(ip(text(line, "client")) == ip(&client), "{line}");
        ensure!(!matches!(way.road, Road::Balanced(_)) || text(line, "client") == client, "{line}");
        let seen = Some(text(line, "original_dst").to_owned()).filter(|text| !text.is_empty());
        ensure!(seen == wanted, "{line}");
        cells.kept_from += usize::from(*reason == "forbidden_address");
    }
    for (host, server) in [("four.example", "IPv4"), ("six.example", "IPv6")] {
        ensure!(text(line(host)?, "upstream").starts_with('[') == (server == "IPv6"), "{host}");
        cells.servers.push(server);
    }
    // Rules for clients go by that address.
    ensure!(text(line("ours.example")?, "rule") == "ours", "another rule");
    (cells.client, cells.wanted) = (true, wanted.is_some());
    Ok(cells)
}

/// Whoever speaks HTTP is told by name, others by an alert.
fn is_told(way: Way, told: &str, reason: &str) -> Result<()> {
    let as_expected = match way.speech {
        Speech::Tls => told == "alert 49",
        Speech::Http | Speech::Connect | Speech::Absolute => told.contains(reason),
    };
    ensure!(as_expected, "{told}");
    Ok(())
}
