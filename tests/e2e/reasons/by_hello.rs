//! Rows that the hello's own bytes decide, before any policy.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;

use super::hello::{
    ALPN, CHANGE_CIPHER_SPEC, HANDSHAKE, Hello, SERVER_NAME, SUPPORTED_VERSIONS, extension, handshake, protocols,
    record, records, server_names, vector8, vector16,
};
use super::stage::{Gets, Row, Stage, TO, Upstream, nothing};
use crate::raw::{self, End, Seen};

/// The gate's `timeouts.hello` under which these rows are proved.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);

type Act = fn(&mut Stage<'_>) -> anyhow::Result<Seen>;

const fn refused(reason: &'static str, detail: &'static str, gets: Gets, what: &'static str, act: Act) -> Row {
    Row {
        what,
        verdict: "refused",
        reason,
        detail: Some(detail),
        host: None,
        rule: None,
        gets,
        upstream: Upstream::Untouched,
        prepare: nothing,
        act,
    }
}

const fn malformed(alert: u8, detail: &'static str, act: Act) -> Row {
    refused("malformed", detail, Gets::Alert(alert), "bytes without a single reading", act)
}

const fn invalid(detail: &'static str, what: &'static str, act: Act) -> Row {
    refused("invalid_name", detail, Gets::Alert(47), what, act)
}

const fn left(detail: &'static str, what: &'static str, act: Act) -> Row {
    Row { verdict: "failed", ..refused("client_closed", detail, Gets::Nothing, what, act) }
}

pub(super) const HELLOS: &[Row] = &[
    refused("no_sni", "no server_name extension", Gets::Alert(109), "versions alone", |stage| {
        stage.say(&Hello::with(&[]).bytes())
    }),
    refused("no_sni", "no server_name extension", Gets::Alert(109), "no extensions at all", |stage| {
        stage.say(&Hello { extensions: Vec::new(), ..Hello::with(&[]) }.bytes())
    }),
    refused("no_sni", "no server_name extension", Gets::Alert(109), "curl's, asked for an address", |stage| {
        stage.say(include_bytes!("../../corpus/hello/refused/no_sni-curl-address.bin"))
    }),
    refused("duplicate_extension", "server_name extension twice", Gets::Alert(47), "two names", |stage| {
        let twice = [server_names(&[(0, b"listed.example")]), server_names(&[(0, b"other.example")])];
        stage.say(&Hello::with(&twice).bytes())
    }),
    refused("duplicate_extension", "an extension twice", Gets::Alert(47), "an unknown one", |stage| {
        let twice = [server_names(&[(0, b"listed.example")]), extension(0xfff0, &[]), extension(0xfff0, &[1])];
        stage.say(&Hello::with(&twice).bytes())
    }),
    refused("multiple_names", "several server names", Gets::Alert(47), "one extension", |stage| {
        stage.say(&Hello::with(&[server_names(&[(0, b"listed.example"), (0, b"other.example")])]).bytes())
    }),
    refused("hello_too_large", "handshake message over its cap", Gets::Alert(50), "one of 17,000 bytes", |stage| {
        let padded = [server_names(&[(0, b"listed.example")]), extension(21, &[0; 17_000])];
        stage.say(&Hello::with(&padded).in_records_of(16_000))
    }),
    refused("hello_too_large", "raw bytes over their cap", Gets::Alert(50), "6,000 in records of one byte", |stage| {
        let padded = [server_names(&[(0, b"listed.example")]), extension(21, &[0; 6_000])];
        stage.say(&Hello::with(&padded).in_records_of(1))
    }),
    refused("obsolete_protocol", "SSLv2 hello", Gets::Alert(70), "one for SSLv2 alone", |stage| {
        stage.say(&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 16, 7, 0, 0xc0, 5, 0, 0x80])
    }),
    refused("obsolete_protocol", "SSLv2 hello", Gets::Alert(70), "one that would also speak TLS 1.0", |stage| {
        stage.say(&[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 16, 0, 0, 0x2f, 7, 0, 0xc0])
    }),
    refused("obsolete_protocol", "SSLv3 hello", Gets::Alert(70), "a version of 3.0", |stage| {
        stage.say(&Hello { version: 0x0300, ..Hello::to("listed.example") }.bytes())
    }),
    refused("obsolete_protocol", "hello version below TLS 1.0", Gets::Alert(70), "a version of 2.0", |stage| {
        stage.say(&Hello { version: 0x0200, ..Hello::to("listed.example") }.bytes())
    }),
    refused("not_tls", "first bytes are no TLS record", Gets::Reset, "curl's plain HTTP", |stage| {
        stage.say(include_bytes!("../../corpus/hello/refused/not_tls-curl-http.bin"))
    }),
    refused("not_tls", "first bytes are no TLS record", Gets::Reset, "ssh's banner", |stage| {
        stage.say(include_bytes!("../../corpus/hello/refused/not_tls-ssh.bin"))
    }),
    refused("hello_timeout", "no whole hello by the deadline", Gets::Reset, "a byte at a time", |stage| {
        let seen = raw::converse(&stage.lab.client, TO.parse()?, |stream| {
            for byte in Hello::to("listed.example").bytes() {
                stream.write_all(&[byte])?;
                sleep(DEADLINE / 10);
            }
            Ok(())
        })?;
        on_the_deadline(seen)
    }),
    refused("hello_timeout", "no whole hello by the deadline", Gets::Reset, "a client that waits", |stage| {
        on_the_deadline(stage.say(&[])?)
    }),
    left("closed before its hello was whole", "nothing, then the end of data", |stage| {
        raw::converse(&stage.lab.client, TO.parse()?, |stream| stream.shutdown(std::net::Shutdown::Write))
    }),
    left("closed before its hello was whole", "half a hello, then the end of data", |stage| {
        raw::converse(&stage.lab.client, TO.parse()?, |stream| {
            stream.write_all(&Hello::to("listed.example").bytes()[..40])?;
            stream.shutdown(std::net::Shutdown::Write)
        })
    }),
    left("reset before its hello was whole", "half a hello, then a reset", |stage| {
        let mut stream = stage.connect(None, TO)?;
        stream.write_all(&Hello::to("listed.example").bytes()[..40])?;
        stage.wait_active(1)?;
        raw::reset(stream)?;
        Ok(Seen { bytes: Vec::new(), end: End::Finished, after: Duration::ZERO })
    }),
];

