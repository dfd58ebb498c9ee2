//! Rows that a PROXY header decides, or the place where a connection comes from.

use std::io::Write;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::hello::Hello;
use super::stage::{Gets, Row, Stage, Upstream, nothing};
use crate::raw::{self, End, Seen};

/// The gate's `timeouts.hello` under which these rows are proved.
pub(super) const DEADLINE: Duration = Duration::from_secs(3);
/// More than half of it: one wait as long is within the deadline, and two are not.
const MOST_OF_IT: Duration = Duration::from_millis(1800);

/// A listener that balancers dial, at 10.20.0.2 alone, and monitors at 10.20.0.4; and a redirected one that these check.
pub(super) const LISTENERS: [&str; 2] = [
    "{ bind: \"10.20.0.1:8444\", destination: none, proxy_protocol: { from: [10.20.0.2] }, health_checks: { from: [10.20.0.4] } }",
    "{ bind: \"0.0.0.0:8443\", destination: redirect, health_checks: { from: [10.20.0.4] } }",
];
const BALANCED: &str = "10.20.0.1:8444";
const REDIRECTED: &str = "10.20.0.1:8443";
const STRANGER: &str = "10.20.0.3";
const MONITOR: &str = "10.20.0.4";

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n";
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 9, 0x9c, 0x40, 0x01, 0xbb];
/// HAProxy's `option ssl-hello-chk`: a hello of SSL 3.0, whose sender takes any alert for a sign of life.
const SSL_HELLO_CHK: [u8; 50] = {
    let mut bytes = [0; 50];
    let begin = [0x16, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0];
    let mut at = 0;
    while at < begin.len() {
        bytes[at] = begin[at];
        at += 1;
    }
    // No session, one suite, no compression.
    bytes[45] = 2;
    bytes[47] = 10;
    bytes[48] = 1;
    bytes
};

type Act = fn(&mut Stage<'_>) -> Result<Seen>;

/// Version 2 from its 13th byte on, with the length that it has.
pub(super) fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let [.., high, low] = body.len().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[version_command, family, high, low], body].concat()
}

/// 192.0.2.7:40000 → 198.51.100.9:443, and these values.
fn v4(values: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&ADDRESSES[..], values].concat())
}

fn local() -> Vec<u8> {
    v2(0x20, 0, &[])
}

/// Says a header, then a hello that would be served.
fn listed_behind(stage: &mut Stage<'_>, header: &[u8]) -> Result<Seen> {
    stage.say_to(BALANCED, &[header, &Hello::to("a.listed.example").bytes()].concat())
}

/// Says so much and finishes.
fn end_after(stage: &mut Stage<'_>, bytes: &[u8]) -> Result<Seen> {
    raw::converse(&stage.lab.client, BALANCED.parse()?, |stream| {
        stream.write_all(bytes)?;
        stream.shutdown(Shutdown::Write)
    })
}

/// Says so much, from one address.
fn say_from(stage: &mut Stage<'_>, from: &str, to: &str, bytes: &[u8]) -> Result<Seen> {
    raw::converse_from(&stage.lab.client, Some(from.parse()?), to.parse()?, |stream| stream.write_all(bytes))
}

const fn refused(reason: &'static str, detail: &'static str, what: &'static str, act: Act) -> Row {
    Row {
        what,
        verdict: "refused",
        reason,
        detail: Some(detail),
        host: None,
        rule: None,
        gets: Gets::Reset,
        upstream: Upstream::Untouched,
        prepare: nothing,
        act,
    }
}

const fn malformed(detail: &'static str, act: Act) -> Row {
    refused("proxy_header_malformed", detail, "a header without a single reading", act)
}

const fn probe(detail: &'static str, gets: Gets, what: &'static str, act: Act) -> Row {
    Row { verdict: "failed", gets, ..refused("probe", detail, what, act) }
}

const MISSING: &str = "the first bytes are no PROXY header";
const ITSELF: &str = "a balancer spoke for itself";
const CHECKER: &str = "from where health checks come";

