//! Servers that ask for a second hello, and clients that use it to say another name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::certs::Authority;
use lab::gate::Gate;
use lab::process::Process;

use super::{HOST, closed, options, text};
use crate::peer::{hello_offering, hello_retry, hello13};

const LISTENER: &str = "{ bind: \"0.0.0.0:8443\", destination: none }";
const TO: &str = "10.20.0.1:8443";

/// An OpenSSL server that takes no key share but P-384's.
fn server(lab: &Lab) -> Result<Process> {
    let authority = Authority::new(lab.directory())?;
    let (certificate, key) = authority.issue("listed", &[HOST])?;
    let mut command = lab.servers.cmd("openssl");
    command
        .args(["s_server", "-accept", "443", "-www", "-groups", "P-384", "-cert"])
        .arg(certificate)
        .arg("-key")
        .arg(key);
    let mut server = Process::start("s_server", lab.directory(), &mut command)?;
    server.wait_ready(Duration::from_secs(20), || {
        lab.servers.enter(|| TcpStream::connect("198.18.1.1:443").is_ok()).unwrap_or(false)
    })?;
    Ok(server)
}

#[test]
fn a_second_hello_for_the_same_host_passes() -> Result<()> {
    let lab = Lab::new("retry")?;
    let _server = server(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    for groups in ["X25519:P-384", "P-384"] {
        let mut client = lab.client.cmd("openssl");
        client.args(["s_client", "-connect", TO, "-servername", HOST, "-groups", groups, "-tls1_3", "-msg"]);
        let output = client.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let hellos = said.matches("ClientHello").count();
        ensure!(said.contains("TLS_AES_256_GCM_SHA384") && hellos == groups.split(':').count(), "{groups}: {said}");
    }
    let lines = closed(&gate, 2)?;
    ensure!(lines.iter().all(|line| text(line, "verdict") == "allowed"), "{lines:?}");
    Ok(())
}

#[test]
fn another_name_in_the_second_hello_ends_both_sides() -> Result<()> {
    let lab = Lab::new("liar")?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    // A server that asks for a second hello and keeps what comes.
    let heard = lab.servers.spawn(|| -> Result<Vec<Vec<u8>>> {
        let listener = std::net::TcpListener::bind("0.0.0.0:443")?;
        let mut all = Vec::new();
        for _ in 0..5 {
            let (mut stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(super::PATIENCE))?;
            let mut block = vec![0; 4096];
            let mut bytes = Vec::new();
            while bytes.len() < hello13(HOST).len() {
                let count = stream.read(&mut block)?;
                ensure!(count > 0, "the first hello did not come");
                bytes.extend_from_slice(&block[..count]);
            }
            stream.write_all(&hello_retry())?;
            // To the end, or the reset.
            while let Ok(count @ 1..) = stream.read(&mut block) {
                bytes.extend_from_slice(&block[..count]);
            }
            all.push(bytes);
        }
        Ok(all)
    });
    std::thread::sleep(Duration::from_millis(200));
    let change = [20, 3, 3, 0, 1, 1];
    // At once, before the server could ask; after it has asked; and the honest one.
    // And among more versions than are kept of a hello, before and behind them.
    let many: Vec<u16> = (0x7001..0x7009).collect();
    let (behind, ahead) = ([&many[..], &[0x0304]].concat(), [&[0x0304], &many[..]].concat());
    for (versions, waits, second) in [
        (&[0x0304][..], false, "other.example"),
        (&[0x0304], true, "other.example"),
        (&behind, true, "other.example"),
        (&ahead, true, "other.example"),
        (&[0x0304], true, HOST),
    ] {
        lab.client.enter(|| -> Result<()> {
            let mut stream = TcpStream::connect(TO)?;
            stream.set_read_timeout(Some(super::PATIENCE))?;
            stream.write_all(&hello_offering(HOST, versions, &[]))?;
            if waits {
                stream.read_exact(&mut vec![0; hello_retry().len()])?;
            }
            stream.write_all(&[&change[..], &hello13(second)].concat())?;
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        })??;
    }
    let heard = heard.join().map_err(|_| anyhow::anyhow!("the server panicked"))???;
    let has = |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    ensure!(heard.len() == 5 && !heard.iter().any(|bytes| has(bytes, "other.example")), "the lie arrived");
    let honest = heard.last().context("nothing")?;
    ensure!(
        honest.windows(HOST.len()).filter(|window| *window == HOST.as_bytes()).count() == 2,
        "the honest one did not"
    );
    let lines = closed(&gate, 5)?;
    let changed =
        lines.iter().filter(|line| (text(line, "reason"), text(line, "verdict")) == ("sni_changed", "refused"));
    ensure!(changed.count() == 4, "{lines:?}");
    ensure!(lines.iter().filter(|line| text(line, "verdict") == "allowed").count() == 1, "{lines:?}");
    Ok(())
}
