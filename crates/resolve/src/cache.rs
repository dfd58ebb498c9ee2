//! What is known of each name and what is to be done about it when: no sockets, no clock, time is an argument.
//!
//! Inputs: [`Cache::asked`] when a lookup begins, [`Cache::answered`] and [`Cache::late`] when it is over,
//! [`Cache::poll`] when [`Cache::next_due`] has come. Outputs: [`Cache::look`], the [`Due`] actions and the snapshot.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_name::Name;

use crate::answer::Answer;
use crate::message::{MAX_ADDRESSES, Reply};
use crate::settings::Settings;
use crate::snapshot::{Entry, Snapshot};

/// A name is kept fresh while it was used within this time, or within its TTL where that is longer.
const IN_USE: Duration = Duration::from_secs(60);
/// The least time that a negative answer is kept, also one without the SOA that would say (RFC 2308 §5).
const NEGATIVE_MIN: Duration = Duration::from_secs(1);

/// What the servers said of one address family.
pub(crate) type Heard = Result<Reply, &'static str>;

/// Every name that something is known of.
pub(crate) struct Cache {
    settings: Settings,
    slots: HashMap<Name, Slot>,
    /// When each slot is next to be looked at.
    agenda: BTreeMap<(Instant, u64), Name>,
    tickets: u64,
    snapshot: Arc<Snapshot>,
}

struct Slot {
    entry: Arc<Entry>,
    state: State,
    /// Addresses with the time at which each was last answered, the latest first.
    seen: Vec<(IpAddr, Instant)>,
    /// The last good answer's clamped TTL, and its end.
    ttl: Duration,
    expires: Instant,
    failures: u32,
    /// A lookup is under way.
    asking: bool,
    due: Option<(Instant, u64)>,
}

#[derive(Clone, Copy)]
enum State {
    Good,
    NotFound { until: Instant },
    Failed { until: Instant, why: &'static str },
}

/// What is known of a name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Fresh(Arc<Answer>),
    Stale(Arc<Answer>),
    NotFound,
    Failed(&'static str),
    /// Nothing: the servers must be asked.
    Ask,
}

/// What the passing of time asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask the servers again: the name is in use and its answer ends soon.
    Refresh(Name),
    /// The servers are taking too long: who waits for this name gets the old answer.
    ServeStale(Name, Arc<Answer>),
}

impl Cache {
    pub(crate) fn new(settings: Settings, snapshot: Arc<Snapshot>) -> Self {
        Self { settings, slots: HashMap::new(), agenda: BTreeMap::new(), tickets: 0, snapshot }
    }

    /// What may be told of `name` at `now`; counts as a use of it.
    pub(crate) fn look(&self, name: &Name, now: Instant) -> Look {
        let Some(slot) = self.slots.get(name) else {
            return Look::Ask;
        };
        slot.entry.touch(self.snapshot.second(now));
        if let Some(answer) = slot.entry.serving(now).filter(|_| !slot.seen.is_empty()) {
            return if now <= answer.expires { Look::Fresh(answer) } else { Look::Stale(answer) };
        }
        match slot.state {
            State::NotFound { until } if now < until => Look::NotFound,
            State::Failed { until, why } if now < until => Look::Failed(why),
            _ => Look::Ask,
        }
    }

    /// A lookup of `name` has begun.
    pub(crate) fn asked(&mut self, name: &Name, now: Instant) {
        let patience = now + self.settings.timeout;
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.asking = true;
        let stale_ends = slot.expires + self.settings.serve_stale;
        let due = if slot.seen.is_empty() || stale_ends <= now { stale_ends.max(patience) } else { patience };
        self.schedule(name, due);
    }

