//! What `sekisho export` prints, put to the programs that it is for. (Squid has a file of its own; the packet rules are
//! what every test loads that redirects.)

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::UID;
use lab::net::{exported, route_marked, unroute};
use lab::netns::{self, Netns};
use lab::process::Process;
use sekisho_policy::Policy;
use sekisho_policy::export::{Filter, Means, Packets, Place};
use socket2::{Domain, Socket, Type};

const NOW: i64 = 1_795_521_600;

fn policy(rules: &str) -> Result<Policy> {
    let text = format!("version: 1\nrules:\n{rules}");
    Policy::parse("policy.yaml", &text, NOW).map(|loaded| loaded.policy).map_err(|faults| anyhow::anyhow!("{faults}"))
}

#[test]
fn nft_and_iptables_restore_accept_the_packet_rules_and_a_check_changes_nothing() -> Result<()> {
    let lab = Lab::new("exports-check")?;
    let before = lab.gate.run("nft", ["list", "ruleset"])?;
    let uid = UID.to_string();
    let places =
        [vec!["--for", "router"], vec!["--for", "router", "--pass", "udp:53"], vec!["--for", "host", "--user", &uid]];
    let means = [vec!["--by", "redirect"], vec!["--by", "tproxy", "--http-port", "8080"]];
    for place in &places.iter().flat_map(|place| means.iter().map(|by| [&**place, by].concat())).collect::<Vec<_>>() {
        let file = exported(&lab, "nftables", place)?;
        lab.gate.run("nft", ["-c", "-f", &file]).with_context(|| format!("{place:?}"))?;
        // `check` gives both families' rules to `iptables-restore --test`.
        let file = exported(&lab, "iptables", place)?;
        lab.gate.run("sh", [file.as_str(), "check"]).with_context(|| format!("{place:?}"))?;
        let text = fs::read_to_string(&file)?.replace("REDIRECT --to-ports", "REDIRECT --to-moon");
        fs::write(&file, text.replace("TPROXY --on-port", "TPROXY --on-moon"))?;
        ensure!(lab.gate.run("sh", [file.as_str(), "check"]).is_err(), "a check that accepts anything");
    }
    // iptables makes empty tables of its own when it looks.
    let rules = |text: &str| text.lines().filter(|line| line.contains("dport") || line.contains("SEKISHO")).count();
    let after = lab.gate.run("nft", ["list", "ruleset"])?;
    ensure!(rules(&after) == rules(&before), "a check has loaded rules:\n{after}");
    Ok(())
}

#[test]
fn every_port_that_a_rule_opens_comes_to_the_gates_port_of_its_protocol_and_no_other_passes() -> Result<()> {
    let lab = Lab::new("exports-ports")?;
    let policy = policy(
        "  - { name: a, clients: [10.20.0.0/24], hosts: [a.example.net], ports: [443, 9443] }\n  \
         - { name: b, clients: [10.20.0.0/24], hosts: [b.example.net], protocols: [http] }\n",
    )?;
    let router = Place::Router { clients: Vec::new(), pass: Vec::new() };
    let host = Place::Host { user: UID.to_string() };
    for (filter, means) in [Filter::Nftables, Filter::Iptables]
        .into_iter()
        .flat_map(|filter| [Means::Redirect, Means::Tproxy].map(|means| (filter, means)))
    {
        for (place, from) in [(&router, &lab.client), (&host, &lab.gate)] {
            let export =
                policy.packets(&Packets { filter, place: place.clone(), means, gate: 8443, http: Some(8080) })?;
            let file = lab.directory().join("rules");
            if (filter, means) == (Filter::Nftables, Means::Tproxy) {
                route_marked(&lab.gate, &export.text)?;
            }
            fs::write(&file, export.text)?;
            let path = file.to_str().context("path")?;
            let (load, undo) = match filter {
                Filter::Nftables => (vec!["nft", "-f", path], vec!["nft", "flush", "ruleset"]),
                Filter::Iptables => (vec!["sh", path, "apply"], vec!["sh", path, "remove"]),
            };
            lab.gate.run(load[0], load[1..].iter().copied())?;
            let listen = |port| lab.gate.enter(|| listen(port, means == Means::Tproxy))?;
            let (tls, http) = (listen(8443)?, listen(8080)?);
            let what = format!("{filter:?} {means:?} {place:?}");
            for (port, listener) in [(443, &tls), (9443, &tls), (80, &http)] {
                let connected = connect(from, &format!("198.18.1.1:{port}"))?;
                ensure!(connected.is_ok(), "{what} {port}: {connected:?}");
                drop(listener.accept().with_context(|| format!("{what}: {port} came to the other"))?);
            }
            if *place == router {
                let other = connect(from, "198.18.1.1:9444")?;
                ensure!(matches!(other, Err(ErrorKind::ConnectionRefused)), "{what} {other:?}");
            }
            drop((tls, http));
            lab.gate.run(undo[0], undo[1..].iter().copied())?;
            unroute(&lab.gate);
        }
    }
    Ok(())
}

