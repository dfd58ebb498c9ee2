//! A record as a line of Squid's native `access.log`: what Squid would have written of the same connection, for tools that
//! read that.
//!
//! `time elapsed client code/status bytes method URL user hierarchy/peer type`

use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::http;
use crate::outcome::{Outcome, Verdict};
use crate::reason::Reason;

/// Appends the line of a connection that has ended, which came in by a listener for `protocol`.
pub(super) fn line(out: &mut Vec<u8>, outcome: &Outcome, protocol: &str) {
    let duration = Duration::from(outcome.duration);
    let end = (outcome.accepted + duration).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis, elapsed) = (end.as_secs(), end.subsec_millis(), duration.as_millis());
    let (client, bytes) = (outcome.client.ip(), outcome.bytes_down);
    let (host, port) = (outcome.host.as_ref().map_or("-", |host| host.as_str()), outcome.port.unwrap_or(0));
    let method = outcome.more.as_ref().and_then(|more| more.method.as_deref());
    // Writing to a vector cannot fail.
    let _ = write!(out, "{seconds}.{millis:03} {elapsed:6} {client} ");
    let _ = match method {
        _ if protocol == "tls" || method == Some("CONNECT") || outcome.reason == Some(Reason::TargetNotAllowed) => {
            let (code, status) = tunnel(outcome, protocol == "tls");
            write!(out, "{code}/{status:03} {bytes} CONNECT {host}:{port} - ")
        }
        Some(method) => {
            let (code, status) = request(outcome);
            let port = if port == 80 { String::new() } else { format!(":{port}") };
            write!(out, "{code}/{status:03} {bytes} {method} http://{host}{port}/ - ")
        }
        // Squid's words for what it could not read.
        None if outcome.reason == Some(Reason::BadRequest) => {
            write!(out, "NONE_NONE/400 {bytes} NONE error:invalid-request - ")
        }
        None => write!(out, "NONE_NONE/000 {bytes} NONE error:transaction-end-before-headers - "),
    };
    let _ = match &outcome.upstream {
        Some(peer) => writeln!(out, "HIER_DIRECT/{} -", peer.ip()),
        None => writeln!(out, "HIER_NONE/- -"),
    };
}

/// What became of a tunnel. A client by TLS alone is told no status, and has those that a proxy's most often get.
fn tunnel(outcome: &Outcome, tls: bool) -> (&'static str, u16) {
    let told = outcome.reason.map_or(200, |reason| http::status(reason).0);
    match outcome.verdict {
        Verdict::Allowed | Verdict::Audited => ("TCP_TUNNEL", 200),
        Verdict::Refused => ("TCP_DENIED", if tls { 403 } else { told }),
        Verdict::Failed => ("TCP_TUNNEL", if tls { 503 } else { told }),
    }
}

/// What became of a request. 0 is Squid's word for no status.
fn request(outcome: &Outcome) -> (&'static str, u16) {
    let told = outcome.reason.map_or(0, |reason| http::status(reason).0);
    match outcome.verdict {
        Verdict::Allowed | Verdict::Audited => {
            let answered = outcome.more.as_ref().and_then(|more| more.status);
            answered.map_or(("TCP_MISS_ABORTED", 0), |status| ("TCP_MISS", status))
        }
        Verdict::Refused => ("TCP_DENIED", told),
        Verdict::Failed => ("TCP_MISS", told),
    }
}