    /// What the servers said; `None` for a family that is still being asked for while the other has addresses.
    /// A failure leaves a name that still may serve its old answer as [`Look::Stale`].
    pub(crate) fn answered(&mut self, name: &Name, v4: Option<Heard>, v6: Option<Heard>, now: Instant) -> Look {
        self.make_room(name);
        let second = self.snapshot.second(now);
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot::new(second, now));
        slot.asking = false;
        let heard = [v4, v6];
        let ttl = heard.iter().flatten().filter_map(|heard| match heard {
            Ok(Reply::Addresses { ttl, .. }) => Some(*ttl),
            _ => None,
        });
        if let Some(ttl) = ttl.min() {
            return self.good(name, &heard, ttl, now);
        }
        match absent(&heard) {
            Ok(ttl) => self.not_found(name, ttl, now),
            Err(why) => self.failed(name, why, now),
        }
    }

    /// The slower family's reply, after [`Cache::answered`] took the other's: its addresses join.
    pub(crate) fn late(&mut self, name: &Name, heard: &Heard, now: Instant) {
        let (Ok(Reply::Addresses { ips, .. }), Some(slot)) = (heard, self.slots.get_mut(name)) else { return };
        if matches!(slot.state, State::Good) {
            slot.see(ips, now, self.settings.ttl_max);
            slot.entry.publish(slot.answer(), slot.expires);
        }
    }

    /// When [`Cache::poll`] is next to be called.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next thing that is due at `now`; to be called until it gives `None`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due> {
        while let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= now) {
            let name = first.remove();
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            slot.due = None;
            let dropped_at = slot.dropped_at(&self.settings);
            if slot.asking {
                if !slot.seen.is_empty() && now < dropped_at {
                    // Until the lookup ends, however it does: that replaces what is published here.
                    let answer = slot.serve_stale(dropped_at, dropped_at);
                    self.schedule(&name, dropped_at);
                    return Some(Due::ServeStale(name, answer));
                }
                self.schedule(&name, now + self.settings.timeout);
            } else if now >= dropped_at {
                self.drop_names(&[name]);
            } else if !slot.seen.is_empty() && slot.in_use(self.snapshot.second(now)) {
                return Some(Due::Refresh(name));
            } else {
                self.schedule(&name, dropped_at);
            }
        }
        None
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn good(&mut self, name: &Name, heard: &[Option<Heard>; 2], ttl: Duration, now: Instant) -> Look {
        let Self { slots, settings, snapshot, .. } = self;
        let Some(slot) = slots.get_mut(name) else { return Look::Ask };
        for (heard, is_v4) in heard.iter().zip([true, false]) {
            match heard {
                Some(Ok(Reply::Addresses { ips, .. })) => slot.see(ips, now, settings.ttl_max),
                Some(Ok(Reply::NoData { .. })) => slot.seen.retain(|(ip, _)| ip.is_ipv4() != is_v4),
                _ => {}
            }
        }
        slot.ttl = ttl.max(settings.ttl_min).min(settings.ttl_max);
        slot.expires = now + slot.ttl;
        slot.state = State::Good;
        slot.failures = 0;
        let answer = slot.answer();
        let fresh_name = slot.entry.answer().is_none();
        slot.entry.publish(answer.clone(), slot.expires);
        if fresh_name {
            snapshot.insert(name, &slot.entry);
        }
        // At 80 % of the TTL; sooner where a failing lookup would otherwise outlast what is left.
        let lead = (slot.ttl / 5).max(settings.timeout.min(slot.ttl / 2));
        let refresh = slot.expires - lead;
        self.schedule(name, refresh);
        Look::Fresh(answer)
    }

    /// RFC 8767 §4: an authoritative denial ends what was known; nothing stale is served over it.
    fn not_found(&mut self, name: &Name, ttl: Option<Duration>, now: Instant) -> Look {
        let until = now + ttl.unwrap_or(NEGATIVE_MIN).min(self.settings.negative_max).max(NEGATIVE_MIN);
        self.snapshot.remove(std::slice::from_ref(name));
        let Some(slot) = self.slots.get_mut(name) else { return Look::NotFound };
        // A fresh entry, for a reader may still hold the old one.
        slot.entry = Arc::new(Entry::new(slot.entry.used()));
        slot.seen.clear();
        slot.state = State::NotFound { until };
        slot.failures = 0;
        self.schedule(name, until);
        Look::NotFound
    }

    fn failed(&mut self, name: &Name, why: &'static str, now: Instant) -> Look {
        let Self { slots, settings, .. } = self;
        let Some(slot) = slots.get_mut(name) else { return Look::Failed(why) };
        let (first, most) = (*settings.failure_ttl.start(), *settings.failure_ttl.end());
        let until = now + first.saturating_mul(1 << slot.failures.min(16)).min(most);
        slot.failures += 1;
        slot.state = State::Failed { until, why };
        let dropped_at = slot.dropped_at(settings);
        let look = if !slot.seen.is_empty() && now < dropped_at {
            // Long enough for the next attempt to run into its own patience: readers never wait in between.
            Look::Stale(slot.serve_stale((until + settings.timeout * 2).max(slot.expires), dropped_at))
        } else {
            Look::Failed(why)
        };
        self.schedule(name, until);
        look
    }

    fn schedule(&mut self, name: &Name, due: Instant) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        self.tickets += 1;
        if let Some(old) = slot.due.replace((due, self.tickets)) {
            self.agenda.remove(&old);
        }
        self.agenda.insert((due, self.tickets), name.clone());
    }

    /// Drops the least recently used sixteenth when a new name finds the cache full, names without an answer first.
    fn make_room(&mut self, name: &Name) {
        if self.slots.len() < self.settings.max_names || self.slots.contains_key(name) {
            return;
        }
        let mut oldest: Vec<_> =
            self.slots.iter().map(|(name, slot)| (!slot.seen.is_empty(), slot.entry.used(), name.clone())).collect();
        let count = (oldest.len() / 16).max(1).min(oldest.len());
        if count < oldest.len() {
            oldest.select_nth_unstable(count);
            oldest.truncate(count);
        }
        let names: Vec<Name> = oldest.into_iter().map(|(_, _, name)| name).collect();
        self.drop_names(&names);
    }

    fn drop_names(&mut self, names: &[Name]) {
        for name in names {
            if let Some(due) = self.slots.remove(name).and_then(|slot| slot.due) {
                self.agenda.remove(&due);
            }
        }
        self.snapshot.remove(names);
    }
}

