//! One line of an access log as values (docs/access-log.md): JSON, or Squid's form. Fields that are not known here are
//! passed over.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use sekisho_policy::Protocol;
use serde::Deserialize;

mod squid;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection has ended: every accepted one has exactly one such line.
    Close,
    /// A connection is still open.
    Open,
    /// Records were lost here.
    Lost,
    /// Anything else: the node's own life, a revocation, or an event of a later version.
    Other,
}

/// The gate's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let through by a rule.
    Allowed,
    /// Not let through.
    Refused,
    /// Let through by audit mode.
    Audited,
    /// Not served for want of something.
    Failed,
}

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unix seconds (UTC).
    pub time: i64,
    /// What it is about.
    pub event: Event,
    /// Who asked; a v4-mapped address as IPv4.
    pub client: Option<IpAddr>,
    /// The name that was asked for, as it stands in the line: to be checked before it is trusted.
    pub host: Option<Text<'a>>,
    /// The port that is dialled, else the protocol's own.
    pub port: u16,
    /// How it was asked, as a rule sees it.
    pub protocol: Protocol,
    /// The gate's word.
    pub verdict: Option<Verdict>,
    /// The VPC endpoint that it came through.
    pub vpce: Option<Text<'a>>,
    /// The rule that decided then.
    pub rule: Option<Text<'a>>,
    /// The reason's label.
    pub reason: Option<Text<'a>>,
    /// The address that was dialled.
    pub upstream: Option<IpAddr>,
    /// Of `lost`, how many records.
    pub count: u64,
    /// In Squid's form, so that it is not known what rule decided, or whether any did.
    pub foreign: bool,
}

/// Text of a line: borrowed unless it has an escape.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    time: Text<'a>,
    #[serde(borrow)]
    event: Text<'a>,
    client: Option<SocketAddr>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    port: Option<u16>,
    #[serde(borrow)]
    protocol: Option<Text<'a>>,
    method: Option<Text<'a>>,
    #[serde(borrow)]
    vpce: Option<Text<'a>>,
    #[serde(borrow)]
    verdict: Option<Text<'a>>,
    #[serde(borrow)]
    rule: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    upstream: Option<SocketAddr>,
    count: Option<u64>,
}

impl<'a> Record<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// In a few words, why it is no line of an access log.
    pub fn parse(line: &'a [u8]) -> Result<Self, String> {
        if line.first().is_some_and(u8::is_ascii_digit) {
            return squid::parse(line).ok_or_else(|| "neither JSON nor a line of Squid's".to_owned());
        }
        // The parser recurses into nothing that is not named in `Raw`, and a key that stands twice is an error.
        let raw: Raw<'a> = serde_json::from_slice(line).map_err(|error| plain(&error))?;
        let time: Timestamp = raw.time.parse().map_err(|_| "`time` is no RFC 3339 time".to_owned())?;
        let event = match &*raw.event {
            "close" => Event::Close,
            "open" => Event::Open,
            "lost" => Event::Lost,
            _ => Event::Other,
        };
        // What came by CONNECT counts as TLS, as in rules.
        // A proxy's client asks for TLS by CONNECT, and by any other method for plain HTTP.
        let protocol = match (raw.protocol.as_deref(), raw.method.as_deref()) {
            (Some("http"), _) => Protocol::Http,
            (Some("connect"), Some(method)) if method != "CONNECT" => Protocol::Http,
            _ => Protocol::Tls,
        };
        let verdict = match raw.verdict.as_deref() {
            Some("allowed") => Some(Verdict::Allowed),
            Some("refused") => Some(Verdict::Refused),
            Some("audited") => Some(Verdict::Audited),
            Some("failed") => Some(Verdict::Failed),
            _ => None,
        };
        Ok(Self {
            time: time.as_second(),
            event,
            client: raw.client.map(|client| client.ip().to_canonical()),
            host: raw.host,
            port: raw.port.unwrap_or(protocol.default_port()),
            protocol,
            verdict,
            vpce: raw.vpce,
            rule: raw.rule,
            reason: raw.reason,
            upstream: raw.upstream.map(|upstream| upstream.ip().to_canonical()),
            count: raw.count.unwrap_or(0),
            foreign: false,
        })
    }
}

/// The parser's words without what they quote of the line, which may be anything.
fn plain(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => {
            format!("a field is missing, stands twice or has the wrong type (column {})", error.column())
        }
        _ => format!("not JSON from column {} on", error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_gate_writes_it() {
        let line = br#"{"time":"2026-11-24T09:15:02.481207Z","event":"close","conn":"9f3c1a5500000012","listener":"in","protocol":"tls","client":"[::ffff:10.20.0.15]:51514","original_dst":"52.219.0.12:443","host":"a.example","port":8443,"verdict":"audited","rule":"\u30ec","reason":"no_rule","upstream":"[fd00::1]:443","bytes_up":48211,"alpn":["h2"],"ech":false}"#;
        let record = Record::parse(line).unwrap();
        assert_eq!(record.time, 1_795_511_702);
        assert_eq!((record.event, record.verdict), (Event::Close, Some(Verdict::Audited)));
        assert_eq!((record.client, record.upstream), ("10.20.0.15".parse().ok(), "fd00::1".parse().ok()));
        assert_eq!((record.host.as_deref(), record.port), (Some("a.example"), 8443));
        assert!(matches!(record.host, Some(Text(Cow::Borrowed(_)))), "nothing is copied without need");
        assert_eq!((record.rule.as_deref(), record.reason.as_deref()), (Some("レ"), Some("no_rule")));
    }

    #[test]
    fn what_is_not_said_has_the_protocols_own_meaning() {
        let at = |rest: &str| format!(r#"{{"time":"2026-11-24T09:15:02Z","event":"close"{rest}}}"#);
        let line = at("");
        assert_eq!(Record::parse(line.as_bytes()).unwrap().port, 443);
        let line = at(r#","protocol":"http""#);
        let record = Record::parse(line.as_bytes()).unwrap();
        assert_eq!((record.port, record.protocol), (80, Protocol::Http));
        let tunnel = at(r#","protocol":"connect","method":"CONNECT""#);
        assert_eq!(Record::parse(tunnel.as_bytes()).unwrap().protocol, Protocol::Tls);
        let plain = at(r#","protocol":"connect","method":"GET""#);
        assert_eq!(Record::parse(plain.as_bytes()).unwrap().protocol, Protocol::Http);
        let line = at(r#","verdict":"pondered","news":[[[{}]]]"#);
        assert_eq!(Record::parse(line.as_bytes()).unwrap().verdict, None);
    }

    #[test]
    fn what_is_no_record_is_an_error_that_quotes_nothing() {
        for line in [
            "",
            "x",
            "[]",
            "{}",
            "null",
            "{\"time\":\"2026-11-24T09:15:02Z\"}",
            r#"{"time":"yesterday","event":"close"}"#,
            r#"{"time":"2026-11-24T09:15:02Z","event":"close","event":"open"}"#,
            r#"{"time":"2026-11-24T09:15:02Z","event":"close","port":70000}"#,
            r#"{"time":"2026-11-24T09:15:02Z","event":"close","client":"\u001b[2J"}"#,
            r#"{"time":"2026-11-24T09:15:02Z","event":"close"} {}"#,
        ] {
            let why = Record::parse(line.as_bytes()).unwrap_err();
            assert!(why.is_ascii() && !why.contains("2J"), "{line}: {why}");
        }
        let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(Record::parse(deep.as_bytes()).is_err());
        assert!(Record::parse(b"{\"time\":\"\xff\"}").is_err());
    }
}
