//! The policy's word on a name, and what it permits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sekisho_name::Name;
use sekisho_policy::{Decision, Mode, Protocol, Request, RuleId, Upstream};

use crate::live::Live;
use crate::outcome::Verdict;
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
    rule: Option<RuleId>,
}

impl Permit {
    /// Which addresses may be dialled.
    pub(crate) fn upstream(&self) -> &Upstream {
        self.active.policy.upstream(self.rule)
    }

    /// Whether the whole policy is in audit mode.
    pub(crate) fn audit(&self) -> bool {
        self.active.policy.mode() == Mode::Audit
    }
}

/// Asks the policy about `name` at `port`, and notes its word in the record.
pub(crate) fn decide(worker: &Worker, live: &Live, name: &Name, port: u16, protocol: Protocol) -> Result<Permit, Stop> {
    let active = worker.shared.policy.current();
    live.decided_under(active.generation);
    let mut outcome = live.outcome.borrow_mut();
    outcome.protocol = protocol;
    let word = ask(&active, name, outcome.client.ip(), port, protocol, unix_now());
    outcome.verdict = word.verdict;
    outcome.reason = word.reason;
    outcome.rule = word.rule_name(&active);
    match (word.verdict, word.reason) {
        (Verdict::Refused, Some(reason)) => {
            let alert = match worker.shared.settings.refusal_alert {
                RefusalAlert::AccessDenied => Alert::ACCESS_DENIED,
                RefusalAlert::UnrecognizedName => Alert::UNRECOGNIZED_NAME,
            };
            Err(Stop { reason, detail: None, answer: Answer::Alert(alert) })
        }
        _ => Ok(Permit { active, rule: word.rule }),
    }
}

/// The policy's word on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) verdict: Verdict,
    pub(crate) rule: Option<RuleId>,
    pub(crate) reason: Option<Reason>,
}

impl Word {
    /// The rule's name, in the policy that said it.
    pub(crate) fn rule_name(self, active: &Active) -> Option<Arc<str>> {
        self.rule.and_then(|rule| active.policy.rule(rule)).map(|rule| Arc::clone(&rule.name))
    }
}

/// Asks a policy.
pub(crate) fn ask(active: &Active, name: &Name, client: IpAddr, port: u16, protocol: Protocol, now: i64) -> Word {
    let request = Request { name, client, port, protocol, now };
    let (verdict, rule, reason) = match active.policy.decide(&request) {
        Decision::Allow { rule } => (Verdict::Allowed, Some(rule), None),
        Decision::Audit { rule, reason } => (Verdict::Audited, rule, Some(in_our_words(reason))),
        Decision::Refuse { rule, reason } => (Verdict::Refused, rule, Some(in_our_words(reason))),
    };
    Word { verdict, rule, reason }
}

fn in_our_words(reason: sekisho_policy::Reason) -> Reason {
    match reason {
        sekisho_policy::Reason::NoRule => Reason::NoRule,
        sekisho_policy::Reason::DeniedByRule => Reason::DeniedByRule,
        sekisho_policy::Reason::RuleExpired => Reason::RuleExpired,
        sekisho_policy::Reason::AuditRule => Reason::AuditRule,
    }
}

/// Seconds since 1970, UTC. By a clock before that everything that can expire has: a wrong clock opens nothing.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(i64::MAX, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