pub(super) const HEADERS: &[Row] = &[
    refused("proxy_header_missing", MISSING, "a hello without one", |s| listed_behind(s, b"")),
    refused("proxy_header_missing", MISSING, "a request", |s| s.say_to(BALANCED, b"GET / HTTP/1.1\r\n\r\n")),
    refused("proxy_header_untrusted", "a sender that may not speak for others", "a good header from elsewhere", |s| {
        say_from(s, STRANGER, BALANCED, V1)
    }),
    refused("proxy_header_untrusted", "a sender that may not speak for others", "silence from elsewhere", |s| {
        say_from(s, STRANGER, BALANCED, b"")
    }),
    malformed("no end of line within 107 bytes", |s| {
        listed_behind(s, format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)).as_bytes())
    }),
    malformed("a byte that no header line holds", |s| listed_behind(s, b"PROXY TCP4 192.0.2.7 198.51.100.9 1 443\n")),
    malformed("a protocol other than TCP4, TCP6 and UNKNOWN", |s| {
        listed_behind(s, b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n")
    }),
    malformed("too many or too few words", |s| listed_behind(s, b"PROXY TCP4 192.0.2.7\r\n")),
    malformed("an address that is none", |s| listed_behind(s, b"PROXY TCP4 192.0.2.07 198.51.100.9 1 443\r\n")),
    malformed("a port that is none", |s| listed_behind(s, b"PROXY TCP4 192.0.2.7 198.51.100.9 1 65536\r\n")),
    malformed("neither version 1 nor 2", |s| listed_behind(s, &v2(0x31, 0x11, &ADDRESSES))),
    malformed("neither LOCAL nor PROXY", |s| listed_behind(s, &v2(0x22, 0x11, &ADDRESSES))),
    malformed("no TCP addresses", |s| listed_behind(s, &v2(0x21, 0x12, &ADDRESSES))),
    malformed("too short for its addresses", |s| listed_behind(s, &v2(0x21, 0x21, &ADDRESSES))),
    // Decided by the length: what follows it is not waited for.
    malformed("longer than 16 KiB", |s| s.say_to(BALANCED, &v4(&[0; 0xfff0])[..16])),
    malformed("longer than 16 KiB", |s| listed_behind(s, &v4(&[&[4, 0xff, 0xf0][..], &[0; 0xfff0]].concat()))),
    malformed("values that do not fit their length", |s| listed_behind(s, &v4(&[4, 0, 9, 0]))),
    malformed("a wrong checksum", |s| listed_behind(s, &v4(&[3, 0, 4, 1, 2, 3, 4]))),
    malformed("a VPC endpoint id that is none", |s| listed_behind(s, &v4(b"\xea\0\x07\x01vpce-\""))),
    refused("not_tls", "first bytes are no TLS record", "a second header, version 1", |s| {
        listed_behind(s, &[V1, V1].concat())
    }),
    refused("not_tls", "first bytes are no TLS record", "a second header, version 2", |s| {
        listed_behind(s, &[v4(&[]), v4(&[])].concat())
    }),
    refused("hello_timeout", "no whole PROXY header by the deadline", "a header too slow for the deadline", |s| {
        s.say_to(BALANCED, &V1[..20])
    }),
    refused("hello_timeout", "no whole hello by the deadline", "a header and a hello that are so together", |s| {
        raw::converse(&s.lab.client, BALANCED.parse()?, |stream| {
            let hello = Hello::to("a.listed.example").bytes();
            sleep(MOST_OF_IT);
            stream.write_all(&[V1, &hello[..9]].concat())?;
            sleep(MOST_OF_IT);
            stream.write_all(&hello[9..])
        })
    }),
    Row {
        verdict: "failed",
        gets: Gets::Nothing,
        ..refused("client_closed", "closed before its PROXY header was whole", "half a header", |s| {
            end_after(s, &V1[..20])
        })
    },
    Row {
        verdict: "failed",
        gets: Gets::Nothing,
        ..refused("client_closed", "reset before its PROXY header was whole", "half a header, then a reset", |s| {
            let mut stream = s.connect(None, BALANCED)?;
            stream.write_all(&V1[..20])?;
            s.wait_active(1)?;
            raw::reset(stream)?;
            Ok(Seen { bytes: Vec::new(), end: End::Finished, after: Duration::ZERO })
        })
    },
    Row {
        verdict: "failed",
        gets: Gets::Nothing,
        ..refused("client_closed", "closed before its hello was whole", "half a hello", |s| {
            end_after(s, &[V1, &Hello::to("a.listed.example").bytes()[..9]].concat())
        })
    },
];

pub(super) const PROBES: &[Row] = &[
    probe("closed without a word", Gets::Nothing, "a bare connect", |s| end_after(s, b"")),
    probe("closed without a word", Gets::Nothing, "HAProxy's check with send-proxy", |s| {
        end_after(s, b"PROXY UNKNOWN\r\n")
    }),
    probe("closed without a word", Gets::Nothing, "a check that names its own address", |s| end_after(s, V1)),
    probe(ITSELF, Gets::Nothing, "HAProxy's check with send-proxy-v2", |s| end_after(s, &local())),
    probe(ITSELF, Gets::Nothing, "half a hello of a check", |s| {
        end_after(s, &[local(), Hello::with(&[]).bytes()[..9].to_vec()].concat())
    }),
    probe(ITSELF, Gets::Alert(109), "HAProxy's check-ssl", |s| {
        s.say_to(BALANCED, &[local(), Hello::with(&[]).bytes()].concat())
    }),
    probe(ITSELF, Gets::Alert(70), "HAProxy's ssl-hello-chk", |s| {
        s.say_to(BALANCED, &[&local()[..], &SSL_HELLO_CHK].concat())
    }),
    Row {
        host: Some("other.example"),
        ..probe(ITSELF, Gets::Alert(49), "HAProxy's check-sni of a name that no rule has", |s| {
            s.say_to(BALANCED, &[local(), Hello::to("other.example").bytes()].concat())
        })
    },
    probe(CHECKER, Gets::Reset, "a monitor that sends no header", |s| {
        say_from(s, MONITOR, BALANCED, &Hello::with(&[]).bytes())
    }),
    probe(CHECKER, Gets::Reset, "a monitor that dials a redirect listener", |s| say_from(s, MONITOR, REDIRECTED, b"")),
    probe(CHECKER, Gets::Alert(109), "a monitor whose connection was redirected", |s| {
        say_from(s, MONITOR, super::TO, &Hello::with(&[]).bytes())
    }),
    Row {
        host: Some("denied.example"),
        rule: Some("not that one"),
        ..probe(CHECKER, Gets::Alert(49), "a monitor that asks for what is denied", |s| {
            say_from(s, MONITOR, super::TO, &Hello::to("denied.example").bytes())
        })
    },
];
