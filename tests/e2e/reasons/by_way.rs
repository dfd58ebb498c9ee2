//! Rows of the other ways in: balancers that send PROXY headers, plain HTTP, proxies' clients, and second hellos.

use std::io::Write;
use std::net::Shutdown;
use std::thread::sleep;
use std::time::Duration;

use anyhow::ensure;
use lab::dns::Behaviour;
use lab::gate::Options;

use super::by_hello::DEADLINE;
use super::hello::Hello;
use super::stage::{Gets, Row, Stage, TO, Upstream, nothing};
use crate::peer::{self, Task};
use crate::raw::{self, End, Seen};

/// Where the listeners are: one that hears PROXY headers from 10.20.0.2 alone, one for requests to port 80, one for a
/// proxy's clients.
const BALANCER: &str = "10.20.0.1:9001";
const WEB: &str = "10.20.0.1:9002";
const PROXY: &str = "10.20.0.1:9003";
const HOST: &str = "listed.example";

type Act = fn(&mut Stage<'_>) -> anyhow::Result<Seen>;

/// A gate with all of them, and the deadline of [`super::by_hello`].
pub(super) fn options() -> Options {
    let mut options = super::options(&format!("timeouts: {{ hello: {}s }}", DEADLINE.as_secs()));
    let listener = |bind, rest| format!("{{ bind: \"{bind}\", destination: none, {rest} }}");
    options.listeners.extend([
        listener(BALANCER, "proxy_protocol: { from: [10.20.0.2] }"),
        listener(WEB, "protocol: http"),
        listener(PROXY, "protocol: connect"),
    ]);
    options
}

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

const fn left(reason: &'static str, detail: &'static str, what: &'static str, act: Act) -> Row {
    Row { verdict: "failed", ..refused(reason, detail, Gets::Nothing, what, act) }
}

/// The client says this and no more.
fn end(stage: &Stage<'_>, to: &str, bytes: &[u8]) -> anyhow::Result<Seen> {
    raw::converse(&stage.lab.client, to.parse()?, |stream| {
        stream.write_all(bytes)?;
        stream.shutdown(Shutdown::Write)
    })
}

/// The client says this and breaks off.
fn break_off(stage: &Stage<'_>, to: &str, bytes: &[u8]) -> anyhow::Result<Seen> {
    let mut stream = stage.connect(None, to)?;
    stream.write_all(bytes)?;
    stage.wait_active(1)?;
    raw::reset(stream)?;
    Ok(Seen { bytes: Vec::new(), end: End::Finished, after: Duration::ZERO })
}

fn connect(target: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").into_bytes()
}

/// Of balancers' headers what is not among [`super::by_header`]'s.
pub(super) const OTHER_WAYS: &[Row] = &[
    refused("hello_timeout", "no whole PROXY header by the deadline", Gets::Reset, "a byte at a time", |stage| {
        raw::converse(&stage.lab.client, BALANCER.parse()?, |stream| {
            for byte in b"PROXY TCP4 10.20.0.9 198.18.1.7 40000 443" {
                stream.write_all(&[*byte])?;
                sleep(DEADLINE / 10);
            }
            Ok(())
        })
    }),
    left("probe", "closed without a word", "a check of a listener without headers", |stage| end(stage, WEB, b"")),
    Row {
        host: Some("listed.example"),
        rule: Some("listed"),
        upstream: Upstream::Reached,
        ..refused(
            "sni_changed",
            "an unexpected record before the second hello",
            Gets::Reset,
            "a server that asks for a second hello, and a client that spoke out of turn",
            |stage| {
                let bytes = [Hello::to(HOST).bytes(), Task::Retry.bytes().to_vec()].concat();
                raw::converse(&stage.lab.client, TO.parse()?, |stream| stream.write_all(&bytes))
            },
        )
    },
];

pub(super) const REQUESTS: &[Row] = &[
    refused("bad_request", "no Host", Gets::Status(400), "to port 80", |stage| {
        stage.say_to(WEB, b"GET / HTTP/1.1\r\n\r\n")
    }),
    refused("bad_request", "target and Host differ", Gets::Status(400), "to a proxy", |stage| {
        end(stage, PROXY, b"CONNECT listed.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n")
    }),
    Row {
        host: Some(HOST),
        ..refused(
            "method_not_allowed",
            "a method that the listener does not serve",
            Gets::Status(405),
            "PUT",
            |stage| stage.say_to(WEB, b"PUT / HTTP/1.1\r\nHost: listed.example\r\nContent-Length: 0\r\n\r\n"),
        )
    },
    refused("target_not_allowed", "an address instead of a name", Gets::Status(403), "an address", |stage| {
        end(stage, PROXY, &connect("198.18.1.7:443"))
    }),
    Row {
        host: Some(HOST),
        ..refused("target_not_allowed", "a port that the listener does not serve", Gets::Status(403), "ssh", |stage| {
            end(stage, PROXY, &connect("listed.example:22"))
        })
    },
    Row {
        host: Some("other.example"),
        detail: None,
        ..refused("no_rule", "", Gets::Status(403), "a tunnel to where no rule leads", |stage| {
            end(stage, PROXY, &connect("other.example:443"))
        })
    },
    Row {
        host: Some(HOST),
        detail: None,
        ..refused("no_rule", "", Gets::Status(403), "plain HTTP to what is listed for TLS", |stage| {
            stage.say_to(WEB, b"GET / HTTP/1.1\r\nHost: listed.example\r\n\r\n")
        })
    },
    Row {
        verdict: "failed",
        host: Some("nx.listed.example"),
        rule: Some("listed"),
        prepare: |stage| {
            stage.answers("nx.listed.example", Behaviour::NxDomain);
            Ok(Vec::new())
        },
        ..refused("name_not_found", "the name has no address", Gets::Status(502), "no such name", |stage| {
            end(stage, PROXY, &connect("nx.listed.example:443"))
        })
    },
    Row {
        host: Some(HOST),
        rule: Some("listed"),
        upstream: Upstream::Dialled,
        ..refused(
            "sni_mismatch",
            "the hello in the tunnel names another host",
            Gets::Alert(49),
            "one host outside, another inside",
            |stage| {
                let bytes = [connect("listed.example:443"), peer::hello("a.listed.example")].concat();
                let mut seen = stage.say_to(PROXY, &bytes)?;
                let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
                ensure!(seen.bytes.starts_with(established), "no tunnel: {}", seen.bytes.escape_ascii());
                seen.bytes.drain(..established.len());
                Ok(seen)
            },
        )
    },
    refused("hello_timeout", "no whole request by the deadline", Gets::Reset, "half a request", |stage| {
        stage.say_to(WEB, b"GET / HTTP/1.1\r\n")
    }),
    left("client_closed", "closed before its request was whole", "half a request", |stage| {
        end(stage, WEB, b"GET / HTTP/1.1\r\n")
    }),
    left("client_closed", "reset before its request was whole", "half a request, broken off", |stage| {
        break_off(stage, PROXY, b"CONNECT listed.example")
    }),
    Row {
        host: Some("late.listed.example"),
        rule: Some("listed"),
        upstream: Upstream::Dialled,
        prepare: |stage| {
            stage.answers("late.listed.example", Behaviour::Slow(Duration::from_millis(500)));
            Ok(Vec::new())
        },
        ..left("client_closed", "reset before its tunnel stood", "broken off while its host is reached", |stage| {
            break_off(stage, PROXY, &connect("late.listed.example:443"))
        })
    },
];
