//! Port 80.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Counter;
use lab::netns;
use lab::process::Process;
use lab::s3::AUTHORIZATION;

use super::{HOST, PATIENCE, answer, closed, options, say, text, web};

/// What the kernel sends to the gate.
const RULES: &str = "table inet ways {
    chain to_gate {
        type nat hook prerouting priority dstnat
        ip saddr 10.20.0.0/24 tcp dport 80 redirect to :8480
    }
}";

#[test]
fn one_request_to_port_80_is_served_as_the_rules_say() -> Result<()> {
    let lab = Lab::new("port80")?;
    let _web = web(&lab)?;
    let gate = Gate::start(&lab, &options("{ bind: \"0.0.0.0:8480\", protocol: http, destination: redirect }"))?;
    let rules = lab.directory().join("ways.nft");
    std::fs::write(&rules, RULES)?;
    netns::run(lab.gate.cmd("nft").arg("-f").arg(&rules))?;
    let upstream = Counter::towards(&lab, "0.0.0.0/0")?;

    // The SSM agent's HEAD to a bucket, and a website's GET.
    let served = ["-I", "-o/dev/null"].map(|how| {
        let mut curl = lab.client.cmd("curl");
        curl.args(["-sS", "-m20", "-w%{http_code}", how, &format!("http://{HOST}/some/path?x=y")]);
        netns::run(&mut curl)
    });
    for served in served {
        let served = served?;
        ensure!(served.contains("200"), "{served}");
    }
    ensure!(upstream.syns()? == 2, "{} connections", upstream.syns()?);
    let refused =
        netns::run(lab.client.cmd("curl").args(["-sS", "-m20", "-w\n%{http_code}", "http://other.example/"]))?;
    ensure!(refused.contains("no_rule") && refused.contains("other.example") && refused.ends_with("403"), "{refused}");

    let lines = closed(&gate, 3)?;
    let seen: Vec<_> =
        lines.iter().map(|line| (text(line, "method"), text(line, "verdict"), text(line, "host"))).collect();
    ensure!(
        seen == [("HEAD", "allowed", HOST), ("GET", "allowed", HOST), ("GET", "refused", "other.example")],
        "{lines:?}"
    );
    ensure!(lines.iter().all(|line| text(line, "protocol") == "http" && line["port"] == 80), "{lines:?}");
    ensure!(lines.iter().take(2).all(|line| text(line, "closed_by") == "upstream"), "{lines:?}");

    let to = "198.18.1.7:80";
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\nHost: listed.example\r\nHost: listed.example\r\n\r\n".to_owned(), 400, "bad_request"),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}:8080\r\n\r\n"), 400, "bad_request"),
        (format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET / HTTP/1.1\r\n"), 400, "bad_request"),
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), 400, "bad_request"),
        (format!("DELETE / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"), 405, "method_not_allowed"),
        ("GET / HTTP/1.1\r\nHost: missing.invalid\r\n\r\n".to_owned(), 403, "no_rule"),
    ] {
        let before = closed(&gate, 0)?.len();
        let (told, said) = answer(&say(&lab.client, to, request.as_bytes(), false)?)?;
        ensure!((told, said.contains(reason)) == (status, true), "{request:?}: {said}");
        let lines = closed(&gate, before + 1)?;
        let last = lines.last().map_or("", |line| text(line, "reason"));
        ensure!(last == reason, "{request:?}: {lines:?}");
    }
    ensure!(upstream.syns()? == 2, "nothing is dialled for what is refused");
    Ok(())
}