/// A port of every IPv4 address that the packet rules bring here.
fn listen(port: u16, transparent: bool) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_ip_transparent_v4(transparent)?;
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], port)).into())?;
    socket.listen(16)?;
    // What the kernel has queued is there when a client is connected.
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn connect(from: &Netns, to: &str) -> Result<Result<(), ErrorKind>> {
    let to: SocketAddr = to.parse()?;
    let one = || TcpStream::connect_timeout(&to, Duration::from_secs(3)).map(drop).map_err(|error| error.kind());
    from.enter(one)
}

#[test]
fn unbound_answers_for_listed_names_only_and_asks_nobody_about_others() -> Result<()> {
    const A: u16 = 1;
    const TXT: u16 = 16;
    const REFUSED: u8 = 5;
    let lab = Lab::new("exports-unbound")?;
    let rules = "  - { name: not that, action: deny, hosts: [.secret.x.test] }\n  \
                 - { name: a, clients: [10.20.0.0/24], hosts: [\"*.partner.example\", .x.test, www.example.net] }\n  \
                 - name: reports\n    clients: [10.20.0.0/24]\n    buckets: [{ name: reports, region: ap-northeast-1 }]\n";
    let export = policy(rules)?.unbound(&["198.18.0.54:53".parse()?], NOW);
    let fragment = lab.directory().join("sekisho.conf");
    fs::write(&fragment, export.text)?;
    let config = lab.directory().join("unbound.conf");
    let text = format!(
        "server:\n  interface: 10.20.0.1\n  do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  directory: \"{}\"\n  \
         use-syslog: no\n  module-config: \"iterator\"\ninclude: \"{}\"\nremote-control:\n  control-enable: no\n",
        lab.directory().display(),
        fragment.display()
    );
    fs::write(&config, text)?;
    netns::run(Command::new("unbound-checkconf").arg(&config))?;
    let mut command = lab.gate.cmd("unbound");
    command.args(["-d", "-c"]).arg(&config);
    let mut unbound = Process::start("unbound", lab.directory(), &mut command)?;
    unbound.wait_ready(Duration::from_secs(20), || ask(&lab, "www.example.net", A).is_ok())?;

    for name in [
        "www.example.net",
        "reports.s3.ap-northeast-1.amazonaws.com",
        "reports.s3-ap-northeast-1.amazonaws.com",
        "reports.s3.amazonaws.com",
        "a.partner.example",
        "x.test",
        "deep.er.x.test",
        "WWW.Example.NET",
    ] {
        let (code, answers) = ask(&lab, name, A)?;
        // The lab answers with a CNAME into a domain that is not listed, and its addresses.
        ensure!(code == 0 && answers > 1, "{name}: rcode {code}, {answers} answers");
    }
    for name in [
        "secret.x.test",
        "a.secret.x.test",
        "other.s3.ap-northeast-1.amazonaws.com",
        "s3.ap-northeast-1.amazonaws.com",
        "example.net",
        "mail.example.net",
        "ZXhmaWx0cmF0ZWQ.attacker.example",
        "com",
    ] {
        for kind in [A, TXT] {
            let (code, answers) = ask(&lab, name, kind)?;
            ensure!(code == REFUSED && answers == 0, "{name}: rcode {code}, {answers} answers");
        }
        ensure!(lab.gate_dns.queries(&name.to_ascii_lowercase()) == 0, "{name} was carried out");
    }
    ensure!(lab.gate_dns.queries("www.example.net") > 0, "nothing was asked, so nothing was shown");
    Ok(())
}

