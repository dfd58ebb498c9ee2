//! What the admin endpoint shows: the node as it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use crate::metrics::{Facts, Metrics};
use crate::shared::Shared;

/// How far a node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It should get traffic.
    Serving,
    /// It should get no more traffic, and still takes what comes.
    LameDuck,
    /// It takes nothing new and finishes what is open.
    Draining,
}

impl Stage {
    /// Its word on the status page and in `/readyz`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::LameDuck => "lame duck",
            Self::Draining => "draining",
        }
    }
}

/// A running node, seen from outside its workers.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    metrics: Metrics,
    listening: Vec<SocketAddr>,
    started: SystemTime,
    stage: AtomicU8,
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>, metrics: Metrics, listening: Vec<SocketAddr>) -> Self {
        Self { shared, metrics, listening, started: SystemTime::now(), stage: AtomicU8::new(Stage::Serving as u8) }
    }

    /// What its workers share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where it listens for clients, in the order of its settings.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// When it started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Serving,
            1 => Stage::LameDuck,
            _ => Stage::Draining,
        }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Whether it should get traffic. A node without a policy does not start, so only its stage decides.
    pub fn ready(&self) -> bool {
        self.stage() == Stage::Serving
    }

    /// What a scrape asks besides the counters.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            policy: &self.shared.policy,
            resolver: Some(&self.shared.resolver),
            limits: &self.shared.settings.limits,
            sources: &self.shared.sources,
            lost: self.shared.log.lost(),
            ready: self.ready(),
        }
    }
}
