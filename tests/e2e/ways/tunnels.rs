//! What a CONNECT may bring about, to the byte.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::{Counter, Outage};
use lab::netns::{self, Netns};

use super::{HOST, PATIENCE, answer, closed, options, say, text};
use crate::peer::{Server, hello};

const LISTENER: &str = "{ bind: \"0.0.0.0:3128\", protocol: connect, destination: none }";
const TO: &str = "10.20.0.1:3128";
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

fn connect(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// Says one thing after the other, each once the answer to the one before has been read, and gives back all answers. A
/// refusal is read to its last byte.
fn converse(ns: &Netns, said: &[&[u8]]) -> Result<Vec<String>> {
    ns.enter(|| -> Result<_> {
        let mut stream = TcpStream::connect(TO)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        said.iter().map(|bytes| stream.write_all(bytes).map_err(Into::into).and_then(|()| head(&mut stream))).collect()
    })?
}

/// An HTTP answer with its content, or what there is before the connection's end.
fn head(stream: &mut TcpStream) -> Result<String> {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") && stream.read(&mut byte)? > 0 {
        text.extend(byte.map(char::from));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(Ok(0), str::parse)?;
    let mut content = vec![0; length];
    stream.read_exact(&mut content)?;
    Ok(text + &String::from_utf8_lossy(&content))
}

/// Every status is true: what it says of has been tried before the client is told.
#[test]
fn a_name_is_resolved_and_dialled_before_a_tunnel_stands() -> Result<()> {
    let lab = Lab::new("truth")?;
    let _server = Server::start(&lab)?;
    let _silence = Outage::silent(&lab, "198.18.3.0/24")?;
    let _reset = Outage::resetting(&lab, "198.18.4.0/24")?;
    let mut options = Options::policy(&format!(
        "version: 1\nrules:\n  - {{ name: any, upstream: any, hosts: [.any.example], ports: [443, 3128, 9180] }}\n  \
         - {{ name: public, hosts: [inside.example] }}\n  - {{ name: listed, {UPSTREAM}, hosts: [.example] }}\n"
    ));
    options.listeners = vec![LISTENER.replace("none }", "none, connect_ports: [443, 3128, 9180] }")];
    options.settings = "timeouts: { connect: 2s }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let to = |address: &str| Ok::<_, anyhow::Error>(Behaviour::Addresses(vec![address.parse()?]));
    for (name, behaviour) in [
        ("gone.example", Behaviour::NxDomain),
        ("empty.example", Behaviour::NoData),
        ("broken.example", Behaviour::ServFail),
        ("silent.example", to("198.18.3.1")?),
        ("closed.example", to("198.18.4.1")?),
        ("inside.example", to("10.88.0.2")?),
        ("self.any.example", to("10.20.0.1")?),
        ("admin.any.example", to("127.0.0.1")?),
        ("metadata.any.example", to("169.254.169.254")?),
    ] {
        lab.gate_dns.set_name(name, behaviour);
    }
    let (mut fields, mut upstreams) = (Vec::new(), 0);
    for (target, status, reason, error) in [
        ("gone.example:443", 502, "name_not_found", "dns_error"),
        ("empty.example:443", 502, "name_not_found", "dns_error"),
        ("broken.example:443", 502, "dns_failed", "dns_error"),
        ("closed.example:443", 502, "connect_failed", "connection_refused"),
        ("silent.example:443", 504, "connect_timeout", "connection_timeout"),
        ("inside.example:443", 403, "forbidden_address", "destination_ip_prohibited"),
        ("self.any.example:3128", 403, "forbidden_address", "destination_ip_prohibited"),
        ("admin.any.example:9180", 403, "forbidden_address", "destination_ip_prohibited"),
        ("metadata.any.example:443", 403, "forbidden_address", "destination_ip_prohibited"),
        ("elsewhere.test:443", 403, "no_rule", "http_request_denied"),
        ("listed.example:22", 403, "target_not_allowed", "http_request_denied"),
        ("10.20.0.1:3128", 403, "target_not_allowed", "http_request_denied"),
        ("listed.example", 400, "bad_request", "http_request_error"),
    ] {
        let said = answer(&say(&lab.client, TO, connect(target).as_bytes(), true)?)?;
        ensure!(said.0 == status && said.1.contains(&format!("(sekisho: {reason})")), "{target}: {}", said.1);
        let field = said.1.lines().find_map(|line| line.strip_prefix("Proxy-Status: ")).context("no Proxy-Status")?;
        ensure!(field.contains(&format!("error={error};")), "{target}: {field}");
        fields.push(field.to_owned());
        let lines = closed(&gate, fields.len())?;
        let last = lines.last().context("no line")?;
        ensure!(text(last, "reason") == reason && last["bytes_up"] == 0, "{target}: {last}");
        upstreams += usize::from(last.get("upstream").is_some());
    }
    ensure!(upstreams == 2, "only what was dialled has an upstream");
    // And where it can be dialled, the tunnel stands.
    let said = converse(&lab.client, &[connect("listed.example:443").as_bytes()])?;
    ensure!(said == [ESTABLISHED], "{said:?}");

    // Each is a structured field as RFC 9209 has it, by somebody else's parser.
    let script = "import sys, http_sf\nfor field in sys.argv[1:]:\n  [(who, of)] = http_sf.parse(field.encode(), tltype='list')\n  \
                  assert who == http_sf.Token('sekisho') and isinstance(of['error'], http_sf.Token), field\n  \
                  assert type(of['details']) is str and of.keys() == {'error', 'details'}, field\nprint(len(sys.argv) - 1)";
    let mut python = std::process::Command::new(lab::tools().join("python"));
    let parsed = netns::run(python.args(["-c", script]).args(&fields))?;
    ensure!(parsed.trim() == fields.len().to_string(), "{parsed}");
    Ok(())
}

#[test]
fn a_refused_client_may_ask_on_and_each_request_has_its_record() -> Result<()> {
    let lab = Lab::new("ask-on")?;
    let server = Server::start(&lab)?;
    let mut options = options(LISTENER);
    options.policy = options.policy.replace(HOST, &format!("{HOST}, gone.example"));
    let gate = Gate::start(&lab, &options)?;
    lab.gate_dns.set_name("gone.example", Behaviour::NxDomain);
    let asked = ["a.example:443", "gone.example:443", "b.example:443"].map(connect);
    let said = converse(&lab.client, &asked.each_ref().map(String::as_bytes))?;
    for (said, status) in said.iter().zip(["403", "502", "403"]) {
        ensure!(said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains("Connection: keep-alive"), "{said}");
    }
    let inner = [&hello(HOST)[..], &crate::peer::Task::Exchange(5).bytes()].concat();
    let tunnel = lab.client.enter(|| -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(TO)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(connect("c.example:443").as_bytes())?;
        ensure!(head(&mut stream)?.starts_with("HTTP/1.1 403 "));
        stream.write_all(connect(&format!("{HOST}:443")).as_bytes())?;
        ensure!(head(&mut stream)? == ESTABLISHED);
        stream.write_all(&inner)?;
        stream.shutdown(Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        Ok(all)
    })??;
    ensure!(tunnel.len() == 5, "{tunnel:?}");

    // Where the client does not keep it, the gate does not either; nor where more than the request has come.
    let old = |more: &str| format!("CONNECT a.example:443 HTTP/1.0\r\n{more}\r\n");
    for (request, kept) in [
        (old(""), false),
        (old("Connection: keep-alive\r\n"), true),
        (old("Proxy-Connection: Keep-Alive\r\n"), true),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n".to_owned(), false),
        (connect("a.example:443") + &connect(&format!("{HOST}:443")), false),
        ("GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(), false),
    ] {
        let said = converse(&lab.client, &[request.as_bytes()])?.concat();
        ensure!(said.starts_with("HTTP/1.1 403 "), "{request:?}: {said}");
        ensure!(
            said.contains(if kept { "Connection: keep-alive" } else { "Connection: close" }),
            "{request:?}: {said}"
        );
    }
    let lines = closed(&gate, 11)?;
    let hosts: Vec<_> = lines.iter().map(|line| text(line, "host").trim_end_matches(".example")).collect();
    ensure!(hosts[..3] == ["a", "gone", "b"] && lines.len() == 11, "{lines:?}");
    let allowed: Vec<_> = lines.iter().filter(|line| text(line, "verdict") == "allowed").collect();
    ensure!(matches!(&allowed[..], [one] if text(one, "host") == HOST), "{lines:?}");
    ensure!(server.accepted() == 1, "{} connections", server.accepted());
    Ok(())
}

/// Whatever a client says inside a tunnel before it has named the same host whole, the server hears nothing.
#[test]
fn not_a_byte_goes_on_before_the_hello_in_the_tunnel_has_named_the_same_host() -> Result<()> {
    let lab = Lab::new("inner")?;
    let server = Server::start(&lab)?;
    let mut options = options(LISTENER);
    options.settings = "timeouts: { hello: 1s }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let payloads = Counter::towards(&lab, "198.18.1.0/24")?;
    let outer = connect(&format!("{HOST}:443"));
    let (same, other) = (hello(HOST), hello("other.example"));
    let half = same.get(..same.len() - 1).unwrap_or_default();
    for (inner, reason) in [
        (&other[..], "sni_mismatch"),
        (&other.as_slice()[..40], "hello_timeout"),
        (half, "hello_timeout"),
        (b"GET / HTTP/1.1\r\nHost: listed.example\r\n\r\n", "not_tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls"),
        (b"\x15\x03\x03\x00\x02\x01\x00", "malformed"),
        (&hello("198.18.1.1")[..], "invalid_name"),
        (b"", "hello_timeout"),
    ] {
        let before = closed(&gate, 0)?.len();
        // In one piece with the CONNECT, and behind its answer.
        let at_once = say(&lab.client, TO, &[outer.as_bytes(), inner].concat(), false)?;
        ensure!(at_once.starts_with(ESTABLISHED.as_bytes()), "{}", at_once.escape_ascii());
        let behind = lab.client.enter(|| -> Result<Vec<u8>> {
            let mut stream = TcpStream::connect(TO)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(outer.as_bytes())?;
            ensure!(head(&mut stream)? == ESTABLISHED);
            stream.write_all(inner)?;
            let mut rest = Vec::new();
            // A reset is an end, too.
            let _ = stream.read_to_end(&mut rest);
            Ok(rest)
        })??;
        let alert: &[u8] = match reason {
            "sni_mismatch" => &[0x15, 3, 3, 0, 2, 2, 49],
            "malformed" => &[0x15, 3, 3, 0, 2, 2, 10],
            "invalid_name" => &[0x15, 3, 3, 0, 2, 2, 47],
            _ => &[],
        };
        ensure!(behind == alert, "{reason}: {}", behind.escape_ascii());
        for line in closed(&gate, before + 2)?.iter().skip(before) {
            ensure!((text(line, "reason"), line["bytes_up"].as_u64()) == (reason, Some(0)), "{line}");
            ensure!(text(line, "host") == HOST, "{line}");
        }
    }
    ensure!(payloads.payloads()? == 0, "the server heard something");
    let dialled = server.accepted();
    ensure!(dialled == 16, "{dialled} connections were dialled");

    // And the same host, a byte at a time, from the first byte of the CONNECT to the last of the hello.
    let task = crate::peer::Task::Exchange(3).bytes();
    let all = [outer.as_bytes(), &same, &task].concat();
    let said = lab.client.enter(|| -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(TO)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        for byte in all.chunks(1) {
            stream.write_all(byte)?;
        }
        stream.shutdown(Shutdown::Write)?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        Ok(said)
    })??;
    ensure!(said.len() == ESTABLISHED.len() + 3, "{}", said.escape_ascii());
    Ok(())
}
