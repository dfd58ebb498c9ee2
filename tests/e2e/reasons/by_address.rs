//! Rows that are decided behind the policy: by the name's addresses, and by the dial.

use anyhow::{Result, ensure};
use lab::dns::Behaviour;
use lab::net::Outage;

use super::hello::Hello;
use super::stage::{Gets, Held, Row, Stage, TO, Upstream, nothing};
use crate::raw::{self, Seen};

/// The gate's limit on descriptors where they are to run out.
pub(super) const DESCRIPTORS: u32 = 64;

type Prepare = for<'lab> fn(&mut Stage<'lab>) -> Result<Held<'lab>>;
type Act = fn(&mut Stage<'_>) -> Result<Seen>;

const fn failed(reason: &'static str, detail: &'static str, host: &'static str, prepare: Prepare, act: Act) -> Row {
    Row {
        what: detail,
        verdict: "failed",
        reason,
        detail: Some(detail),
        host: Some(host),
        rule: Some("listed"),
        gets: Gets::Alert(80),
        upstream: Upstream::Untouched,
        prepare,
        act,
    }
}

const fn not_found(host: &'static str, prepare: Prepare, act: Act) -> Row {
    Row { gets: Gets::Alert(112), ..failed("name_not_found", "the name has no address", host, prepare, act) }
}

const fn forbidden(
    detail: &'static str,
    (rule, host): (&'static str, &'static str),
    prepare: Prepare,
    act: Act,
) -> Row {
    Row {
        verdict: "refused",
        rule: Some(rule),
        gets: Gets::Alert(49),
        ..failed("forbidden_address", detail, host, prepare, act)
    }
}

pub(super) const LOOKUPS: &[Row] = &[
    not_found("nx.listed.example", |s| Ok(dns(s, "nx", Behaviour::NxDomain)), |s| s.ask_for("nx.listed.example")),
    not_found(
        "nodata.listed.example",
        |s| Ok(dns(s, "nodata", Behaviour::NoData)),
        |s| s.ask_for("nodata.listed.example"),
    ),
    failed(
        "dns_failed",
        "SERVFAIL",
        "servfail.listed.example",
        |s| Ok(dns(s, "servfail", Behaviour::ServFail)),
        |s| s.ask_for("servfail.listed.example"),
    ),
    failed(
        "dns_failed",
        "REFUSED",
        "refused.listed.example",
        |s| Ok(dns(s, "refused", Behaviour::Refused)),
        |s| s.ask_for("refused.listed.example"),
    ),
    failed(
        "dns_failed",
        "no server answered in time",
        "silent.listed.example",
        |s| Ok(dns(s, "silent", Behaviour::Silent)),
        |s| s.ask_for("silent.listed.example"),
    ),
];

fn dns<'lab>(stage: &mut Stage<'lab>, label: &str, behaviour: Behaviour) -> Held<'lab> {
    stage.answers(&format!("{label}.listed.example"), behaviour);
    Vec::new()
}

/// A rule without `upstream` permits public addresses only; `any` permits all but those that are never dialled.
pub(super) const FORBIDDEN: &[Row] = &[
    forbidden(
        "private address",
        ("public", "private.public.example"),
        |s| at(s, "private.public.example", &["10.99.0.1", "10.99.0.2"]),
        |s| s.ask_for("private.public.example"),
    ),
    forbidden(
        "carrier-grade NAT address",
        ("public", "cgnat.public.example"),
        |s| at(s, "cgnat.public.example", &["100.64.0.1"]),
        |s| s.ask_for("cgnat.public.example"),
    ),
    forbidden(
        "unique local address",
        ("public", "ula.public.example"),
        |s| at(s, "ula.public.example", &["fd99::1"]),
        |s| s.ask_for("ula.public.example"),
    ),
    forbidden(
        "loopback address",
        ("public", "loopback.public.example"),
        |s| at(s, "loopback.public.example", &["127.0.0.1", "::1"]),
        |s| s.ask_for("loopback.public.example"),
    ),
    forbidden(
        "reserved address",
        ("public", "reserved.public.example"),
        |s| at(s, "reserved.public.example", &["198.18.1.9"]),
        |s| s.ask_for("reserved.public.example"),
    ),
    forbidden(
        "IPv6 address that carries an IPv4 one",
        ("public", "mapped.public.example"),
        |s| at(s, "mapped.public.example", &["::ffff:52.219.0.1", "64:ff9b::34db:1"]),
        |s| s.ask_for("mapped.public.example"),
    ),
    forbidden(
        "public address",
        ("listed", "public.listed.example"),
        |s| at(s, "public.listed.example", &["52.219.0.1"]),
        |s| s.ask_for("public.listed.example"),
    ),
    forbidden(
        "address that is never dialled",
        ("any", "metadata.any.example"),
        |s| at(s, "metadata.any.example", &["169.254.169.254", "169.254.170.2"]),
        |s| s.ask_for("metadata.any.example"),
    ),
    forbidden(
        "address that is never dialled",
        ("any", "metadata6.any.example"),
        |s| at(s, "metadata6.any.example", &["fd00:ec2::254", "::ffff:169.254.169.254"]),
        |s| s.ask_for("metadata6.any.example"),
    ),
    // By a listener that dials the port which this gate itself listens on, and by one that dials its admin endpoint's.
    forbidden(
        "this gate's own socket",
        ("own", "own.example"),
        |s| at(s, "own.example", &["10.20.0.1", "10.88.0.1", "127.0.0.1"]),
        |s| s.say_to(SAME_PORT, &Hello::to("own.example").bytes()),
    ),
    forbidden(
        "this gate's own socket",
        ("own", "admin.example"),
        |s| at(s, "admin.example", &["127.0.0.1"]),
        |s| s.say_to(ADMIN_PORT, &Hello::to("admin.example").bytes()),
    ),
];