impl Slot {
    fn new(second: u32, now: Instant) -> Self {
        Self {
            entry: Arc::new(Entry::new(second)),
            state: State::Failed { until: now, why: "" },
            seen: Vec::new(),
            ttl: Duration::ZERO,
            expires: now,
            failures: 0,
            asking: false,
            due: None,
        }
    }

    fn see(&mut self, ips: &[IpAddr], now: Instant, keep: Duration) {
        self.seen.retain(|(ip, last)| !ips.contains(ip) && now.saturating_duration_since(*last) <= keep);
        self.seen.splice(0..0, ips.iter().map(|ip| (*ip, now)));
        self.seen.truncate(MAX_ADDRESSES);
    }

    fn answer(&self) -> Arc<Answer> {
        let addresses = self.seen.iter().map(|(ip, _)| *ip).collect();
        Arc::new(Answer { addresses, expires: self.expires })
    }

    /// Lets readers serve the old answer until `until`, at most until `limit`.
    fn serve_stale(&self, until: Instant, limit: Instant) -> Arc<Answer> {
        let answer = self.answer();
        self.entry.publish(answer.clone(), until.min(limit));
        answer
    }

    /// When nothing of the slot is worth keeping any longer, unless it is asked for before.
    fn dropped_at(&self, settings: &Settings) -> Instant {
        match self.state {
            _ if !self.seen.is_empty() => self.expires + settings.serve_stale,
            State::NotFound { until } => until,
            // Kept a while longer, for a failure that comes again is kept longer.
            State::Failed { until, .. } => until + *settings.failure_ttl.end(),
            State::Good => self.expires,
        }
    }

    fn in_use(&self, second: u32) -> bool {
        let unused = Duration::from_secs(second.saturating_sub(self.entry.used()).into());
        unused <= IN_USE.max(self.ttl)
    }
}

/// Whether the replies without an address say that there is none, and for how long; otherwise what failed.
fn absent(heard: &[Option<Heard>; 2]) -> Result<Option<Duration>, &'static str> {
    let mut failure = None;
    let mut ttls = Vec::new();
    let mut no_name = false;
    for heard in heard.iter().flatten() {
        match heard {
            Ok(Reply::NoName { ttl }) => {
                no_name = true;
                ttls.push(*ttl);
            }
            Ok(Reply::NoData { ttl }) => ttls.push(*ttl),
            Ok(Reply::Addresses { .. } | Reply::Follow { .. }) => {}
            Err(why) => failure = Some(*why),
        }
    }
    match failure {
        // NXDOMAIN is about the name, so one family's is enough (RFC 8020 §2).
        Some(why) if !no_name => Err(why),
        _ => Ok(ttls.into_iter().flatten().min()),
    }
}

#[cfg(test)]
mod tests;
