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
    pub generation: u64,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    uses: HashMap<Arc<str>, Arc<RuleUse>>,
}

/// What a rule was used for since the process began, or since a policy first had a rule of its name.
#[derive(Debug, Default)]
pub struct RuleUse {
    decisions: [AtomicU64; Verdict::ALL.len()],
    up: AtomicU64,
    down: AtomicU64,
}

impl Active {
    /// A policy that follows another: rules of the same name go on counting.
    pub(super) fn new(policy: Policy, old: Option<&Self>) -> Self {
        let uses = policy.rules().iter().map(|rule| {
            let used = old.and_then(|old| old.uses.get(&rule.name)).map_or_else(Arc::default, Arc::clone);
            (Arc::clone(&rule.name), used)
        });
        let uses = uses.collect();
        Self { policy, generation: old.map_or(1, |old| old.generation + 1), loaded_at: SystemTime::now(), uses }
    }

    /// Counts a connection that has ended for the rule that decided it, if that rule still exists.
    pub fn count(&self, outcome: &Outcome) {
        let Some(used) = outcome.rule.as_ref().and_then(|rule| self.uses.get(rule)) else { return };
        if let Some(count) = used.decisions.get(outcome.verdict as usize) {
            count.fetch_add(1, Relaxed);
        }
        used.up.fetch_add(outcome.bytes_up, Relaxed);
        used.down.fetch_add(outcome.bytes_down, Relaxed);
    }

    /// Each rule's use, in the policy's order.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &RuleUse)> {
        self.policy.rules().iter().filter_map(|rule| Some((&*rule.name, &**self.uses.get(&rule.name)?)))
    }
}

impl RuleUse {
    /// Connections that it decided so.
    pub fn decisions(&self, verdict: Verdict) -> u64 {
        self.decisions.get(verdict as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Their bytes: up, down.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Relaxed), self.down.load(Relaxed))
    }
}
