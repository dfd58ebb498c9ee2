//! PROXY headers, from balancers and from others.

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::process::Process;
use std::time::Duration;

use super::{HOST, closed, options, say, text};
use crate::peer::{self, Server, Task, echo_once};

const LISTENER: &str =
    "{ bind: \"0.0.0.0:8443\", destination: none, proxy_protocol: { from: [10.20.0.0/24, 127.0.0.1] } }";
const TO: &str = "10.20.0.1:8443";

fn header(rest: &[u8]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], rest].concat()
}

/// A hello and a task, behind a header.
fn behind(header: &[u8]) -> Vec<u8> {
    [header, &peer::hello(HOST), &Task::Answer(5).bytes()].concat()
}

#[test]
fn a_header_says_who_the_client_is_and_each_fault_has_its_reason() -> Result<()> {
    let lab = Lab::new("headers")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let v4 = [&[0x21, 0x11, 0, 12][..], &[192, 0, 2, 7, 198, 51, 100, 9, 0x9c, 0x40, 1, 0xbb]].concat();
    let vpce = b"\xea\0\x17\x01vpce-08d2bf15fac5001c9";
    let with_vpce = [&[0x21, 0x11, 0, 12 + 26][..], &v4[4..], vpce].concat();
    for (bytes, client, id) in [
        (behind(b"PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n"), "192.0.2.7:40000", ""),
        (behind(b"PROXY TCP6 2001:db8::7 2001:db8::9 40000 443\r\n"), "[2001:db8::7]:40000", ""),
        (behind(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.9 40000 443\r\n"), "192.0.2.7:40000", ""),
        (behind(&header(&v4)), "192.0.2.7:40000", ""),
        (behind(&header(&with_vpce)), "192.0.2.7:40000", "vpce-08d2bf15fac5001c9"),
    ] {
        let before = closed(&gate, 0)?.len();
        let said = say(&lab.client, TO, &bytes, true)?;
        ensure!(said.len() == 5, "{}: {}", bytes.escape_ascii(), said.escape_ascii());
        let lines = closed(&gate, before + 1)?;
        let line = lines.last().context("no line")?;
        ensure!((text(line, "client"), text(line, "vpce"), text(line, "verdict")) == (client, id, "allowed"), "{line}");
        ensure!(text(line, "original_dst").ends_with(":443"), "{line}");
    }
    for (bytes, reason) in [
        (behind(b""), "proxy_header_missing"),
        (behind(b"GET / HTTP/1.1\r\n"), "proxy_header_missing"),
        (behind(b"PROXY TCP4 1.1.1.1\r\n"), "proxy_header_malformed"),
        (behind(&header(&[0x31, 0x11, 0, 0])), "proxy_header_malformed"),
        (behind(&header(&[0x21, 0x11, 0xff, 0xff])), "proxy_header_malformed"),
        (behind(b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n"), "not_tls"),
        (b"PROXY TCP4 192.0.2.7".to_vec(), "client_closed"),
        (Vec::new(), "probe"),
        (header(&[0x20, 0, 0, 0]), "probe"),
    ] {
        let before = closed(&gate, 0)?.len();
        let said = say(&lab.client, TO, &bytes, true)?;
        ensure!(said.is_empty(), "{}: {}", bytes.escape_ascii(), said.escape_ascii());
        let lines = closed(&gate, before + 1)?;
        let line = lines.last().context("no line")?;
        ensure!(text(line, "reason") == reason, "{}: {line}", bytes.escape_ascii());
    }
    Ok(())
}

#[test]
fn a_rule_for_a_vpc_endpoint_is_for_who_comes_through_it_and_for_nobody_else() -> Result<()> {
    let lab = Lab::new("endpoints")?;
    let _server = Server::start(&lab)?;
    let mut options = options(LISTENER);
    let ours = "vpce-08d2bf15fac5001c9";
    options.policy =
        options.policy.replace("    hosts:", &format!("    vpc_endpoints: [{ours}, vpce-0a1b2c3d]\n    hosts:"));
    options.listeners.push("{ bind: \"0.0.0.0:8444\", destination: none }".to_owned());
    let gate = Gate::start(&lab, &options)?;
    let through = |id: &str| -> Result<Vec<u8>> {
        let value = [&[0xea, 0, u8::try_from(id.len() + 1)?, 1][..], id.as_bytes()].concat();
        let length = u8::try_from(12 + value.len())?;
        let addresses = [192, 0, 2, 7, 198, 51, 100, 9, 0x9c, 0x40, 1, 0xbb];
        Ok(behind(&header(&[&[0x21, 0x11, 0, length][..], &addresses, &value].concat())))
    };
    let v1 = behind(b"PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n");
    for (to, bytes, id, verdict) in [
        (TO, through(ours)?, ours, "allowed"),
        (TO, through("vpce-0a1b2c3d")?, "vpce-0a1b2c3d", "allowed"),
        (TO, through("vpce-0a1b2c3e")?, "vpce-0a1b2c3e", "refused"),
        // One that only begins alike, and one that only ends alike.
        (TO, through("vpce-0a1b2c3")?, "vpce-0a1b2c3", "refused"),
        (TO, through("vpce-vpce-0a1b2c3d")?, "vpce-vpce-0a1b2c3d", "refused"),
        (TO, v1, "", "refused"),
        ("10.20.0.1:8444", behind(b""), "", "refused"),
    ] {
        let before = closed(&gate, 0)?.len();
        let said = say(&lab.client, to, &bytes, true)?;
        let lines = closed(&gate, before + 1)?;
        let line = lines.last().context("no line")?;
        ensure!((text(line, "vpce"), text(line, "verdict")) == (id, verdict), "{line}");
        ensure!(verdict == "allowed" || (text(line, "reason") == "no_rule" && said.last() == Some(&49)), "{line}");
    }
    Ok(())
}

#[test]
fn haproxy_and_nginx_send_headers_that_are_read() -> Result<()> {
    let lab = Lab::new("senders")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let directory = lab.directory();
    let haproxy = directory.join("haproxy.cfg");
    let section = |port: u16, send: &str| {
        format!("listen p{port}\n  bind 10.20.0.1:{port}\n  server gate 127.0.0.1:8443 {send}\n")
    };
    let defaults = "defaults\n  mode tcp\n  timeout client 9s\n  timeout server 9s\n  timeout connect 9s\n";
    let text_of =
        [defaults.to_owned(), section(9001, "send-proxy"), section(9002, "send-proxy-v2 proxy-v2-options crc32c")];
    std::fs::write(&haproxy, text_of.concat())?;
    let nginx = directory.join("nginx.conf");
    let modules = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;";
    std::fs::write(
        &nginx,
        format!(
            "{modules}\ndaemon off; master_process off; pid {}/nginx.pid; error_log stderr;\nevents {{}}\nstream {{ server {{ \
             listen 10.20.0.1:9003; proxy_pass 127.0.0.1:8443; proxy_protocol on; }} }}\n",
            directory.display()
        ),
    )?;
    let mut senders = [
        (Process::start("haproxy", directory, lab.gate.cmd("haproxy").args(["-db", "-f"]).arg(&haproxy))?, 9001),
        (Process::start("nginx", directory, lab.gate.cmd("nginx").arg("-c").arg(&nginx))?, 9003),
    ];
    for (sender, port) in &mut senders {
        let port = *port;
        sender.wait_ready(Duration::from_secs(20), || {
            lab.client.enter(|| std::net::TcpStream::connect(("10.20.0.1", port)).is_ok()).unwrap_or(false)
        })?;
    }
    for port in [9001, 9002, 9003] {
        let to = std::net::SocketAddr::from(([10, 20, 0, 1], port));
        peer::clients(&lab.client, super::PATIENCE, || echo_once(to, HOST, b"hello"))??;
    }
    let lines = gate.wait_closed(super::PATIENCE, |lines| {
        lines.iter().filter(|line| text(line, "verdict") == "allowed").count() >= 3
    })?;
    for line in lines.iter().filter(|line| text(line, "verdict") == "allowed") {
        ensure!(text(line, "client").starts_with("10.20.0.2:"), "not the client, but its balancer: {line}");
    }
    Ok(())
}