/// The SSM agent asks a bucket by HEAD which region it is in, unsigned, by Go's client; a website answers plain GETs.
#[test]
fn the_agents_head_and_a_websites_get_pass_under_rules_for_http_alone() -> Result<()> {
    let lab = Lab::new("agent")?;
    let [s3, site] = ["198.18.1.1", "198.18.1.2"];
    let mut moto = lab.servers.cmd(lab::tools().join("moto_server"));
    let mut moto = Process::start("s3", lab.directory(), moto.args(["-H", s3, "-p", "80"]))?;
    let script = lab.directory().join("site.py");
    std::fs::write(&script, crate::smuggling::PYTHON_SERVER)?;
    let mut python = lab.servers.cmd("python3");
    let _site = Process::start("site", lab.directory(), python.arg(&script).arg(format!("{site}:80")))?;
    let region = "ap-northeast-1.amazonaws.com";
    let constraint = "<CreateBucketConfiguration><LocationConstraint>ap-northeast-1</LocationConstraint></CreateBucketConfiguration>";
    moto.wait_ready(Duration::from_secs(90), || {
        let mut curl = lab.servers.cmd("curl");
        curl.args([
            "-sS",
            "--fail",
            "-X",
            "PUT",
            "-H",
            AUTHORIZATION,
            "-H",
            "Content-Type: application/xml",
            "-d",
            constraint,
        ]);
        curl.args(["--connect-to", &format!("::{s3}:80"), &format!("http://agent.s3.{region}/")]);
        netns::run(&mut curl).is_ok()
    })?;
    for dns in [&lab.client_dns, &lab.gate_dns] {
        dns.set_name("docs.s3-website-ap-northeast-1.amazonaws.com", addresses(site)?);
        dns.set_name(&format!("agent.s3.{region}"), addresses(s3)?);
        dns.set_name(&format!("secret.s3.{region}"), addresses(s3)?);
    }
    let policy = format!(
        "version: 1\nrules:\n  - {{ name: tls, {UPSTREAM}, buckets: [{{ name: secret, region: ap-northeast-1 }}] }}\n  \
         - {{ name: agent, protocols: [http], {UPSTREAM}, buckets: [{{ name: agent, region: ap-northeast-1 }}] }}\n  \
         - {{ name: site, protocols: [http], {UPSTREAM}, buckets: [{{ name: docs, region: ap-northeast-1, endpoints: [website] }}] }}\n"
    );
    let mut options = Options::policy(&policy);
    options.listeners = vec!["{ bind: \"0.0.0.0:8480\", protocol: http, destination: redirect }".to_owned()];
    let gate = Gate::start(&lab, &options)?;
    let rules = lab.directory().join("ways.nft");
    std::fs::write(&rules, RULES)?;
    netns::run(lab.gate.cmd("nft").arg("-f").arg(&rules))?;

    let go = super::clients::go_client(lab.directory())?;
    let ask = |method: &str, url: &str| -> Result<String> {
        let output = lab.client.cmd(&go).args([method, url]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let head = ask("HEAD", &format!("http://agent.s3.{region}/"))?;
    ensure!(head.contains(" ap-northeast-1 "), "the agent learns no region: {head}");
    let get = ask("GET", "http://docs.s3-website-ap-northeast-1.amazonaws.com/index.html")?;
    ensure!(get.starts_with("200 "), "{get}");
    // A rule for TLS lets no plain request through, whatever its host.
    let refused = netns::run(lab.client.cmd("curl").args(["-sS", "-m20", &format!("http://secret.s3.{region}/")]))?;
    let words = format!("This request to secret.s3.{region} is not let through by the gate: no_rule.");
    ensure!(refused.trim() == words, "{refused}");

    // In the order in which they ended, which a server decides too.
    let mut lines = closed(&gate, 3)?;
    lines.sort_by(|a, b| text(b, "rule").cmp(text(a, "rule")));
    let seen: Vec<_> =
        lines.iter().map(|line| (text(line, "method"), text(line, "verdict"), text(line, "rule"))).collect();
    ensure!(seen == [("GET", "allowed", "site"), ("HEAD", "allowed", "agent"), ("GET", "refused", "")], "{lines:?}");
    let statuses: Vec<_> = lines.iter().map(|line| line.get("status").and_then(serde_json::Value::as_u64)).collect();
    let told = head.split(' ').next().and_then(|status| status.parse().ok());
    ensure!(statuses == [Some(200), told, None], "{lines:?}");
    Ok(())
}

fn addresses(address: &str) -> Result<Behaviour> {
    Ok(Behaviour::Addresses(vec![address.parse()?]))
}

#[test]
fn a_body_goes_as_far_as_it_was_announced_and_what_follows_goes_nowhere() -> Result<()> {
    let lab = Lab::new("bodies")?;
    let _web = web(&lab)?;
    let listener = "{ bind: \"0.0.0.0:8480\", protocol: http, destination: none, methods: [PUT, GET] }";
    let gate = Gate::start(&lab, &options(listener))?;
    let body = vec![b'x'; 300_000];
    let head = format!("PUT /key HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n", body.len());
    let smuggled = "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let message = [head.as_bytes(), &body, smuggled.as_bytes()].concat();
    let (status, said) = answer(&say(&lab.client, "10.20.0.1:8480", &message, false)?)?;
    ensure!(status == 200 && said.matches("HTTP/1.1 ").count() == 1, "{said}");
    ensure!(said.contains(&format!("read-host: {HOST}")), "{said}");
    let lines = closed(&gate, 1)?;
    // The head as it goes on, and the body: not a byte of what stood behind them.
    let up = lines.first().and_then(|line| line["bytes_up"].as_u64()).unwrap_or_default();
    ensure!((300_000..300_200).contains(&up), "{lines:?}");
    ensure!(lines.len() == 1, "{lines:?}");
    Ok(())
}

/// Answers with 200,000 bytes, more than a client takes that does not read; then ends, or breaks off where that is asked for.
const HALF: &str = "
import socket, struct
listener = socket.create_server(('', 80), backlog=16)
while True:
    client, _ = listener.accept()
    request = client.recv(65536)
    client.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n' + b'x' * 200000)
    if b'/broken' in request:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    client.close()
";

#[test]
fn a_client_sees_whether_its_answer_ended_or_broke() -> Result<()> {
    let lab = Lab::new("ends80")?;
    let script = lab.directory().join("half.py");
    std::fs::write(&script, HALF)?;
    let mut server = Process::start("half", lab.directory(), lab.servers.cmd("python3").arg(&script))?;
    let up = || say(&lab.servers, "198.18.1.1:80", b"GET / HTTP/1.1\r\n\r\n", true).is_ok_and(|said| !said.is_empty());
    server.wait_ready(Duration::from_secs(20), up)?;
    let listener = "{ bind: \"0.0.0.0:8480\", protocol: http, destination: none }";
    let gate = Gate::start(&lab, &options(listener))?;
    let asked = |path: &str, more: &str, ends: usize| {
        lab.client.enter(|| -> Result<_> {
            let mut stream = TcpStream::connect("10.20.0.1:8480")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
            let (mut first, mut rest) = ([0; 4], Vec::new());
            stream.read_exact(&mut first)?;
            stream.write_all(more.as_bytes())?;
            // What is left of the answer is read when the gate has done with it.
            closed(&gate, ends)?;
            Ok(stream
                .read_to_end(&mut rest)
                .map(|_| rest.ends_with("x".repeat(200_000).as_bytes()))
                .map_err(|error| error.kind()))
        })?
    };
    ensure!(asked("/", "", 1)? == Ok(true));
    // Another request, which nobody reads: no reset may take the end of the answer away.
    ensure!(asked("/", "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 2)? == Ok(true));
    ensure!(asked("/broken", "", 3)? == Err(ErrorKind::ConnectionReset), "half an answer passed for a whole one");
    let ends = closed(&gate, 3)?;
    let ends: Vec<_> = ends.iter().map(|line| text(line, "closed_by")).collect();
    ensure!(ends == ["upstream", "upstream", "upstream_reset"], "{ends:?}");
    Ok(())
}

#[test]
fn what_servers_read_differently_gets_400_and_is_never_dialled() -> Result<()> {
    let lab = Lab::new("corpus80")?;
    let listener = "{ bind: \"0.0.0.0:8480\", protocol: http, destination: none }";
    let _gate = Gate::start(&lab, &options(listener))?;
    let upstream = Counter::towards(&lab, "0.0.0.0/0")?;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for message in crate::smuggling::messages() {
        let said = say(&lab.client, "10.20.0.1:8480", &message, true)?;
        let status = if said.is_empty() { 0 } else { answer(&said)?.0 };
        *statuses.entry(status).or_default() += 1;
    }
    println!("{statuses:?}");
    // Its hosts are on no list. 0: it ended before it was whole.
    ensure!(statuses.keys().all(|status| [0, 400, 403, 405].contains(status)), "{statuses:?}");
    ensure!(statuses.get(&400).is_some_and(|&count| count > 500), "{statuses:?}");
    ensure!(upstream.syns()? == 0, "something was dialled");
    Ok(())
}