/// Where [`FORBIDDEN`]'s listeners are that dial the gate's own ports.
const SAME_PORT: &str = "10.20.0.1:9443";
const ADMIN_PORT: &str = "10.20.0.1:9444";

/// Those listeners.
pub(super) fn listeners_that_dial_own_ports() -> [String; 2] {
    let listener = |bind, port| format!("{{ bind: \"{bind}\", protocol: tls, destination: none, port: {port} }}");
    [listener(SAME_PORT, lab::net::REDIRECT_PORT), listener(ADMIN_PORT, 9180)]
}

fn at<'lab>(stage: &mut Stage<'lab>, host: &str, addresses: &[&str]) -> Result<Held<'lab>> {
    stage.resolves(host, addresses)?;
    Ok(Vec::new())
}

/// With `timeouts: { connect: 1s }`, which the lookup is part of.
pub(super) const DIALS: &[Row] = &[
    Row {
        upstream: Upstream::Dialled,
        ..failed(
            "connect_failed",
            "connection refused",
            "resets.listed.example",
            |stage| {
                stage.resolves("resets.listed.example", &["198.18.3.1", "198.18.3.2"])?;
                Ok(vec![Box::new(Outage::resetting(stage.lab, "198.18.3.0/24")?)])
            },
            |stage| stage.ask_for("resets.listed.example"),
        )
    },
    Row {
        upstream: Upstream::Dialled,
        ..failed(
            "connect_timeout",
            "no address answered in time",
            "drops.listed.example",
            |stage| {
                stage.resolves("drops.listed.example", &["198.18.3.3", "198.18.3.4"])?;
                Ok(vec![Box::new(Outage::silent(stage.lab, "198.18.3.0/24")?)])
            },
            |stage| {
                let seen = stage.ask_for("drops.listed.example")?;
                let after = seen.after.as_millis();
                ensure!((950..3000).contains(&after), "told after {after} ms");
                Ok(seen)
            },
        )
    },
    failed(
        "dns_failed",
        "no answer in time",
        "slow.listed.example",
        |s| Ok(dns(s, "slow", Behaviour::Silent)),
        |s| s.ask_for("slow.listed.example"),
    ),
    failed(
        "ports_exhausted",
        "no source port left",
        "ports.listed.example",
        |stage| {
            stage.resolves("ports.listed.example", &["198.18.1.8"])?;
            stage.lab.gate.sysctl("net/ipv4/ip_local_port_range", "40000 40003")?;
            let hello = Hello::to("ports.listed.example").bytes();
            let mut held: Held<'_> = Vec::new();
            for _ in 0..4 {
                use std::io::Write;
                let mut stream = stage.connect(None, TO)?;
                stream.write_all(&hello)?;
                held.push(Box::new(stream));
            }
            stage.wait_reached(4)?;
            Ok(held)
        },
        |stage| stage.ask_for("ports.listed.example"),
    ),
];

/// With [`DESCRIPTORS`] and answers that are kept for longer than the row takes.
pub(super) const STARVED: &[Row] = &[failed(
    "descriptors_exhausted",
    "no descriptor left",
    "starved.listed.example",
    |stage| {
        stage.use_host("starved.listed.example")?;
        stage.wait_active(0)?;
        stage.starve(1)
    },
    |stage| {
        // The scrape before this had it.
        stage.wait_free_descriptors(1)?;
        stage.ask_for("starved.listed.example")
    },
)];

const fn over(reason: &'static str, detail: &'static str, prepare: Prepare) -> Row {
    Row {
        what: detail,
        verdict: "refused",
        reason,
        detail: Some(detail),
        host: None,
        rule: None,
        gets: Gets::Reset,
        upstream: Upstream::Untouched,
        prepare,
        act: |stage| stage.ask_for("listed.example"),
    }
}

/// With `limits: { connections: 2 }`.
pub(super) const OVER_CONNECTIONS: &[Row] =
    &[over("over_connection_limit", "connections of the process", |stage| stage.hold(2))];
/// With `limits: { undecided: 2 }`.
pub(super) const OVER_UNDECIDED: &[Row] =
    &[over("over_connection_limit", "undecided connections of the process", |stage| stage.hold(2))];
/// With `limits: { connections_per_client: 2 }`.
pub(super) const OVER_CLIENT: &[Row] = &[
    over("over_client_limit", "connections of this client", |stage| stage.hold(2)),
    // Another client's address has places of its own.
    Row {
        what: "another client beside one at its limit",
        reason: "no_sni",
        detail: Some("no server_name extension"),
        gets: Gets::Alert(109),
        act: |stage| {
            use std::io::Write;
            let stream = stage.connect(Some("10.20.0.3"), TO)?;
            let hello = Hello::with(&[]).bytes();
            raw::converse_on(stream, |stream| stream.write_all(&hello))
        },
        ..over("", "", |stage| stage.hold(2))
    },
];

const fn direct(what: &'static str, act: Act) -> Row {
    Row { what, act, ..over("not_redirected", "the client dialled the gate itself", nothing) }
}

pub(super) const DIRECT: &[Row] = &[
    direct("the port that it listens on", |stage| {
        stage.say_to("10.20.0.1:8443", &Hello::to("a.listed.example").bytes())
    }),
    direct("the same, saying nothing", |stage| stage.say_to("10.20.0.1:8443", &[])),
    direct("another of its addresses", |stage| stage.say_to("10.88.0.1:8443", &[])),
    direct("over IPv6", |stage| stage.say_to("[2001:db8:20::1]:8443", &[])),
];
