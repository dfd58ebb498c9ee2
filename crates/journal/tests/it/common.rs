//! Lines as the gate writes them, with what matters to a test.

use sekisho_journal::learn::{Learned, Learner, Options};
use sekisho_journal::{BadLine, Reading, Record};

/// One connection.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) event: &'static str,
    pub(crate) time: i64,
    pub(crate) client: String,
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: &'static str,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) rule: Option<&'static str>,
    pub(crate) upstream: Option<&'static str>,
}

/// 2026-11-24T00:00:00Z.
pub(crate) const DAY: i64 = 1_795_478_400;

impl Line {
    /// Audit mode let it through because no rule lists it.
    pub(crate) fn audited(client: &str, host: &str) -> Self {
        Self {
            event: "close",
            time: DAY,
            client: client.to_owned(),
            host: Some(host.to_owned()),
            port: 443,
            protocol: "tls",
            verdict: "audited",
            reason: Some("no_rule"),
            rule: None,
            upstream: Some("52.219.0.1"),
        }
    }

    /// It was refused.
    pub(crate) fn refused(client: &str, host: Option<&str>, reason: &'static str) -> Self {
        Self {
            host: host.map(str::to_owned),
            verdict: "refused",
            reason: Some(reason),
            upstream: None,
            ..Self::audited(client, "")
        }
    }

    pub(crate) fn json(&self) -> String {
        let time = jiff::Timestamp::from_second(self.time).unwrap();
        let socket = |ip: &str| if ip.contains(':') { format!("[{ip}]:50000") } else { format!("{ip}:50000") };
        let mut line = serde_json::json!({
            "time": time.to_string(), "event": self.event, "conn": "9f3c1a5500000012", "listener": "in",
            "protocol": self.protocol, "client": socket(&self.client), "port": self.port, "verdict": self.verdict,
        });
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                line[key] = value.into();
            }
        };
        set("host", self.host.clone());
        set("reason", self.reason.map(str::to_owned));
        set("rule", self.rule.map(str::to_owned));
        set("upstream", self.upstream.map(socket));
        line.to_string()
    }
}

/// A log of these.
pub(crate) fn log(lines: &[Line]) -> String {
    lines.iter().map(|line| line.json() + "\n").collect()
}

/// Reads a log that has no bad line.
pub(crate) fn read(log: &str, each: impl FnMut(&Record<'_>) -> Result<(), BadLine>) -> Reading {
    let reading = Reading::of_bytes("access.jsonl", log.as_bytes().to_vec(), each);
    assert_eq!(reading.notes(), "");
    reading
}

/// What is learned of these.
pub(crate) fn learned(lines: &[Line], options: Options) -> Learned {
    let mut learner = Learner::new(options, None);
    read(&log(lines), |record| learner.take(record));
    learner.finish()
}
