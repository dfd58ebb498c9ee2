//! DNS over HTTPS, which is TLS to port 443 like any other: a resolver is reached where a rule lists its name.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::certs::Authority;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use lab::netns;
use lab::process::Process;
use serde_json::Value;

/// A server that answers every query with 198.18.1.1 (RFC 8484), and everybody else with a page.
const RESOLVER: &str = r#"
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def say(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.say("text/plain", b"the page")
    def do_POST(self):
        query = self.rfile.read(int(self.headers["Content-Length"]))
        address = query[-4:-2] == b"\0\1"
        head = query[:2] + b"\x81\x80\0\1\0" + (b"\1" if address else b"\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4\xc6\x12\1\1" if address else b""
        self.say("application/dns-message", head + query[12:] + record)
server = http.server.ThreadingHTTPServer(("198.18.1.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn policy(hosts: &str) -> String {
    format!("version: 1\nrules:\n  - {{ name: a, hosts: [{hosts}], {UPSTREAM} }}\n")
}

#[test]
fn a_resolver_over_https_is_reached_by_a_listed_name_and_not_by_another_or_none() -> Result<()> {
    let lab = Lab::new("egress-doh")?;
    let authority = Authority::new(lab.directory())?;
    let (cert, key) = authority.issue("doh", &["*.example.net", "198.18.1.1"])?;
    let mut command = lab.servers.cmd("python3");
    let mut server = Process::start("doh", lab.directory(), command.args(["-c", RESOLVER]).arg(cert).arg(key))?;
    server.wait_ready(Duration::from_secs(30), || {
        lab.servers.enter(|| std::net::TcpStream::connect("198.18.1.1:443").is_ok()).unwrap_or(false)
    })?;
    for dns in [&lab.client_dns, &lab.gate_dns] {
        dns.set_pool(vec!["198.18.1.1".parse()?]);
    }
    let page = |resolver: &str| {
        let mut curl = lab.client.cmd("curl");
        curl.args(["--silent", "--show-error", "--max-time", "60", "--cacert"]).arg(authority.ca_file());
        curl.args(["--doh-url", &format!("https://{resolver}/dns-query"), "https://www.example.net/"]);
        netns::run(&mut curl)
    };
    let gate = Gate::start(&lab, &Options::policy(&policy("www.example.net")))?;
    // The name of the resolver itself is asked of the client's own.
    let _redirect = Redirect::nftables(&lab)?;
    for (resolver, reason) in [("resolver.example.net", "no_rule"), ("198.18.1.1", "no_sni")] {
        let refused = page(resolver).err().with_context(|| format!("{resolver} answered"))?;
        ensure!(format!("{refused:#}").contains("exit status: 6"), "not for want of an answer: {refused:#}");
        let refusals = |lines: &[Value]| lines.iter().filter(|line| line["reason"] == reason).count();
        // For both families, and nothing else was asked for.
        let lines = gate.wait_closed(Duration::from_secs(30), |lines| refusals(lines) >= 1)?;
        ensure!(lines.iter().all(|line| line["verdict"] == "refused"), "{lines:#?}");
    }
    gate.replace_policy(&policy("www.example.net, resolver.example.net"))?;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let got = loop {
        match page("resolver.example.net") {
            Err(_) if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(200)),
            other => break other?,
        }
    };
    ensure!(got == "the page", "{got}");
    let named =
        |lines: &[Value], host: &str| lines.iter().any(|line| line["verdict"] == "allowed" && line["host"] == host);
    let both = |lines: &[Value]| named(lines, "resolver.example.net") && named(lines, "www.example.net");
    gate.wait_closed(Duration::from_secs(30), both).map(drop)
}