/// Asks the resolver in the gate's namespace; the response code and the number of answers.
fn ask(lab: &Lab, name: &str, kind: u16) -> Result<(u8, u16)> {
    let mut query = vec![0x5e, 0x15, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend_from_slice(label.as_bytes());
    }
    query.push(0);
    query.extend_from_slice(&kind.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    lab.client.enter(|| -> Result<_> {
        let socket = UdpSocket::bind("10.20.0.2:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        socket.connect("10.20.0.1:53")?;
        socket.send(&query)?;
        let mut reply = [0; 1500];
        let length = socket.recv(&mut reply).with_context(|| format!("no reply about {name}"))?;
        ensure!(length >= 12 && reply[..2] == query[..2], "a strange reply about {name}");
        Ok((reply[3] & 15, u16::from_be_bytes([reply[6], reply[7]])))
    })?
}

/// AWS's own description of the request, by which its clients check what they send.
const SHAPE: &str = "import json, sys, botocore.session, botocore.validate
model = botocore.session.get_session().get_service_model('network-firewall')
shape = model.operation_model('CreateRuleGroup').input_shape
report = botocore.validate.ParamValidator().validate(json.load(open(sys.argv[1])), shape)
sys.exit(report.generate_report() or None)";

#[test]
fn the_rule_group_is_of_the_shape_that_aws_describes() -> Result<()> {
    let lab = Lab::new("exports-firewall")?;
    let policy = policy("  - { name: a, clients: [10.20.0.0/16], hosts: [.x.test, www.example.net] }\n")?;
    let export = policy.network_firewall(&["10.20.0.0/16".parse()?], NOW);
    let export = export.map_err(|(error, _)| anyhow::anyhow!("{error}"))?;
    let file = lab.directory().join("group.json");
    let check = |text: &str| -> Result<()> {
        fs::write(&file, text)?;
        netns::run(lab.client.cmd(lab::tools().join("python")).args(["-c", SHAPE]).arg(&file)).map(drop)
    };
    check(&export.text)?;
    ensure!(check(&export.text.replace("\"Targets\"", "\"Target\"")).is_err(), "a check that accepts anything");
    ensure!(check(&export.text.replace("\"Type\"", "\"Kind\"")).is_err(), "a check that accepts anything");
    Ok(())
}

#[test]
fn a_redirect_is_gone_with_its_value() -> Result<()> {
    let lab = Lab::new("exports-undo")?;
    let listener = lab.servers.enter(|| TcpListener::bind("198.18.5.5:443"))??;
    for redirect in [lab::net::Redirect::nftables, lab::net::Redirect::iptables] {
        let rules = redirect(&lab)?;
        ensure!(connect(&lab.client, "198.18.5.5:443")?.is_err(), "not redirected to the gate, which does not run");
        drop(rules);
        ensure!(connect(&lab.client, "198.18.5.5:443")?.is_ok(), "still redirected");
        let (mut stream, _) = listener.accept()?;
        ensure!(stream.read(&mut [0; 1])? == 0, "something was sent");
    }
    Ok(())
}
