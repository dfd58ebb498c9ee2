//! Real servers that ask for a second hello, and a client that uses it to say another name.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use lab::capture::{Capture, Conversation};
use lab::gate::Gate;
use lab::net::Redirect;
use lab::netns::Netns;

use super::cast::{Cast, address};
use super::rows::{self, Row};
use super::{LIMIT, policy};
use crate::peer::{message, vector};

/// The pairs whose servers these are: one of each program that asks for what a client has not sent.
const SERVERS: &[&str] =
    &["openssl-13", "gnutls-13", "nss-13", "go-12", "java-12", "node-12", "python-13", "rustls-12"];

/// What the second hello says, and how it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    /// The same name: the control.
    Honest,
    /// The same, in records of 7 bytes.
    HonestPieces,
    Another,
    /// The same, in records of 7 bytes.
    AnotherPieces,
    /// Another name, before the server has asked.
    AnotherAtOnce,
    /// Another name, behind what most clients send there.
    AnotherBehindChange,
    /// No name at all.
    None,
}

const CASES: [Second; 7] = [
    Second::Honest,
    Second::HonestPieces,
    Second::Another,
    Second::AnotherPieces,
    Second::AnotherAtOnce,
    Second::AnotherBehindChange,
    Second::None,
];

const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];
const LIE: &str = "another.example";

#[test]
fn no_real_server_that_asks_for_a_second_hello_sees_a_byte_of_one_for_another_host() -> Result<()> {
    let lab = Lab::new("liars")?;
    let all = rows::all()?;
    let rows: Vec<&Row> = all.iter().filter(|row| SERVERS.contains(&row.name)).collect();
    ensure!(rows.len() == SERVERS.len(), "a pair has another name now");
    let _cast = Cast::start(&lab, &rows)?;
    let gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let south = Capture::start(&lab, &lab.gate, "south", 443, "south")?;
    let north = Capture::start(&lab, &lab.gate, "north", 443, "north")?;
    for (at, row) in rows.iter().enumerate() {
        for (case, second) in CASES.into_iter().enumerate() {
            talk(&lab.client, address(at)?, &row.host(), second, random(at, case))
                .with_context(|| format!("{}, {second:?}", row.name))?;
        }
    }
    let count = rows.len() * CASES.len();
    let (south, north) = (south.finish(LIMIT, count)?, north.finish(LIMIT, count)?);
    for (at, row) in rows.iter().enumerate() {
        for (case, second) in CASES.into_iter().enumerate() {
            let first = first_hello(&row.host(), random(at, case));
            let of = |all: &[Conversation]| all.iter().find(|one| one.up.bytes.starts_with(&first)).cloned();
            let (before, behind) = of(&south).zip(of(&north)).context("no such connection")?;
            arrived(second, &first, &before, &behind).with_context(|| format!("{}, {second:?}", row.name))?;
        }
    }
    let lines = gate.wait_closed(LIMIT, |lines| lines.len() == count)?;
    let lies = lines.iter().filter(|line| line["reason"] == "sni_changed" && line["verdict"] == "refused").count();
    let honest = lines.iter().filter(|line| line["verdict"] == "allowed").count();
    ensure!((lies, honest) == (5 * rows.len(), 2 * rows.len()), "{lies} lies and {honest} others: {lines:#?}");
    Ok(())
}

/// What the wire has on both sides.
fn arrived(second: Second, first: &[u8], before: &Conversation, behind: &Conversation) -> Result<()> {
    let (sent, heard) = (&before.up.bytes, &behind.up.bytes);
    if matches!(second, Second::Honest | Second::HonestPieces) {
        ensure!(sent == heard && before.down.bytes == behind.down.bytes, "not the same on both sides");
        return Ok(());
    }
    let rest = heard.strip_prefix(first).context("the first hello did not arrive")?;
    let may_pass: &[u8] = if second == Second::AnotherBehindChange { &CHANGE_CIPHER_SPEC } else { &[] };
    ensure!(rest.is_empty() || rest == may_pass, "behind the first hello arrived {rest:?}");
    // All that the client heard is the server's question.
    let question = before.down.bytes.iter().zip(&behind.down.bytes).all(|(a, b)| a == b);
    ensure!(question && before.down.bytes.len() <= behind.down.bytes.len(), "the client heard something else");
    Ok(())
}

