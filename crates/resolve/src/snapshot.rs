//! What connections read without a lock: the names that have an answer, published by the resolver's thread.
//!
//! The map is cut into shards so that a new name copies one shard's pointers and not all of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use sekisho_name::Name;

use crate::answer::Answer;

const SHARDS: usize = 64;

type Shard = HashMap<Name, Arc<Entry>>;

/// The published names.
pub(crate) struct Snapshot {
    hasher: RandomState,
    shards: Box<[ArcSwap<Shard>]>,
    epoch: Instant,
}

/// One name: shared by the readers, who mark it as used, and the thread, which replaces its view.
pub(crate) struct Entry {
    view: ArcSwapOption<View>,
    /// Seconds since the snapshot's epoch.
    used: AtomicU32,
}

/// What readers may serve, and until when they may do so without asking the thread.
struct View {
    answer: Arc<Answer>,
    until: Instant,
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
        Self { hasher: RandomState::new(), shards, epoch }
    }

    /// The answer that may be served at `now`, marked as used.
    pub(crate) fn get(&self, name: &Name, now: Instant) -> Option<Arc<Answer>> {
        let shard = self.shard(name)?.load();
        let entry = shard.get(name)?;
        entry.touch(self.second(now));
        entry.serving(now)
    }

    pub(crate) fn second(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.epoch).as_secs()).unwrap_or(u32::MAX)
    }

    pub(crate) fn insert(&self, name: &Name, entry: &Arc<Entry>) {
        if let Some(slot) = self.shard(name) {
            let mut shard = Shard::clone(&slot.load());
            shard.insert(name.clone(), entry.clone());
            slot.store(Arc::new(shard));
        }
    }

    pub(crate) fn remove(&self, names: &[Name]) {
        let mut by_shard: HashMap<usize, Vec<&Name>> = HashMap::new();
        for name in names {
            by_shard.entry(self.index(name)).or_default().push(name);
        }
        for (index, mut names) in by_shard {
            let Some(slot) = self.shards.get(index) else { continue };
            let old = slot.load();
            names.retain(|name| old.contains_key(*name));
            if !names.is_empty() {
                let mut shard = Shard::clone(&old);
                for name in names {
                    shard.remove(name);
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
                if let Some(view) = &*entry.view.load() {
                    let Answer { addresses, expires } = &*view.answer;
                    let stale = *expires < now && now <= view.until;
                    all.push(CachedName { name: name.clone(), addresses: addresses.clone(), expires: *expires, stale });
                }
            }
        }
        all
    }

    fn shard(&self, name: &Name) -> Option<&ArcSwap<Shard>> {
        self.shards.get(self.index(name))
    }

    fn index(&self, name: &Name) -> usize {
        usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default()
    }
}

impl Entry {
    pub(crate) fn new(second: u32) -> Self {
        Self { view: ArcSwapOption::empty(), used: AtomicU32::new(second) }
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
        match &*self.view.load() {
            Some(view) if now <= view.until => Some(view.answer.clone()),
            _ => None,
        }
    }

    /// Whether it has ever had an answer, that may be served or not.
    pub(crate) fn is_published(&self) -> bool {
        self.view.load().is_some()
    }

    pub(crate) fn publish(&self, answer: Arc<Answer>, until: Instant) {
        self.view.store(Some(Arc::new(View { answer, until })));
    }
}
