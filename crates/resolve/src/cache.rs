//! What is known of each name and what is to be done about it when: no sockets, no clock, time is an argument.
//!
//! Inputs: [`Cache::asked`] when a lookup begins, [`Cache::answered`] and [`Cache::late`] when it is over,
//! [`Cache::poll`] when [`Cache::next_due`] has come. Outputs: [`Cache::look`], the [`Due`] actions and the snapshot.

mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_name::Name;

use crate::answer::Answer;
use crate::message::Reply;
use crate::settings::Settings;
use crate::snapshot::{Entry, Snapshot};
use slot::{Slot, State};

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
        if let Some(answer) = slot.entry.serving(now) {
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
        self.schedule(name, patience);
    }

    /// What the servers said; `None` for a family that is still being asked for while the other has addresses.
    /// A failure leaves a name that still may serve its old answer as [`Look::Stale`].
    pub(crate) fn answered(&mut self, name: &Name, v4: Option<Heard>, v6: Option<Heard>, now: Instant) -> Look {
        self.make_room(name);
        let second = self.snapshot.second(now);
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot::new(name.clone(), second, now));
        slot.asking = false;
        let heard = [v4, v6];
        slot.hear(&heard, now, &self.settings);
        let ttl = heard.iter().flatten().filter_map(|heard| match heard {
            Ok(Reply::Addresses { ttl, .. }) => Some(*ttl),
            _ => None,
        });
        if let Some(ttl) = ttl.min() {
            return self.good(name, ttl, now);
        }
        match absent(&heard) {
            Ok(ttl) => self.not_found(name, ttl, now),
            Err(why) => self.failed(name, why, now),
        }
    }

    /// The slower family's reply, after [`Cache::answered`] took the other's: its addresses join, a denial ends what
    /// was known of that family, and a shorter TTL counts for both. Without effect once the servers are being asked
    /// again, or have said something else.
    pub(crate) fn late(&mut self, name: &Name, is_v4: bool, heard: Heard, now: Instant) {
        let Self { slots, settings, .. } = self;
        let Some(slot) = slots.get_mut(name).filter(|slot| matches!(slot.state, State::Good) && !slot.asking) else {
            return;
        };
        let ttl = match &heard {
            Ok(Reply::Addresses { ttl, .. }) => Some(settings.clamp(*ttl)),
            // Of an older lookup, it might leave nothing of what a newer one has said.
            Ok(_) if slot.has_family(!is_v4) => None,
            _ => return,
        };
        slot.hear(&if is_v4 { [Some(heard), None] } else { [None, Some(heard)] }, now, settings);
        if let Some(ttl) = ttl.filter(|ttl| now + *ttl < slot.expires) {
            slot.fresh_for(ttl, now, settings);
        }
        slot.publish(slot.expires);
        let due = slot.next_due(now, settings);
        self.schedule(name, due);
    }

    /// When [`Cache::poll`] is next to be called.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.agenda.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next thing that is due at `now`; to be called until it gives `None`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due> {
        while let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= now) {
            let name = first.remove();
            let Self { slots, settings, snapshot, .. } = &mut *self;
            let Some(slot) = slots.get_mut(&name) else { continue };
            slot.due = None;
            let dropped_at = slot.dropped_at(settings);
            if slot.asking {
                if slot.has_addresses() && now < dropped_at {
                    // Until the lookup ends, however it does: that replaces what is published here.
                    let answer = slot.publish(dropped_at);
                    self.schedule(&name, dropped_at);
                    return Some(Due::ServeStale(name, answer));
                }
                let later = now + settings.timeout;
                self.schedule(&name, later);
            } else if now >= dropped_at {
                self.drop_names(&[name]);
            } else {
                if slot.forget_old(now, settings.ttl_max) {
                    slot.publish(slot.expires);
                }
                if slot.again <= now && slot.has_addresses() && slot.in_use(snapshot.second(now)) {
                    return Some(Due::Refresh(name));
                }
                let due = slot.next_due(now, settings);
                self.schedule(&name, due);
            }
        }
        None
    }

    fn good(&mut self, name: &Name, ttl: Duration, now: Instant) -> Look {
        let Self { slots, settings, snapshot, .. } = self;
        let Some(slot) = slots.get_mut(name) else { return Look::Ask };
        slot.state = State::Good;
        slot.failures = 0;
        slot.fresh_for(ttl, now, settings);
        let is_new = !slot.entry.is_published();
        let answer = slot.publish(slot.expires);
        if is_new {
            snapshot.insert(name, &slot.entry);
        }
        let due = slot.next_due(now, settings);
        self.schedule(name, due);
        Look::Fresh(answer)
    }

    /// RFC 8767 §4: an authoritative denial ends what was known; nothing stale is served over it.
    fn not_found(&mut self, name: &Name, ttl: Option<Duration>, now: Instant) -> Look {
        let until = now + ttl.unwrap_or(NEGATIVE_MIN).min(self.settings.negative_max).max(NEGATIVE_MIN);
        let Some(slot) = self.slots.get_mut(name) else { return Look::NotFound };
        slot.state = State::NotFound { until };
        slot.failures = 0;
        self.withdraw(name);
        self.schedule(name, until);
        Look::NotFound
    }

    fn failed(&mut self, name: &Name, why: &'static str, now: Instant) -> Look {
        let Self { slots, settings, .. } = self;
        let Some(slot) = slots.get_mut(name) else { return Look::Failed(why) };
        let (first, most) = (*settings.failure_ttl.start(), *settings.failure_ttl.end());
        let until = now + first.saturating_mul(1 << slot.failures.min(16)).min(most);
        slot.failures = slot.failures.saturating_add(1);
        slot.state = State::Failed { until, why };
        slot.again = until;
        let dropped_at = slot.dropped_at(settings);
        let look = if slot.has_addresses() && now < dropped_at {
            // Long enough for the next attempt to run into its own patience: readers never wait in between.
            let serves = (until + settings.timeout * 2).max(slot.expires).min(dropped_at);
            Look::Stale(slot.publish(serves))
        } else {
            Look::Failed(why)
        };
        let due = slot.next_due(now, settings);
        if !slot.has_addresses() {
            self.withdraw(name);
        }
        self.schedule(name, due);
        look
    }

    /// Takes a name's addresses from the readers.
    fn withdraw(&mut self, name: &Name) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.forget();
        if slot.entry.is_published() {
            self.snapshot.remove(std::slice::from_ref(name));
            // A fresh entry, for a reader may still hold the old one.
            slot.entry = Arc::new(Entry::new(slot.entry.used()));
        }
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
            self.slots.iter().map(|(name, slot)| (slot.has_addresses(), slot.entry.used(), name.clone())).collect();
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