/// Says both hellos, and hears the server's answer or the end.
fn talk(ns: &Netns, to: Ipv4Addr, host: &str, second: Second, random: [u8; 32]) -> Result<()> {
    ns.enter(|| -> Result<()> {
        let mut stream = TcpStream::connect((to, 443))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let (first, lie) = (first_hello(host, random), hello(Some(LIE), random, true, &[]));
        if second == Second::AnotherAtOnce {
            stream.write_all(&[first, in_records(&lie, lie.len())].concat())?;
            return ended(&mut stream);
        }
        stream.write_all(&first)?;
        let question = next_message(&mut stream)?;
        let cookie = cookie(&question).unwrap_or_default();
        let honest = hello(Some(host), random, true, &cookie);
        let second_hello = match second {
            Second::Honest => in_records(&honest, honest.len()),
            Second::HonestPieces => in_records(&honest, 7),
            Second::AnotherPieces => in_records(&lie, 7),
            Second::AnotherBehindChange => [&CHANGE_CIPHER_SPEC[..], &in_records(&lie, lie.len())].concat(),
            Second::None => in_records(&hello(None, random, true, &cookie), lie.len()),
            _ => in_records(&lie, lie.len()),
        };
        stream.write_all(&second_hello)?;
        if matches!(second, Second::Honest | Second::HonestPieces) {
            let answer = next_message(&mut stream)?;
            ensure!(answer.get(6..38) != question.get(6..38), "it asks again");
            return Ok(());
        }
        ended(&mut stream)
    })?
}

/// The next record of the handshake, which is a ServerHello; a `ChangeCipherSpec` may come ahead of it.
fn next_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header).context("no answer")?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut body)?;
        match (header[0], body.first()) {
            (22, Some(2)) => return Ok(body),
            (20, _) => {}
            (kind, _) => bail!("a record of type {kind}: {body:?}"),
        }
    }
}

/// Whatever comes, it ends.
fn ended(stream: &mut TcpStream) -> Result<()> {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).context("no end"),
    }
}

/// The cookie extension of a HelloRetryRequest, to be sent back.
fn cookie(question: &[u8]) -> Option<Vec<u8>> {
    let session = usize::from(*question.get(38)?);
    let mut rest = question.get(39 + session + 3 + 2..)?;
    while let [kind_high, kind, high, low, ..] = rest {
        let (extension, behind) = rest.split_at_checked(4 + usize::from(u16::from_be_bytes([*high, *low])))?;
        if (*kind_high, *kind) == (0, 44) {
            return Some(extension.to_vec());
        }
        rest = behind;
    }
    None
}

fn random(server: usize, case: usize) -> [u8; 32] {
    let mut random = [7; 32];
    random[..2].copy_from_slice(&[server.to_le_bytes()[0], case.to_le_bytes()[0]]);
    random
}

/// It brings no key at all, so every server has to ask for one.
fn first_hello(host: &str, random: [u8; 32]) -> Vec<u8> {
    let first = hello(Some(host), random, false, &[]);
    in_records(&first, first.len())
}

/// A `ClientHello` of TLS 1.3 with or without a key of X25519's.
fn hello(host: Option<&str>, random: [u8; 32], key: bool, cookie: &[u8]) -> Vec<u8> {
    let name = |host: &str| vector(2, &[&[0][..], &vector(2, host.as_bytes())].concat());
    let extension = |kind: u8, body: &[u8]| [&[0, kind][..], &vector(2, body)].concat();
    let share = if key { [&[0, 29][..], &vector(2, &[9; 32])].concat() } else { Vec::new() };
    let extensions = [
        host.map(|host| extension(0, &name(host))).unwrap_or_default(),
        extension(10, &vector(2, &[0, 29])),
        extension(13, &vector(2, &[4, 3, 8, 4])),
        extension(43, &vector(1, &[3, 4])),
        extension(45, &vector(1, &[1])),
        extension(51, &vector(2, &share)),
        cookie.to_vec(),
    ];
    let suites = vector(2, &[0x13, 1, 0x13, 2, 0x13, 3]);
    let body = [&[3, 3][..], &random, &vector(1, &[5; 32]), &suites, &[1, 0], &vector(2, &extensions.concat())];
    message(1, &body.concat())
}

fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|piece| [&[22, 3, 1][..], &vector(2, piece)].concat()).collect()
}