/// Not sooner, and hardly later.
fn on_the_deadline(seen: Seen) -> anyhow::Result<Seen> {
    ensure!(seen.after + Duration::from_millis(50) >= DEADLINE, "reset after {:?} already", seen.after);
    ensure!(seen.after < DEADLINE + Duration::from_secs(2), "reset after {:?} only", seen.after);
    Ok(seen)
}

pub(super) const NAMES: &[Row] = &[
    invalid("server name is an IP address", "IPv4", |stage| stage.ask_for("52.219.0.1")),
    invalid("server name is an IP address", "as a browser would read it", |stage| stage.ask_for("10.1")),
    invalid("server name is an IP address", "IPv6", |stage| stage.ask_for("2001:db8::1")),
    invalid("server name ends with a dot", "a listed one", |stage| stage.ask_for("listed.example.")),
    invalid("server name has an empty label", "two dots", |stage| stage.ask_for("listed..example")),
    invalid("server name has a label longer than 63 bytes", "64", |stage| {
        stage.ask_for(&format!("{}.listed.example", "a".repeat(64)))
    }),
    invalid("server name longer than 253 bytes", "255", |stage| stage.ask_for(&format!("{}example", "a.".repeat(124)))),
    invalid("server name has a label with a hyphen at its edge", "before the dot", |stage| {
        stage.ask_for("listed-.example")
    }),
    invalid("server name has a byte that no host name has", "NUL, behind which another name ends", |stage| {
        stage.ask_for("listed.example\0.attacker.example")
    }),
    invalid("server name has a byte that no host name has", "not ASCII", |stage| stage.ask_for("関所.example")),
    invalid("server name has a byte that no host name has", "not even UTF-8", |stage| {
        stage.say(&Hello::naming(b"\xff\xfe.example").bytes())
    }),
    invalid("server name has a byte that no host name has", "a forged line", |stage| {
        stage.ask_for("a\n{\"event\":\"close\",\"verdict\":\"allowed\",\"host\":\"forged.example\"}\n")
    }),
    invalid("server name has a byte that no host name has", "a forged field", |stage| {
        stage.ask_for("a\",\"verdict\":\"allowed\",\"b\":\"forged.example")
    }),
    invalid("server name has a byte that no host name has", "a terminal's escape", |stage| {
        stage.ask_for("\u{1b}[2Jforged.example")
    }),
];

