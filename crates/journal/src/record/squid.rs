//! A line of Squid's native `access.log`, as Squid itself or a gate with `access_log.format: squid` writes it.
//!
//! `time elapsed client code/status bytes method URL user hierarchy/peer type`

use std::borrow::Cow;
use std::net::IpAddr;

use sekisho_policy::Protocol;

use super::{Event, Record, Text, Verdict};

/// Reads a line; `None` when it is none.
///
/// Squid let through what no policy here has decided, so that counts as what audit mode let through.
pub(super) fn parse(line: &[u8]) -> Option<Record<'_>> {
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (seconds, fraction) = fields.next()?.split_once('.')?;
    fraction.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    let _elapsed: i64 = fields.next()?.parse().ok()?;
    let client: IpAddr = fields.next()?.parse().ok()?;
    let (code, status) = fields.next()?.split_once('/')?;
    let status: u16 = status.parse().ok()?;
    let _bytes: u64 = fields.next()?.parse().ok()?;
    let (method, url) = (fields.next()?, fields.next()?);
    let _user = fields.next()?;
    let (_hierarchy, peer) = fields.next()?.split_once('/')?;
    let upstream: Option<IpAddr> = peer.parse().ok();

    let target = Target::of(method, url);
    let (verdict, reason) = match (&target, status) {
        // What was no request at all; and what Squid wanted a password for, which comes again with one.
        (None, _) | (_, 407) => (None, None),
        _ if code.contains("DENIED") && status == 403 => (Some(Verdict::Refused), Some("no_rule")),
        _ if code.contains("DENIED") => (Some(Verdict::Refused), Some("bad_request")),
        // A tunnel stands or it does not; a status of 5xx may be the server's own if one was reached.
        _ if method == "CONNECT" && status != 200 => (Some(Verdict::Failed), Some("connect_failed")),
        _ if status >= 500 && upstream.is_none() => (Some(Verdict::Failed), Some("connect_failed")),
        _ => (Some(Verdict::Audited), Some("no_rule")),
    };
    let Target { host, port, protocol } = target.unwrap_or(Target { host: None, port: 443, protocol: Protocol::Tls });
    Some(Record {
        time: seconds.parse().ok()?,
        event: if verdict.is_some() { Event::Close } else { Event::Other },
        client: Some(client.to_canonical()),
        host: host.map(|host| Text(Cow::Borrowed(host))),
        port,
        protocol,
        vpce: None,
        verdict,
        rule: None,
        reason: reason.map(|reason| Text(Cow::Borrowed(reason))),
        upstream: upstream.map(|upstream| upstream.to_canonical()),
        count: 0,
        foreign: true,
    })
}

/// What was asked for.
struct Target<'a> {
    host: Option<&'a str>,
    port: u16,
    protocol: Protocol,
}

impl<'a> Target<'a> {
    /// Of a CONNECT's authority, or of a URL. A bumped tunnel's requests have `https`.
    fn of(method: &str, url: &'a str) -> Option<Self> {
        let (protocol, authority) = if method == "CONNECT" {
            (Protocol::Tls, url)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (Protocol::Http, rest)
        } else {
            (Protocol::Tls, url.strip_prefix("https://")?)
        };
        let (authority, _) = authority.split_once(['/', '?']).unwrap_or((authority, ""));
        let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, protocol.default_port()),
        };
        Some(Self { host: (host != "-").then_some(host), port, protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Record<'_>> {
        Record::parse(line.as_bytes()).ok()
    }

    #[test]
    fn lines_of_squids_own_are_read() {
        for (line, host, port, protocol, verdict) in [
            (
                "1763975702.481     12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT a.example:443 - HIER_DIRECT/10.0.0.1 -",
                Some("a.example"),
                443,
                Protocol::Tls,
                Some(Verdict::Audited),
            ),
            (
                "1763975702.481      0 10.20.0.15 TCP_DENIED/403 3900 CONNECT b.example:8443 - HIER_NONE/- text/html",
                Some("b.example"),
                8443,
                Protocol::Tls,
                Some(Verdict::Refused),
            ),
            (
                "1763975702.481    301 ::1 TCP_MISS/301 512 HEAD http://c.example/x:y@z?http://d:1/ u HIER_DIRECT/::2 text/html",
                Some("c.example"),
                80,
                Protocol::Http,
                Some(Verdict::Audited),
            ),
            (
                "1763975702.481     61 10.20.0.15 NONE_NONE/503 0 CONNECT gone.example:443 - HIER_NONE/- -",
                Some("gone.example"),
                443,
                Protocol::Tls,
                Some(Verdict::Failed),
            ),
            (
                "1763975702.481     61 10.20.0.15 TCP_MISS/503 3800 GET http://u:p@e.example:8080 - HIER_NONE/- text/html",
                Some("e.example"),
                8080,
                Protocol::Http,
                Some(Verdict::Failed),
            ),
            (
                "1763975702.481     61 10.20.0.15 TCP_MISS/503 3800 GET http://f.example/ - HIER_DIRECT/192.0.2.1 text/html",
                Some("f.example"),
                80,
                Protocol::Http,
                Some(Verdict::Audited),
            ),
            (
                "1763975702.481      0 10.20.0.15 NONE_NONE/400 3800 NONE error:invalid-request - HIER_NONE/- text/html",
                None,
                443,
                Protocol::Tls,
                None,
            ),
            (
                "1763975702.481      0 10.20.0.15 TCP_DENIED/407 3800 CONNECT a.example:443 - HIER_NONE/- text/html",
                Some("a.example"),
                443,
                Protocol::Tls,
                None,
            ),
        ] {
            let record = read(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((record.time, record.foreign), (1_763_975_702, true));
            let seen = (record.host.as_deref(), record.port, record.protocol, record.verdict);
            assert_eq!(seen, (host, port, protocol, verdict), "{line}");
            assert_eq!(record.event == Event::Close, verdict.is_some(), "{line}");
        }
        let first = "1763975702.481 12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT a.example:443 - HIER_DIRECT/10.0.0.1 -";
        let first = read(first).unwrap();
        assert_eq!((first.client, first.upstream), ("10.20.0.15".parse().ok(), "10.0.0.1".parse().ok()));
    }

    #[test]
    fn what_is_none_is_none() {
        for line in [
            "1",
            "1763975702.481",
            "1763975702 12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT a.example:443 - HIER_DIRECT/10.0.0.1 -",
            "1763975702.481 12 host TCP_TUNNEL/200 5120 CONNECT a.example:443 - HIER_DIRECT/10.0.0.1 -",
            "1763975702.481 12 10.20.0.15 TCP_TUNNEL 5120 CONNECT a.example:443 - HIER_DIRECT/10.0.0.1 -",
            "1763975702.481 12 10.20.0.15 TCP_TUNNEL/200 5120 CONNECT a.example:443 -",
            "10.20.0.15 - - [24/Nov/2026:09:15:02 +0000] \"GET / HTTP/1.1\" 200 12",
        ] {
            assert_eq!(Record::parse(line.as_bytes()).unwrap_err(), "neither JSON nor a line of Squid's", "{line}");
        }
    }
}
