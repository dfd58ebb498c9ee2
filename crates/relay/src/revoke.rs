//! Decides open connections again when the policy has changed or a rule of it has expired.

use std::cell::Cell;
use std::sync::Arc;

use crate::decide::{ask, unix_now};
use crate::guard::{Judgement, judge};
use crate::live::Live;
use crate::nat64::Nat64;
use crate::outcome::{DstMatches, Outcome, Verdict};
use crate::policy_store::{Active, PolicyStore};
use crate::reason::Reason;
use sekisho_policy::{Mode, OnRevoke};

/// What a worker remembers from one second to the next.
#[derive(Debug, Default)]
pub(crate) struct Review {
    generation: Cell<u32>,
    /// The last second before a rule of that generation expires.
    lasts: Cell<i64>,
}

/// One second's look at the policy.
#[derive(Debug)]
pub(crate) struct Look {
    active: Arc<Active>,
    now: i64,
    /// The policy has changed, or a rule of it has expired, since the last look: who was decided before must be again.
    stale: bool,
}

/// What the policy now says of an open connection.
#[derive(Debug)]
pub(crate) enum Again {
    /// It may go on.
    Allowed,
    /// It would be refused.
    Refused {
        /// The rule that refuses it, by name.
        rule: Option<Arc<str>>,
        /// Why.
        reason: Reason,
        /// Whether it is to be closed.
        close: bool,
    },
}

impl Review {
    /// Looks at the policy in force.
    pub(crate) fn begin(&self, policy: &PolicyStore) -> Look {
        let (active, now) = (policy.current(), unix_now());
        let changed = self.generation.replace(active.generation) != active.generation;
        let expired = now > self.lasts.get();
        if changed || expired {
            let to_come = active.policy.rules().iter().filter_map(|rule| rule.expires).filter(|last| *last >= now);
            self.lasts.set(to_come.min().unwrap_or(i64::MAX));
        }
        Look { active, now, stale: expired || changed }
    }
}

impl Look {
    /// The word on a relayed connection; `None` when nothing has changed since the last one.
    pub(crate) fn again(&self, live: &Live, nat64: &Nat64) -> Option<Again> {
        if live.generation() == self.active.generation && !self.stale {
            return None;
        }
        live.decided_under(self.active.generation);
        let outcome = live.outcome.borrow();
        let (name, port) = outcome.host.as_ref().zip(outcome.port)?;
        let word = ask(&self.active, &outcome, name, port, self.now);
        let policy = &self.active.policy;
        let reason = if let (Verdict::Refused, Some(reason)) = (word.verdict, word.reason) {
            reason
        } else {
            let upstream = policy.upstream(word.rule);
            let audit = policy.mode() == Mode::Audit;
            let judged = outcome.upstream.as_ref().map(|at| judge(at.ip(), upstream, audit, nat64));
            let mismatch = outcome.dst_matches == Some(DstMatches::No) && word.on_mismatch == Some(Mode::Enforce);
            match judged {
                _ if mismatch => Reason::DestinationMismatch,
                Some(Judgement::Forbidden(_)) => Reason::ForbiddenAddress,
                _ => return Some(Again::Allowed),
            }
        };
        let close = policy.on_revoke() == OnRevoke::Close;
        Some(Again::Refused { rule: word.rule_name(&self.active), reason, close })
    }

    /// A connection that is still opening under an expired rule is decided again once it is relayed.
    pub(crate) fn postpone(&self, live: &Live) {
        if self.stale {
            live.decided_under(0);
        }
    }
}

/// A connection's record, with what the policy now says of it.
pub(crate) fn with_the_word_of_now(mut outcome: Outcome, rule: Option<Arc<str>>, reason: Reason) -> Outcome {
    outcome.verdict = Verdict::Refused;
    outcome.rule = rule;
    outcome.reason = Some(reason);
    outcome.detail = None;
    outcome
}
