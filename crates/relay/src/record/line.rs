//! A record as a line: JSON, or Squid's native form.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use crate::outcome::{Outcome, Verdict};
use crate::settings::AccessFormat;

/// One line's fields, in the order in which they are written; unknown ones are left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line<'a> {
    pub(super) time: String,
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) listener: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) original_dst: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes_down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alpn: Option<&'a [Box<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_versions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ech: Option<bool>,
    /// Of `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    /// Of `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'static str>,
    /// Of `start`: this node's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    /// Of `start` and `reload`: the policy in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<&'a str>,
    /// Of `reload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<&'static str>,
    /// Of `lost`: how many records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
}

impl<'a> Line<'a> {
    /// A line about the node itself, now.
    pub(super) fn node(event: &'static str) -> Self {
        Self { time: rfc3339(SystemTime::now()), event, ..Self::default() }
    }

    /// A line about a connection, at the time of which the outcome tells.
    pub(super) fn connection(event: &'static str, outcome: &'a Outcome, listeners: &'a [Arc<str>]) -> Self {
        let offered = outcome.offered.as_ref();
        Self {
            time: rfc3339(outcome.accepted + outcome.duration),
            event,
            conn: Some(format!("{:016x}", outcome.conn)),
            listener: listeners.get(outcome.listener).map(|name| &**name),
            protocol: Some("tls"),
            client: Some(outcome.client),
            original_dst: outcome.original_dst,
            host: outcome.host.as_ref().map(sekisho_name::Name::as_str),
            port: outcome.port,
            verdict: Some(outcome.verdict.label()),
            rule: outcome.rule.as_deref(),
            reason: outcome.reason.map(crate::reason::Reason::label),
            detail: outcome.detail,
            upstream: outcome.upstream,
            bytes_up: Some(outcome.bytes_up),
            bytes_down: Some(outcome.bytes_down),
            duration_ms: Some(millis(outcome.duration)),
            dns_ms: outcome.dns.map(millis),
            connect_ms: outcome.connect.map(millis),
            closed_by: outcome.closed_by.map(crate::outcome::ClosedBy::label),
            alpn: offered.map(|offered| &*offered.alpn).filter(|alpn| !alpn.is_empty()),
            tls_versions: offered.map(|offered| offered.versions.iter().map(|v| format!("{v:#06x}")).collect()),
            ech: offered.map(|offered| offered.ech),
            ..Self::default()
        }
    }
}

/// Appends a line about a connection that has ended, in Squid's native form:
/// `time elapsed client code/status bytes CONNECT host:port - hierarchy/peer -`.
pub(super) fn squid(out: &mut Vec<u8>, outcome: &Outcome) {
    let end = (outcome.accepted + outcome.duration).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (code, status) = match outcome.verdict {
        Verdict::Allowed | Verdict::Audited => ("TCP_TUNNEL", 200),
        Verdict::Refused => ("TCP_DENIED", 403),
        Verdict::Failed => ("TCP_TUNNEL", 503),
    };
    let (host, port) = (outcome.host.as_ref().map_or("-", |host| host.as_str()), outcome.port.unwrap_or(0));
    let peer = outcome.upstream.map_or("HIER_NONE/-".to_owned(), |peer| format!("HIER_DIRECT/{}", peer.ip()));
    let (seconds, millis, elapsed) = (end.as_secs(), end.subsec_millis(), outcome.duration.as_millis());
    let (client, bytes) = (outcome.client.ip(), outcome.bytes_down);
    // Writing to a vector cannot fail.
    let _ = writeln!(
        out,
        "{seconds}.{millis:03} {elapsed:6} {client} {code}/{status} {bytes} CONNECT {host}:{port} - {peer} -"
    );
}

/// Appends a line about anything but a connection's end. Squid's form has no such lines.
pub(super) fn json(out: &mut Vec<u8>, format: AccessFormat, line: &Line<'_>) {
    if format == AccessFormat::Json {
        let before = out.len();
        match serde_json::to_writer(&mut *out, line) {
            Ok(()) => out.push(b'\n'),
            Err(_) => out.truncate(before),
        }
    }
}

/// In UTC, to the microsecond.
fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

/// Milliseconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "exact for the 285 years that 2^53 microseconds are")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
