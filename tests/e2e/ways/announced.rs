//! Servers that want to be told whom a connection is for: `send_proxy_protocol`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use lab::process::Process;

use super::{PATIENCE, closed, text};
use crate::peer::hello;

/// What each name resolves to. nginx answers with what it has read; HAProxy passes on what it has read to nginx.
const SERVERS: [(&str, &str); 4] = [
    ("nginx4.example", "198.18.1.11"),
    ("nginx6.example", "2001:db8:18::1:b"),
    ("haproxy4.example", "198.18.1.10"),
    ("haproxy6.example", "2001:db8:18::1:a"),
];

const NGINX: &str = "events {}
stream {
    server {
        listen 198.18.1.11:443 proxy_protocol;
        listen 198.18.1.11:444 proxy_protocol;
        listen [2001:db8:18::1:b]:443 proxy_protocol;
        ssl_preread on;
        return \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port $ssl_preread_server_name\";
    }
}
";

const HAPROXY: &str = "defaults
  mode tcp
  timeout client 9s
  timeout server 9s
  timeout connect 9s
listen wants
  bind 198.18.1.10:443 accept-proxy
  bind 2001:db8:18::1:a:443 accept-proxy
  server nginx 198.18.1.11:444 send-proxy-v2
";

/// Every way in, each with the header on its way out.
const LISTENERS: [&str; 6] = [
    "{ bind: \"0.0.0.0:8443\", destination: redirect, send_proxy_protocol: v2 }",
    "{ bind: \"[::]:8443\", destination: redirect, send_proxy_protocol: v2 }",
    "{ bind: \"0.0.0.0:8444\", destination: none, send_proxy_protocol: v2 }",
    "{ bind: \"[::]:8444\", destination: none, send_proxy_protocol: v2 }",
    "{ bind: \"0.0.0.0:8445\", destination: none, proxy_protocol: { from: [10.20.0.0/24] }, send_proxy_protocol: v2 }",
    "{ bind: \"0.0.0.0:3128\", protocol: connect, destination: none, send_proxy_protocol: v2 }",
];

/// What a client that dials `to` and sends `before` (for its way in) and a hello gets from the server; its own port.
fn told(lab: &Lab, to: &str, before: &str, host: &str) -> Result<(u16, String)> {
    let to: SocketAddr = to.parse()?;
    lab.client.enter(|| -> Result<_> {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(before.as_bytes())?;
        if before.starts_with("CONNECT") {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                ensure!(stream.read(&mut byte)? == 1, "no tunnel: {}", head.escape_ascii());
                head.extend(byte);
            }
            ensure!(head.starts_with(b"HTTP/1.1 200 "), "no tunnel: {}", head.escape_ascii());
        }
        stream.write_all(&hello(host))?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok((stream.local_addr()?.port(), said))
    })?
}

#[test]
fn a_server_that_wants_it_is_told_the_client_and_what_it_dialled_before_the_hello() -> Result<()> {
    let lab = Lab::new("announced")?;
    let directory = lab.directory();
    let nginx = directory.join("nginx.conf");
    let module = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;";
    let pid = directory.join("nginx.pid");
    std::fs::write(
        &nginx,
        format!("{module}\ndaemon off; master_process off; pid {}; error_log stderr;\n{NGINX}", pid.display()),
    )?;
    let haproxy = directory.join("haproxy.cfg");
    std::fs::write(&haproxy, HAPROXY)?;
    // The servers' side answers for whole networks by a route; of IPv6 that alone is nothing to bind to.
    lab.servers.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
    let mut servers = [
        (Process::start("nginx", directory, lab.servers.cmd("nginx").arg("-c").arg(&nginx))?, "198.18.1.11:443"),
        (
            Process::start("haproxy", directory, lab.servers.cmd("haproxy").args(["-db", "-f"]).arg(&haproxy))?,
            "198.18.1.10:443",
        ),
    ];
    for (server, at) in &mut servers {
        server.wait_ready(Duration::from_secs(30), || {
            lab.servers.enter(|| TcpStream::connect(*at).is_ok()).unwrap_or(false)
        })?;
    }
    for (name, address) in SERVERS {
        lab.gate_dns.set_name(name, Behaviour::Addresses(vec![address.parse::<IpAddr>()?]));
    }
    let names = SERVERS.map(|(name, _)| name).join(", ");
    let mut options =
        Options::policy(&format!("version: 1\nrules:\n  - {{ name: told, {UPSTREAM}, hosts: [{names}] }}\n"));
    options.listeners = LISTENERS.map(str::to_owned).into();
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;

    let header = "PROXY TCP4 192.0.2.7 198.51.100.9 40000 8443\r\n";
    let connect = |host: &str| format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
    let (v4, v6) = ("10.20.0.2 PORT", "2001:db8:20::2 PORT");
    let mut cases = Vec::new();
    for (server, is_v4) in [("nginx4", true), ("nginx6", false), ("haproxy4", true), ("haproxy6", false)] {
        let host = format!("{server}.example");
        let dialled = SERVERS.iter().find(|(name, _)| *name == host).context("a server")?.1;
        // What the client dialled, whatever was dialled for it.
        cases.push((host.clone(), "198.18.1.7:443", String::new(), format!("{v4} 198.18.1.7 443")));
        cases.push((host.clone(), "[2001:db8:18::1:7]:443", String::new(), format!("{v6} 2001:db8:18::1:7 443")));
        // Where it dialled the gate: what was dialled for it. One header has one family.
        let (from4, to4) =
            if is_v4 { (v4.to_owned(), dialled.to_owned()) } else { (format!("::ffff:{v4}"), dialled.to_owned()) };
        let to6 = if is_v4 { format!("::ffff:{dialled}") } else { dialled.to_owned() };
        cases.push((host.clone(), "10.20.0.1:8444", String::new(), format!("{from4} {to4} 443")));
        cases.push((host.clone(), "[2001:db8:20::1]:8444", String::new(), format!("{v6} {to6} 443")));
        cases.push((host.clone(), "10.20.0.1:3128", connect(&host), format!("{from4} {to4} 443")));
        // What a balancer has told, told on.
        cases.push((host, "10.20.0.1:8445", header.to_owned(), "192.0.2.7 40000 198.51.100.9 8443".to_owned()));
    }
    let count = cases.len();
    for (host, to, before, expected) in cases {
        let (port, said) = told(&lab, to, &before, &host).with_context(|| format!("{host} by {to}"))?;
        let expected = format!("{} {host}", expected.replace("PORT", &port.to_string()));
        ensure!(said == expected, "{host} by {to}: it read {said:?}, not {expected:?}");
    }
    // The header is no byte of the client's.
    for line in closed(&gate, count)? {
        let length = hello(text(&line, "host")).len();
        ensure!(line["bytes_up"] == length && text(&line, "verdict") == "allowed", "{length}: {line}");
    }
    Ok(())
}
