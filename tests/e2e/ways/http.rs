//! Port 80.

use anyhow::{Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Counter;
use lab::netns;

use super::{HOST, answer, closed, options, say, text, web};

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
