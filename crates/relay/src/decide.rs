//! The policy's word on a name, and what it permits.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sekisho_name::Name;
use sekisho_policy::{Decision, Mode, Protocol, Request, RuleId, Upstream};

use crate::live::Live;
use crate::outcome::{Outcome, Verdict};
use crate::policy_store::Active;
use crate::reason::{Alert, Answer, Reason};
use crate::settings::RefusalAlert;
use crate::stop::Stop;
use crate::worker::Worker;

/// A decision to let a connection through. It keeps the policy that decided, so that no connection is ever judged by
/// two.
#[derive(Debug)]
pub(crate) struct Permit {
    active: Arc<Active>,
    word: Word,
    now: i64,
}

impl Permit {
    /// Which addresses may be dialled.
    pub(crate) fn upstream(&self) -> &Upstream {
        self.active.policy.upstream(self.word.rule)
    }

    /// Whether the whole policy is in audit mode.
    pub(crate) fn audit(&self) -> bool {
        self.active.policy.mode() == Mode::Audit
    }

    /// Whether a client that had dialled none of the name's addresses is refused, and whether that is enforced.
    pub(crate) fn on_mismatch(&self) -> Option<Mode> {
        self.word.on_mismatch
    }

    /// The same policy's word on a hello that was read only after the name had been decided on, in a tunnel.
    pub(crate) fn hear_hello(&self, worker: &Worker, live: &Live, name: &Name) -> Result<(), Stop> {
        let mut outcome = live.outcome.borrow_mut();
        let Some(port) = outcome.port.filter(|_| has_ech(&outcome)) else { return Ok(()) };
        let word = ask(&self.active, &outcome, name, port, self.now);
        match (word.verdict, word.reason) {
            (Verdict::Refused, Some(reason)) => Err(refused(worker, reason)),
            (Verdict::Audited, Some(reason)) => {
                audit(&mut outcome, reason, None);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Asks the policy about `name` at `port`, and notes its word in the record.
pub(crate) fn decide(worker: &Worker, live: &Live, name: &Name, port: u16, protocol: Protocol) -> Result<Permit, Stop> {
    let active = worker.shared.policy.current();
    live.decided_under(active.generation);
    let now = unix_now();
    let mut outcome = live.outcome.borrow_mut();
    outcome.protocol = protocol;
    let word = ask(&active, &outcome, name, port, now);
    outcome.verdict = word.verdict;
    outcome.reason = word.reason;
    outcome.rule = word.rule_name(&active);
    match (word.verdict, word.reason) {
        (Verdict::Refused, Some(reason)) => Err(refused(worker, reason)),
        _ => Ok(Permit { active, word, now }),
    }
}

/// What the policy refuses is told by the alert that the operator chose.
fn refused(worker: &Worker, reason: Reason) -> Stop {
    let alert = match worker.shared.settings.refusal_alert {
        RefusalAlert::AccessDenied => Alert::ACCESS_DENIED,
        RefusalAlert::UnrecognizedName => Alert::UNRECOGNIZED_NAME,
    };
    Stop { reason, detail: None, answer: Answer::Alert(alert) }
}

/// Notes what would have been refused, were it not for audit. A reason that came before stays, unless it said only that a
/// rule is looked at.
pub(crate) fn audit(outcome: &mut Outcome, reason: Reason, detail: Option<&'static str>) {
    outcome.verdict = Verdict::Audited;
    if matches!(outcome.reason, None | Some(Reason::AuditRule)) {
        outcome.reason = Some(reason);
        outcome.detail = detail;
    }
}

/// The policy's word on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<RuleId>,
    pub(crate) reason: Option<Reason>,
    /// Whether it is not for a client that had dialled none of the name's addresses, and whether that is enforced.
    pub(crate) on_mismatch: Option<Mode>,
}

impl Word {
    /// The rule's name, in the policy that said it.
    pub(crate) fn rule_name(self, active: &Active) -> Option<Arc<str>> {
        self.rule.and_then(|rule| active.policy.rule(rule)).map(|rule| Arc::clone(&rule.name))
    }
}

/// Asks a policy about `name` at `port`, on behalf of whom the record tells.
pub(crate) fn ask(active: &Active, outcome: &Outcome, name: &Name, port: u16, now: i64) -> Word {
    let vpce = outcome.more.as_ref().and_then(|more| more.vpce.as_deref());
    let (client, protocol, ech) = (outcome.client_ip(), outcome.protocol, has_ech(outcome));
    let decision = active.policy.decide(&Request { name, client, port, protocol, now, vpce, ech });
    let (verdict, rule, reason) = match decision {
        Decision::Allow { rule } => (Verdict::Allowed, Some(rule), None),
        Decision::Audit { rule, reason } => (Verdict::Audited, rule, Some(in_our_words(reason))),
        Decision::Refuse { rule, reason } => (Verdict::Refused, rule, Some(in_our_words(reason))),
    };
    Word { verdict, rule, reason, on_mismatch: active.policy.on_mismatch(decision) }
}

fn has_ech(outcome: &Outcome) -> bool {
    outcome.offered.as_ref().is_some_and(|offered| offered.ech)
}

fn in_our_words(reason: sekisho_policy::Reason) -> Reason {
    match reason {
        sekisho_policy::Reason::NoRule => Reason::NoRule,
        sekisho_policy::Reason::DeniedByRule => Reason::DeniedByRule,
        sekisho_policy::Reason::RuleExpired => Reason::RuleExpired,
        sekisho_policy::Reason::AuditRule => Reason::AuditRule,
        sekisho_policy::Reason::EchDenied => Reason::EchDenied,
    }
}

/// Seconds since 1970, UTC. By a clock before that everything that can expire has: a wrong clock opens nothing.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
