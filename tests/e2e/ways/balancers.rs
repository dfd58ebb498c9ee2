//! PROXY headers, from balancers and from others.

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;

use super::{HOST, closed, options, say, text};
use crate::peer::{self, Server, Task};

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

/// CRC-32c bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
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
fn whoever_is_not_named_is_the_sender_and_nothing_of_a_long_or_slow_header_is_lost() -> Result<()> {
    let lab = Lab::new("unnamed")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let with_values = |values: &[u8]| {
        let length = u16::try_from(12 + values.len()).unwrap_or(u16::MAX).to_be_bytes();
        let addresses = [192, 0, 2, 7, 198, 51, 100, 9, 0x9c, 0x40, 1, 0xbb];
        header(&[&[0x21, 0x11][..], &length, &addresses, values].concat())
    };
    // Values of no kind that means anything here, up to the longest header that is read; an id, and a checksum behind all.
    let many =
        |bytes: usize| [&[0xe0][..], &u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes(), &vec![7; bytes]].concat();
    let id = b"\xea\0\x0b\x01vpce-0a1b2";
    let mut sum = with_values(&[&many(900)[..], id, &[3, 0, 4, 0, 0, 0, 0]].concat());
    let at = sum.len() - 4;
    let right = crc32c(&sum).to_be_bytes();
    sum[at..].copy_from_slice(&right);
    let sender = "10.20.0.2";
    let cases = [
        ("UNKNOWN", behind(b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n"), sender, "", false),
        ("UNSPEC", behind(&header(&[0x21, 0, 0, 0])), sender, "", false),
        ("UNSPEC with an id", behind(&header(&[&[0x21, 0, 0, 14][..], id].concat())), sender, "vpce-0a1b2", false),
        ("LOCAL", behind(&header(&[0x20, 0, 0, 0])), sender, "", false),
        ("LOCAL with addresses", behind(&header(&[&[0x20, 0x11, 0, 12][..], &[9; 12]].concat())), sender, "", false),
        ("a checksum", behind(&sum), "192.0.2.7", "vpce-0a1b2", false),
        ("16 KiB of values", behind(&with_values(&many(16 * 1024 - 16 - 12 - 3))), "192.0.2.7", "", false),
        ("v1, a byte at a time", behind(b"PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n"), "192.0.2.7", "", true),
        ("v2, a byte at a time", behind(&sum), "192.0.2.7", "vpce-0a1b2", true),
    ];
    for (what, bytes, client, id, slowly) in cases {
        let before = closed(&gate, 0)?.len();
        let seen = crate::raw::converse(&lab.client, TO.parse()?, |stream| {
            let piece = if slowly { 1 } else { bytes.len() };
            bytes.chunks(piece).try_for_each(|piece| std::io::Write::write_all(stream, piece))?;
            stream.shutdown(std::net::Shutdown::Write)
        })?;
        ensure!(seen.bytes.len() == 5, "{what}: {seen:?}");
        let lines = closed(&gate, before + 1)?;
        let line = lines.last().context("no line")?;
        ensure!(text(line, "client").starts_with(&format!("{client}:")), "{what}: {line}");
        ensure!((text(line, "vpce"), text(line, "verdict")) == (id, "allowed"), "{what}: {line}");
        ensure!(line.get("original_dst").is_none() == (client == sender), "{what}: {line}");
    }
    Ok(())
}

#[test]
fn the_cap_of_a_client_is_that_of_whom_the_header_names() -> Result<()> {
    let lab = Lab::new("told-caps")?;
    let server = Server::start(&lab)?;
    let mut options = options(LISTENER);
    options.settings = "limits: { connections_per_client: 2 }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let mut held = Vec::new();
    // Six connections of one balancer's, two for each of three clients.
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let mut stream = crate::raw::connect(&lab.client, None, TO.parse()?)?;
        let bytes = behind(format!("PROXY TCP4 {client} 198.51.100.9 1 443\r\n").as_bytes());
        std::io::Write::write_all(&mut stream, &bytes)?;
        held.push(stream);
    }
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while server.accepted() < 6 {
        ensure!(std::time::Instant::now() < deadline, "{} of 6 are served", server.accepted());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let said = say(&lab.client, TO, &behind(b"PROXY TCP4 192.0.2.2 198.51.100.9 1 443\r\n"), true)?;
    ensure!(said.is_empty(), "{}", said.escape_ascii());
    let lines = closed(&gate, 1)?;
    let line = lines.first().context("no line")?;
    ensure!(text(line, "reason") == "over_client_limit" && text(line, "client").starts_with("192.0.2.2:"), "{line}");
    drop(held);
    Ok(())
}
