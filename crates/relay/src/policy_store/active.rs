//! A policy in force, and what its rules were used for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use sekisho_policy::Policy;

use crate::outcome::{Outcome, Verdict};

/// A policy in force.
#[derive(Debug)]
pub struct Active {
    /// The policy.
    pub policy: Policy,
    /// 1 for the policy of the start; each load makes the next.
    pub generation: u32,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    uses: HashMap<Arc<str>, Arc<RuleUse>>,
}

/// What a rule was used for since the process began, or since a policy first had a rule of its name. Each worker counts
/// in a part of its own, and who asks adds them up.
#[derive(Debug)]
pub struct RuleUse(Box<[Part]>);

/// One worker's counters of one rule, on a cache line that no other worker writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part {
    decisions: [AtomicU64; Verdict::ALL.len()],
    up: AtomicU64,
    down: AtomicU64,
}

impl Active {
    /// A policy that follows another: rules of the same name go on counting.
    pub(super) fn new(policy: Policy, old: Option<&Self>, workers: usize) -> Self {
        let uses = policy.rules().iter().map(|rule| {
            let known = old.and_then(|old| old.uses.get(&rule.name));
            let used = known.map_or_else(|| Arc::new(RuleUse::new(workers)), Arc::clone);
            (Arc::clone(&rule.name), used)
        });
        let uses = uses.collect();
        Self { policy, generation: old.map_or(1, |old| old.generation + 1), loaded_at: SystemTime::now(), uses }
    }

    /// Counts a connection of a worker that has ended for the rule that decided it, if that rule still exists.
    pub fn count(&self, worker: usize, outcome: &Outcome) {
        let used = outcome.rule.as_ref().and_then(|rule| self.uses.get(rule));
        let Some(part) = used.and_then(|used| used.0.get(worker)) else { return };
        if let Some(count) = part.decisions.get(outcome.verdict as usize) {
            count.fetch_add(1, Relaxed);
        }
        part.up.fetch_add(outcome.bytes_up, Relaxed);
        part.down.fetch_add(outcome.bytes_down, Relaxed);
    }

    /// Each rule's use, in the policy's order.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &RuleUse)> {
        self.policy.rules().iter().filter_map(|rule| Some((&*rule.name, &**self.uses.get(&rule.name)?)))
    }
}

impl RuleUse {
    fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Part::default()).collect())
    }

    /// Connections that it decided so.
    pub fn decisions(&self, verdict: Verdict) -> u64 {
        self.sum(|part| part.decisions.get(verdict as usize))
    }

    /// Their bytes: up, down.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sum(|part| Some(&part.up)), self.sum(|part| Some(&part.down)))
    }

    fn sum<'a>(&'a self, of: impl Fn(&'a Part) -> Option<&'a AtomicU64>) -> u64 {
        self.0.iter().filter_map(of).fold(0, |total, count| total.wrapping_add(count.load(Relaxed)))
    }
}