pub(super) const MALFORMED: &[Row] = &[
    malformed(10, "another record type before the hello is whole", |stage| {
        let message = Hello::to("listed.example").message();
        let (first, rest) = message.split_at(20);
        let parts = [record(HANDSHAKE, first), record(CHANGE_CIPHER_SPEC, &[1]), record(HANDSHAKE, rest)];
        stage.say(&parts.concat())
    }),
    malformed(10, "another record type before the hello is whole", |stage| stage.say(&record(0x17, b"data"))),
    malformed(10, "empty handshake record", |stage| stage.say(&record(HANDSHAKE, &[]))),
    malformed(10, "empty handshake record", |stage| {
        let message = Hello::to("listed.example").message();
        let (first, rest) = message.split_at(20);
        stage.say(&[record(HANDSHAKE, first), record(HANDSHAKE, &[]), record(HANDSHAKE, rest)].concat())
    }),
    malformed(10, "handshake message is no ClientHello", |stage| {
        stage.say(&record(HANDSHAKE, &handshake(2, &Hello::to("listed.example").body())))
    }),
    malformed(22, "record longer than 2^14", |stage| stage.say(&[HANDSHAKE, 3, 1, 0x40, 1, 1, 0, 0x3f, 0xfd])),
    malformed(47, "server name is no host_name", |stage| {
        stage.say(&Hello::with(&[server_names(&[(1, b"listed.example")])]).bytes())
    }),
    malformed(47, "server name is no host_name", |stage| {
        stage.say(&Hello::with(&[server_names(&[(0, b"listed.example"), (9, b"other")])]).bytes())
    }),
    malformed(50, "record version is not 3.x", |stage| {
        let message = Hello::to("listed.example").message();
        let (first, rest) = message.split_at(20);
        let mut second = record(HANDSHAKE, rest);
        second[1] = 2;
        stage.say(&[record(HANDSHAKE, first), second].concat())
    }),
    malformed(50, "handshake bytes after the ClientHello", |stage| {
        stage.say(&record(HANDSHAKE, &[Hello::to("listed.example").message(), vec![20, 0, 0, 0]].concat()))
    }),
    malformed(50, "ClientHello shorter than its fields", |stage| {
        stage.say(&record(HANDSHAKE, &handshake(1, &Hello::to("listed.example").body()[..20])))
    }),
    malformed(50, "session id longer than 32 bytes", |stage| {
        stage.say(&Hello { session_id: vector8(&[5; 33]), ..Hello::to("listed.example") }.bytes())
    }),
    malformed(50, "bad cipher suites length", |stage| {
        stage.say(&Hello { suites: vector16(&[0x13, 1, 0x13]), ..Hello::to("listed.example") }.bytes())
    }),
    malformed(50, "bad cipher suites length", |stage| {
        stage.say(&Hello { suites: vector16(&[]), ..Hello::to("listed.example") }.bytes())
    }),
    malformed(50, "bad compression methods length", |stage| {
        stage.say(&Hello { compression: vec![0], ..Hello::to("listed.example") }.bytes())
    }),
    malformed(50, "extensions do not end with the ClientHello", |stage| {
        let hello = Hello::to("listed.example");
        stage.say(&Hello { extensions: [&hello.extensions[..], &[0]].concat(), ..hello }.bytes())
    }),
    malformed(50, "extension longer than the extensions", |stage| {
        let mut long = server_names(&[(0, b"listed.example")]);
        long[3] += 1;
        stage.say(&Hello::with_only(&long).bytes())
    }),
    malformed(50, "bad length in server_name", |stage| {
        let list = [&[0][..], &vector16(b"listed.example"), b"\0"].concat();
        stage.say(&Hello::with(&[extension(SERVER_NAME, &vector16(&list))]).bytes())
    }),
    malformed(50, "bad length in server_name", |stage| {
        let list = vector16(&[&[0][..], &vector16(b"listed.example")].concat());
        stage.say(&Hello::with(&[extension(SERVER_NAME, &[&list[..], &[0]].concat())]).bytes())
    }),
    malformed(50, "empty server_name list", |stage| stage.say(&Hello::with(&[server_names(&[])]).bytes())),
    malformed(50, "empty host name", |stage| stage.say(&Hello::with(&[server_names(&[(0, b"")])]).bytes())),
    malformed(50, "bad length in supported_versions", |stage| {
        let versions = extension(SUPPORTED_VERSIONS, &[3, 3, 4, 3]);
        stage.say(&Hello::with_only(&[server_names(&[(0, b"listed.example")]), versions].concat()).bytes())
    }),
    malformed(50, "bad length in ALPN", |stage| {
        stage.say(&Hello::with(&[server_names(&[(0, b"listed.example")]), protocols(&[b"h2", b""])]).bytes())
    }),
    malformed(50, "bad length in ALPN", |stage| {
        stage.say(&Hello::with(&[server_names(&[(0, b"listed.example")]), extension(ALPN, &[0, 9, 2])]).bytes())
    }),
    malformed(50, "handshake bytes after the ClientHello", |stage| {
        let twice = Hello::to("listed.example").message().repeat(2);
        stage.say(&records(&twice, twice.len() / 2 + 3))
    }),
];
