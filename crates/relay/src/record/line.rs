//! A record as a line: JSON, or Squid's native form.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::object::{Clock, Object, key};
use super::squid;
use crate::outcome::{ClosedBy, DstMatches, Outcome};
use crate::reason::Reason;
use crate::settings::AccessFormat;

/// How lines are written.
#[derive(Debug)]
pub struct Lines {
    /// The listeners' names and protocols.
    listeners: Vec<(Arc<str>, &'static str)>,
    clock: Clock,
}

impl Lines {
    /// `listeners` are the listeners' names and protocols, in the settings' order.
    pub fn new(listeners: Vec<(Arc<str>, &'static str)>) -> Self {
        Self { listeners, clock: Clock::default() }
    }

    /// Appends the line of a connection that has ended.
    pub fn closed(&mut self, out: &mut Vec<u8>, format: AccessFormat, outcome: &Outcome) {
        match format {
            AccessFormat::Json => self.connection(out, "close", outcome),
            AccessFormat::Squid => {
                let listener = self.listeners.get(usize::from(outcome.listener));
                squid::line(out, outcome, listener.map_or("tls", |(_, protocol)| protocol));
            }
        }
    }

    /// Appends a line about the node itself, now; `fill` adds what it says.
    pub(super) fn node(&mut self, out: &mut Vec<u8>, event: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        let mut line = Object::begin(out, &mut self.clock, SystemTime::now(), event);
        fill(&mut line);
        line.end();
    }

    /// Appends a line about a connection, at the time of which the outcome tells. What is unknown is left out.
    pub(super) fn connection(&mut self, out: &mut Vec<u8>, event: &'static str, outcome: &Outcome) {
        let mut line = Object::begin(out, &mut self.clock, outcome.accepted + Duration::from(outcome.duration), event);
        line.id(key!("conn"), outcome.conn);
        let listener = self.listeners.get(usize::from(outcome.listener));
        if let Some((name, protocol)) = listener {
            line.text(key!("listener"), name);
            line.word(key!("protocol"), protocol);
        }
        line.address(key!("client"), outcome.client.socket());
        outcome.original_dst.as_ref().inspect(|address| line.address(key!("original_dst"), address.socket()));
        outcome.dst_matches.map(DstMatches::label).inspect(|matches| line.word(key!("dst_matches"), matches));
        outcome.host.as_ref().inspect(|host| line.word(key!("host"), host.as_str()));
        outcome.port.inspect(|&port| line.number(key!("port"), port.into()));
        line.word(key!("verdict"), outcome.verdict.label());
        outcome.rule.as_ref().inspect(|rule| line.text(key!("rule"), rule));
        outcome.reason.map(Reason::label).inspect(|reason| line.word(key!("reason"), reason));
        outcome.detail.inspect(|detail| line.text(key!("detail"), detail));
        outcome.upstream.as_ref().inspect(|address| line.address(key!("upstream"), address.socket()));
        line.number(key!("bytes_up"), outcome.bytes_up);
        line.number(key!("bytes_down"), outcome.bytes_down);
        line.millis(key!("duration_ms"), outcome.duration.into());
        outcome.dns.inspect(|&dns| line.millis(key!("dns_ms"), dns.into()));
        outcome.connect.inspect(|&connect| line.millis(key!("connect_ms"), connect.into()));
        outcome.closed_by.map(ClosedBy::label).inspect(|by| line.word(key!("closed_by"), by));
        if let Some(offered) = &outcome.offered {
            if !offered.alpn.is_empty() {
                line.texts(key!("alpn"), offered.alpn.iter().map(|protocol| &**protocol));
            }
            line.code_points(key!("tls_versions"), offered.versions.iter().copied());
            line.flag(key!("ech"), offered.ech);
            // Its one part from outside is two letters or digits.
            offered.ja4.as_ref().inspect(|ja4| line.word(key!("ja4"), ja4));
        }
        if let Some(more) = &outcome.more {
            more.method.as_ref().inspect(|method| line.text(key!("method"), method));
            more.status.inspect(|&status| line.number(key!("status"), status.into()));
            more.vpce.as_ref().inspect(|vpce| line.text(key!("vpce"), vpce));
        }
        line.end();
    }
}
