//! Every way in leads to the same decision: plain HTTP, a proxy's clients, balancers' PROXY headers, and what comes behind
//! a first hello.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use lab::Lab;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::netns::Netns;
use lab::process::Process;
use serde_json::Value;

mod announced;
mod balancers;
mod clients;
mod connect;
mod early_ends;
mod http;
mod matrix;
mod second_hello;
mod second_reader;
mod senders;
mod tunnels;

/// A host that one rule lists for TLS and for plain HTTP, and an address of it.
const HOST: &str = "listed.example";
const PATIENCE: Duration = Duration::from_secs(10);

/// A gate with one listener, at which a rule lists [`HOST`].
fn options(listener: &str) -> Options {
    let mut options = Options::policy(&format!(
        "version: 1\nrules:\n  - name: both\n    {UPSTREAM}\n    hosts: [{HOST}]\n    protocols: [tls, http]\n"
    ));
    options.listeners = vec![listener.to_owned()];
    options
}

/// Says `bytes` to `to` and reads to the end; `end` says whether the client finishes.
fn say(ns: &Netns, to: &str, bytes: &[u8], end: bool) -> Result<Vec<u8>> {
    let to: SocketAddr = to.parse()?;
    ns.enter(|| -> Result<Vec<u8>> {
        let mut stream = match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(stream) => stream,
            // Accepted, and reset before this side saw the first.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let _ = stream.write_all(bytes);
        if end {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => Ok(answer),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
            Err(error) => Err(error).context("no end of the connection"),
        }
    })?
}

/// The status and the text of an HTTP answer.
fn answer(bytes: &[u8]) -> Result<(u16, String)> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let status = text.split(' ').nth(1).context("no answer")?.parse().with_context(|| text.clone())?;
    Ok((status, text))
}

/// The word at `key` of a line.
fn text<'l>(line: &'l Value, key: &str) -> &'l str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The lines of all connections that have ended, once there are as many.
fn closed(gate: &Gate<'_>, count: usize) -> Result<Vec<Value>> {
    gate.wait_closed(PATIENCE, |lines| lines.len() >= count)
}

/// An HTTP server on port 80 of every address on the servers' side, IPv4 and IPv6: it answers with the host that it was asked for.
fn web(lab: &Lab) -> Result<Process> {
    let script = lab.directory().join("web.py");
    std::fs::write(&script, crate::smuggling::PYTHON_SERVER)?;
    let mut web = Process::start("web", lab.directory(), lab.servers.cmd("python3").arg(&script).arg("[::]:80"))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    web.wait_ready(Duration::from_secs(20), || {
        say(&lab.servers, "198.18.1.1:80", request.as_bytes(), true).is_ok_and(|answer| !answer.is_empty())
    })?;
    Ok(web)
}
