//! What is kept of one name.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_name::Name;

use super::Heard;
use crate::answer::Answer;
use crate::message::{MAX_ADDRESSES, Reply};
use crate::settings::Settings;
use crate::snapshot::Entry;

/// A name is kept fresh while it was used within this time, or within its TTL where that is longer.
const IN_USE: Duration = Duration::from_secs(60);

pub(super) struct Slot {
    name: Name,
    pub(super) entry: Arc<Entry>,
    pub(super) state: State,
    /// Addresses with the time at which each was last answered, the latest first.
    seen: Vec<(IpAddr, Instant)>,
    /// The last good answer's clamped TTL, and its end.
    ttl: Duration,
    pub(super) expires: Instant,
    /// When the servers are to be asked again, if the name is in use then.
    pub(super) again: Instant,
    pub(super) failures: u32,
    /// A lookup is under way.
    pub(super) asking: bool,
    /// The slot's place in the agenda.
    pub(super) due: Option<(Instant, u64)>,
}

#[derive(Clone, Copy)]
pub(super) enum State {
    Good,
    NotFound { until: Instant },
    Failed { until: Instant, why: &'static str },
}

impl Slot {
    pub(super) fn new(name: Name, second: u32, now: Instant) -> Self {
        Self {
            name,
            entry: Arc::new(Entry::new(second)),
            state: State::Failed { until: now, why: "" },
            seen: Vec::new(),
            ttl: Duration::ZERO,
            expires: now,
            again: now,
            failures: 0,
            asking: false,
            due: None,
        }
    }

    pub(super) fn has_addresses(&self) -> bool {
        !self.seen.is_empty()
    }

    pub(super) fn has_family(&self, is_v4: bool) -> bool {
        self.seen.iter().any(|(ip, _)| ip.is_ipv4() == is_v4)
    }

    /// Takes in what was said of both families: addresses join, and a denial ends what was known of its family.
    pub(super) fn hear(&mut self, [v4, v6]: &[Option<Heard>; 2], now: Instant, settings: &Settings) {
        for (heard, is_v4) in [(v4, true), (v6, false)] {
            match heard {
                Some(Ok(Reply::Addresses { ips, .. })) => self.see(ips, now, settings.ttl_max),
                // RFC 8767 §4: not even while the other family fails is anything stale served over this.
                Some(Ok(Reply::NoData { .. } | Reply::NoName { .. })) => {
                    self.seen.retain(|(ip, _)| ip.is_ipv4() != is_v4);
                }
                Some(Ok(Reply::Follow { .. }) | Err(_)) | None => {}
            }
        }
    }

    /// Starts a TTL (clamped) at `now`.
    pub(super) fn fresh_for(&mut self, ttl: Duration, now: Instant, settings: &Settings) {
        self.ttl = settings.clamp(ttl);
        self.expires = now + self.ttl;
        // At 80 % of the TTL; sooner where the patience with silent servers, and an eighth for whatever comes late,
        // would otherwise outlast what is left: readers would wait for that moment.
        let lead = (self.ttl / 5).max((settings.timeout + settings.timeout / 8).min(self.ttl / 2));
        self.again = now + self.ttl.saturating_sub(lead);
    }

    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Drops the addresses that were last answered `keep` ago, but none of the last answer's; whether there were any.
    /// While the servers fail the addresses stay as they are.
    pub(super) fn forget_old(&mut self, now: Instant, keep: Duration) -> bool {
        let count = self.seen.len();
        if matches!(self.state, State::Good) {
            self.seen.retain(|(_, last)| *last + keep > now || *last + keep >= self.expires);
        }
        self.seen.len() < count
    }

    /// Lets readers serve the answer until `until`.
    pub(super) fn publish(&self, until: Instant) -> Arc<Answer> {
        let last = |v4: bool| self.seen.iter().find(|(ip, _)| ip.is_ipv4() == v4).map(|(_, at)| *at);
        let (last_v4, last_v6) = (last(true), last(false));
        let is_current = |(ip, at): &&(IpAddr, Instant)| Some(*at) == if ip.is_ipv4() { last_v4 } else { last_v6 };
        let (current, earlier): (Vec<_>, Vec<_>) = self.seen.iter().partition(is_current);
        let addresses = current.iter().chain(&earlier).map(|(ip, _)| *ip).collect();
        let (name, current) = (self.name.clone(), current.len());
        let answer = Arc::new(Answer { name, addresses, current, expires: self.expires, until });
        self.entry.publish(answer.clone());
        answer
    }

    /// When nothing of the slot is worth keeping any longer, unless it is asked for before.
    pub(super) fn dropped_at(&self, settings: &Settings) -> Instant {
        match self.state {
            _ if self.has_addresses() => self.expires + settings.serve_stale,
            State::NotFound { until } => until,
            // Kept a while longer, for a failure that comes again is kept longer.
            State::Failed { until, .. } => until + *settings.failure_ttl.end(),
            State::Good => self.expires,
        }
    }

    /// When there is next something to do for a slot of which nothing is asked: an address grows old, the servers
    /// are to be asked again, or the slot goes.
    pub(super) fn next_due(&self, now: Instant, settings: &Settings) -> Instant {
        let grows_old = match (self.state, self.seen.last()) {
            (State::Good, Some((_, last))) => Some(*last + settings.ttl_max).filter(|at| *at < self.expires),
            _ => None,
        };
        let again = Some(self.again).filter(|_| self.has_addresses());
        let sooner = [grows_old, again].into_iter().flatten().filter(|at| *at > now).min();
        let dropped_at = self.dropped_at(settings);
        sooner.map_or(dropped_at, |at| at.min(dropped_at))
    }

    /// Whether it was used lately; both in seconds since the snapshot's epoch.
    pub(super) fn in_use(&self, second: u32) -> bool {
        let unused = Duration::from_secs(second.saturating_sub(self.entry.used()).into());
        unused <= IN_USE.max(self.ttl)
    }

    /// The addresses of a family that are kept are bounded apart, so that one cannot crowd out the other.
    fn see(&mut self, ips: &[IpAddr], now: Instant, keep: Duration) {
        self.seen.retain(|(ip, last)| !ips.contains(ip) && *last + keep > now);
        self.seen.splice(0..0, ips.iter().map(|ip| (*ip, now)));
        let (mut v4, mut v6) = (0, 0);
        self.seen.retain(|(ip, _)| {
            let count = if ip.is_ipv4() { &mut v4 } else { &mut v6 };
            *count += 1;
            *count <= MAX_ADDRESSES
        });
    }
}
