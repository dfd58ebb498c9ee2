//! Clients of a proxy: what they had from Squid they have from the gate.

use anyhow::{Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::net::Counter;
use lab::netns;
use lab::s3::{AUTHORIZATION, S3};

use super::{HOST, answer, closed, options, say, text, web};

const LISTENER: &str = "{ bind: \"0.0.0.0:3128\", protocol: connect, destination: none }";
const PROXY: &str = "http://10.20.0.1:3128";
const TO: &str = "10.20.0.1:3128";

#[test]
fn real_clients_reach_a_listed_bucket_by_https_proxy_and_are_told_of_another() -> Result<()> {
    let lab = Lab::new("connect")?;
    let s3 = S3::start(&lab, &["reports", "secret"])?;
    let mut options = Options::listing(&["reports"]);
    options.listeners = vec![LISTENER.to_owned()];
    let gate = Gate::start(&lab, &options)?;
    let url = |bucket: &str| format!("https://{bucket}.s3.ap-northeast-1.amazonaws.com/?list-type=2");

    netns::run(s3.aws(&lab.client, ["s3", "ls", "s3://reports/"]).env("HTTPS_PROXY", PROXY))?;
    let python = "import boto3; print(boto3.client('s3').list_objects_v2(Bucket='reports')['KeyCount'])";
    netns::run(s3.python(&lab.client, python, [] as [&str; 0]).env("HTTPS_PROXY", PROXY))?;
    netns::run(s3.curl(&lab.client, ["--header", AUTHORIZATION, "--fail", &url("reports")]).env("https_proxy", PROXY))?;
    let lines = closed(&gate, 3)?;
    for line in &lines {
        let seen = (text(line, "protocol"), text(line, "method"), text(line, "verdict"), text(line, "rule"));
        ensure!(seen == ("connect", "CONNECT", "allowed", "listed"), "{line}");
        // What they offer in the tunnel is there as it is without one.
        ensure!(line["tls_versions"][0] == "0x0304", "{line}");
    }

    let refused = s3.aws(&lab.client, ["s3", "ls", "s3://secret/"]).env("HTTPS_PROXY", PROXY).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    // It keeps the proxy's 403 to itself; with --debug it would say so.
    ensure!(!refused.status.success() && said.contains("Failed to connect to proxy URL"), "{said}");
    let refused = s3.curl(&lab.client, [url("secret")]).env("https_proxy", PROXY).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(said.contains("403"), "{said}");
    Ok(())
}

#[test]
fn each_end_of_a_connect_has_its_status_and_a_refused_one_may_be_followed_by_another() -> Result<()> {
    let lab = Lab::new("statuses")?;
    let _web = web(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let upstream = Counter::towards(&lab, "0.0.0.0/0")?;
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    for (request, status, reason) in [
        (connect("other.example:443"), 403, "no_rule"),
        (connect("listed.example:22"), 403, "target_not_allowed"),
        (connect("198.18.1.1:443"), 403, "target_not_allowed"),
        (connect("[2001:db8::1]:443"), 403, "target_not_allowed"),
        ("CONNECT listed.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n".to_owned(), 400, "bad_request"),
        ("GET / HTTP/1.1\r\nHost: listed.example\r\n\r\n".to_owned(), 400, "bad_request"),
        ("POST http://listed.example/ HTTP/1.1\r\nHost: listed.example\r\n\r\n".to_owned(), 405, "method_not_allowed"),
        // Nobody listens on the servers' port 443 here.
        (connect("listed.example:443"), 502, "connect_failed"),
    ] {
        let (told, said) = answer(&say(&lab.client, TO, request.as_bytes(), true)?)?;
        ensure!((told, said.contains(reason)) == (status, true), "{request:?}: {said}");
        ensure!(said.contains("Proxy-Status: sekisho; error="), "{said}");
    }
    let dialled = upstream.syns()?;

    // A plain request in absolute-form is served as on port 80.
    let plain = format!("GET http://{HOST}/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let (status, said) = answer(&say(&lab.client, TO, plain.as_bytes(), false)?)?;
    ensure!(status == 200 && said.contains(&format!("read-host: {HOST}")), "{said}");
    ensure!(upstream.syns()? == dialled + 1);

    // Three in turn on one connection, each with a line of its own.
    let before = closed(&gate, 9)?.len();
    let three = [connect("a.example:443"), connect("b.example:443"), connect("c.example:443")];
    let said = lab.client.enter(|| -> Result<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(TO)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        let mut said = String::new();
        for request in &three {
            stream.write_all(request.as_bytes())?;
            let mut block = [0; 4096];
            let count = stream.read(&mut block)?;
            said.push_str(&String::from_utf8_lossy(block.get(..count).unwrap_or_default()));
        }
        Ok(said)
    })??;
    ensure!(said.matches("HTTP/1.1 403").count() == 3 && said.matches("Connection: keep-alive").count() == 3, "{said}");
    let lines = closed(&gate, before + 3)?;
    let hosts: Vec<_> = lines.iter().skip(before).map(|line| text(line, "host")).collect();
    ensure!(hosts == ["a.example", "b.example", "c.example"], "{lines:?}");
    let conns: std::collections::BTreeSet<_> = lines.iter().map(|line| text(line, "conn")).collect();
    ensure!(conns.len() == lines.len(), "a number used twice: {lines:?}");
    let active = gate.metrics()?.sum("sekisho_connections_active", &[]);
    ensure!(active.to_bits() == 0f64.to_bits(), "{active} connections are left");
    Ok(())
}

/// What comes back in a tunnel to [`HOST`] after these bytes.
fn say_inside(lab: &Lab, bytes: &[u8]) -> Result<Vec<u8>> {
    lab.client.enter(|| -> Result<Vec<u8>> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(TO)?;
        stream.set_read_timeout(Some(super::PATIENCE))?;
        write!(stream, "CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n")?;
        let mut established = [0; 39];
        stream.read_exact(&mut established)?;
        ensure!(established.starts_with(b"HTTP/1.1 200 "), "{}", established.escape_ascii());
        stream.write_all(bytes)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest)?;
        Ok(rest)
    })?
}

