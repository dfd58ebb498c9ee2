//! What Prometheus reads. Nothing on a connection's path is shared: each worker counts in its own [`Shard`], and a
//! scrape adds them up.

pub mod catalogue;
mod exposition;
mod histogram;
mod shard;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use sekisho_resolve::{LookupResult, Observer};

use crate::settings::Settings;

pub use exposition::Facts;
pub use histogram::Histogram;
pub use shard::Shard;

/// Every counter of the process.
#[derive(Debug)]
pub struct Metrics {
    listeners: Vec<Arc<str>>,
    shards: Mutex<Vec<Arc<Shard>>>,
    dns: Arc<DnsClock>,
}

impl Metrics {
    /// Counters for the listeners of these settings, all at zero.
    pub fn new(settings: &Settings) -> Self {
        let listeners = settings.listeners.iter().map(|listener| Arc::clone(&listener.name)).collect();
        Self { listeners, shards: Mutex::default(), dns: Arc::default() }
    }

    /// A new worker's own counters. They count for as long as this lives, whatever becomes of the worker.
    pub fn shard(&self) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(self.listeners.len()));
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        shard
    }

    /// To be told of lookups by the resolver.
    pub fn dns_observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.dns) as Arc<dyn Observer>
    }

    /// Open connections of one listener, by its position in the settings.
    pub fn active(&self, listener: usize) -> u64 {
        self.sum(|shard| shard.active(listener))
    }

    fn sum(&self, of: impl Fn(&Shard) -> u64) -> u64 {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        // Shards are read one after the other, so a sum may be momentarily off by what moves meanwhile.
        shards.iter().fold(0, |total, shard| total.wrapping_add(of(shard)))
    }

    fn merged(&self, of: impl Fn(&Shard) -> &Histogram) -> Histogram {
        let total = Histogram::default();
        for shard in self.shards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            total.add(of(shard));
        }
        total
    }
}

/// How long lookups take.
#[derive(Debug, Default)]
struct DnsClock(Histogram);

impl Observer for DnsClock {
    fn lookup(&self, _result: LookupResult, seconds: f64) {
        self.0.observe(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default());
    }
}
