//! What connections read without a lock: the names that have an answer, published by the resolver's thread.
//!
//! The map is cut into shards so that a new name copies one shard's pointers and not all of them.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use sekisho_name::Name;

use crate::answer::Answer;

const SHARDS: usize = 64;

/// A table and not a map: one hash finds the shard and the name in it.
type Shard = HashTable<(Name, Arc<Entry>)>;

/// The published names.
pub(crate) struct Snapshot {
    hasher: RandomState,
    shards: Box<[ArcSwap<Shard>]>,
    epoch: Instant,
}

/// One name: shared by the readers, who mark it as used, and the thread, which replaces its answer.
pub(crate) struct Entry {
    answer: ArcSwapOption<Answer>,
    /// Seconds since the snapshot's epoch.
    used: AtomicU32,
}

/// A line of [`crate::Resolver::entries`].
#[derive(Clone, Debug)]
pub struct CachedName {
    /// The name.
    pub name: Name,
    /// Its addresses, as many as are kept.
    pub addresses: Box<[std::net::IpAddr]>,
    /// When the answer's TTL (clamped) runs out, or ran out.
    pub expires: Instant,
    /// Whether it is past that time but goes on serving because the servers fail.
    pub stale: bool,
}

impl Snapshot {
    pub(crate) fn new(epoch: Instant) -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::default()).collect();
        Self { hasher: RandomState::default(), shards, epoch }
    }

    /// The answer that may be served at `now`, marked as used.
    pub(crate) fn get(&self, name: &Name, now: Instant) -> Option<Arc<Answer>> {
        let hash = self.hasher.hash_one(name);
        let shard = self.shards.get(index(hash))?.load();
        let (_, entry) = shard.find(hash, |(known, _)| known == name)?;
        entry.touch(self.second(now));
        entry.serving(now)
    }

    pub(crate) fn second(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }

    pub(crate) fn insert(&self, name: &Name, entry: &Arc<Entry>) {
        let hash = self.hasher.hash_one(name);
        if let Some(slot) = self.shards.get(index(hash)) {
            let mut shard = Shard::clone(&slot.load());
            let hasher = |(name, _): &(Name, Arc<Entry>)| self.hasher.hash_one(name);
            let place = shard.entry(hash, |(known, _)| known == name, hasher);
            place.insert((name.clone(), entry.clone()));
            slot.store(Arc::new(shard));
        }
    }

    pub(crate) fn remove(&self, names: &[Name]) {
        let mut by_shard: HashMap<usize, Vec<(u64, &Name)>> = HashMap::new();
        for name in names {
            let hash = self.hasher.hash_one(name);
            by_shard.entry(index(hash)).or_default().push((hash, name));
        }
        for (index, mut names) in by_shard {
            let Some(slot) = self.shards.get(index) else { continue };
            let old = slot.load();
            names.retain(|(hash, name)| old.find(*hash, |(known, _)| known == *name).is_some());
            if !names.is_empty() {
                let mut shard = Shard::clone(&old);
                for (hash, name) in names {
                    if let Ok(found) = shard.find_entry(hash, |(known, _)| known == name) {
                        found.remove();
                    }
                }
                slot.store(Arc::new(shard));
            }
        }
    }

    /// Every name with an answer, fresh or not, in no order.
    pub(crate) fn list(&self, now: Instant) -> Vec<CachedName> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for (name, entry) in shard.load().iter() {
                if let Some(answer) = &*entry.answer.load() {
                    let Answer { addresses, expires, until, .. } = &**answer;
                    let stale = *expires < now && now <= *until;
                    all.push(CachedName { name: name.clone(), addresses: addresses.clone(), expires: *expires, stale });
                }
            }
        }
        all
    }
}

/// The shard of a hash, by bits that the table itself does not begin with.
fn index(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or_default() % SHARDS
}

impl Entry {
    pub(crate) fn new(second: u32) -> Self {
        Self { answer: ArcSwapOption::empty(), used: AtomicU32::new(second) }
    }

    /// Marks the entry as used, writing only when the second has changed so that readers share the cache line.
    pub(crate) fn touch(&self, second: u32) {
        if self.used.load(Ordering::Relaxed) != second {
            self.used.store(second, Ordering::Relaxed);
        }
    }

    /// The second of its last use.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn serving(&self, now: Instant) -> Option<Arc<Answer>> {
        let answer = self.answer.load();
        answer.as_ref().filter(|answer| now <= answer.until).map(Arc::clone)
    }

    /// Whether it has ever had an answer, that may be served or not.
    pub(crate) fn is_published(&self) -> bool {
        self.answer.load().is_some()
    }

    pub(crate) fn publish(&self, answer: Arc<Answer>) {
        self.answer.store(Some(answer));
    }
}