#[test]
fn a_hello_in_a_tunnel_is_held_to_what_its_rule_says_of_ech() -> Result<()> {
    let lab = Lab::new("inside-ech")?;
    let server = crate::peer::Server::start(&lab)?;
    for (word, verdict, reason) in
        [("deny", "refused", "ech_denied"), ("log", "audited", "ech_denied"), ("allow", "allowed", "")]
    {
        let mut options = options(LISTENER);
        options.name = word.to_owned();
        options.policy = options.policy.replace("    hosts:", &format!("    ech: {word}\n    hosts:"));
        let gate = Gate::start(&lab, &options)?;
        let before = server.received().len();
        let task = crate::peer::Task::Answer(5).bytes();
        let said = say_inside(&lab, &[&crate::peer::hello_with_ech(HOST)[..], &task].concat())?;
        let lines = closed(&gate, 1)?;
        let last = lines.last().map(|line| (text(line, "verdict"), text(line, "reason"), line["ech"].as_bool()));
        ensure!(last == Some((verdict, reason, Some(true))), "{word}: {lines:?}");
        if verdict == "refused" {
            ensure!(said == [0x15, 3, 3, 0, 2, 2, 49], "no alert, but {}", said.escape_ascii());
            ensure!(lines.iter().all(|line| line["bytes_up"] == 0) && server.received().len() == before, "{lines:?}");
        } else {
            ensure!(said.len() == 5 && server.received().len() == before + 1, "{word}: {}", said.escape_ascii());
        }
    }
    Ok(())
}

#[test]
fn what_a_client_offers_is_recorded_by_every_way_and_its_fingerprint_where_that_is_wanted() -> Result<()> {
    let lab = Lab::new("offers")?;
    let _server = crate::peer::Server::start(&lab)?;
    let _redirect = lab::net::Redirect::nftables(&lab)?;
    let bytes = [&crate::peer::hello(HOST)[..], &crate::peer::Task::Answer(5).bytes()].concat();
    // SHA-256 of `1301`, its one cipher suite, and of `002b`, its one extension besides the name.
    let fingerprint = "t12d010200_0f2cb44170f4_b9a491fefe05";
    for (wanted, expected) in [(true, fingerprint), (false, "")] {
        let mut options = options("{ bind: \"0.0.0.0:8443\", protocol: tls, destination: redirect }");
        options.name = format!("wanted-{wanted}");
        options.listeners.push(LISTENER.to_owned());
        options.access_log = format!("{{ path: access.jsonl, ja4: {wanted} }}");
        let gate = Gate::start(&lab, &options)?;
        ensure!(say(&lab.client, "198.18.1.7:443", &bytes, true)?.len() == 5, "not served by REDIRECT");
        ensure!(say_inside(&lab, &bytes)?.len() == 5, "not served in a tunnel");
        let lines = closed(&gate, 2)?;
        ensure!(lines.len() == 2, "{lines:?}");
        for line in &lines {
            ensure!((text(line, "ja4"), &line["tls_versions"][0]) == (expected, &"0x0303".into()), "{line}");
        }
    }
    Ok(())
}

#[test]
fn the_name_inside_a_tunnel_must_be_the_one_outside() -> Result<()> {
    let lab = Lab::new("inside")?;
    let server = crate::peer::Server::start(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let said = say_inside(&lab, &crate::peer::hello("other.example"))?;
    ensure!(said == [0x15, 3, 3, 0, 2, 2, 49], "no alert, but {}", said.escape_ascii());
    let lines = closed(&gate, 1)?;
    let last = lines.last().map(|line| (text(line, "reason"), text(line, "host"), text(line, "verdict")));
    ensure!(last == Some(("sni_mismatch", HOST, "refused")), "{lines:?}");
    ensure!(lines.iter().all(|line| line["bytes_up"] == 0), "something of it went on: {lines:?}");
    ensure!(server.received().is_empty());
    Ok(())
}
