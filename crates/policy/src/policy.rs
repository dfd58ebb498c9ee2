//! A policy that is in force: rules, the names that they list, and the decision.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sekisho_name::Name;

use crate::index::{Index, Shape};
use crate::rule::{Action, Decision, Ech, Mode, OnMismatch, OnRevoke, Reason, Request, RuleId, RuleInfo, Upstream};

/// Rules in order, ready to decide. Immutable: a change of the files makes another one.
pub struct Policy {
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) index: Index,
    /// Of each rule, what it lists, in the order of the files.
    pub(crate) listed: Vec<Box<[Listed]>>,
    /// The files that `Listed::file` counts.
    pub(crate) files: Vec<Arc<str>>,
    pub(crate) mode: Mode,
    pub(crate) on_revoke: OnRevoke,
    pub(crate) digest: String,
}

/// A name that a rule lists, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    /// Its entry in the index.
    pub(crate) entry: u32,
    /// Its line, from 1.
    pub(crate) line: u32,
    /// A position in `Policy::files`.
    pub(crate) file: u16,
}

impl Policy {
    /// Decides one request: the first rule that matches, expired allow rules skipped; nothing matches, refused.
    /// Allocates nothing; its cost grows with the name's labels and with the rules that list this very name.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let (mut first, mut expired) = (None, None);
        self.index.cover_name(request.name.as_str(), |rules| {
            for &id in rules {
                if first.is_some_and(|(found, _)| found < id) {
                    break;
                }
                let Some(rule) = self.rules.get(id as usize).filter(|rule| rule.admits(request)) else { continue };
                if rule.expired(request.now) {
                    // The earliest expired rule is the one to name.
                    expired = Some(expired.map_or(id, |other: u32| other.min(id)));
                    continue;
                }
                first = Some((id, rule));
                break;
            }
        });
        match (first, expired) {
            (Some((id, rule)), _) => self.by_rule(RuleId(id), rule, request.ech),
            (None, Some(id)) => self.refusal(Some(RuleId(id)), Reason::RuleExpired),
            (None, None) => self.refusal(None, Reason::NoRule),
        }
    }

    pub(crate) fn by_rule(&self, id: RuleId, rule: &RuleInfo, ech: bool) -> Decision {
        let some = Some(id);
        match (rule.action, rule.mode) {
            (Action::Allow, mode) if ech && rule.ech != Ech::Allow => match (rule.ech, mode) {
                (Ech::Deny, Mode::Enforce) => self.refusal(some, Reason::EchDenied),
                _ => Decision::Audit { rule: some, reason: Reason::EchDenied },
            },
            (Action::Allow, Mode::Enforce) => Decision::Allow { rule: id },
            (Action::Allow, Mode::Audit) => Decision::Audit { rule: some, reason: Reason::AuditRule },
            (Action::Deny, Mode::Enforce) => self.refusal(some, Reason::DeniedByRule),
            (Action::Deny, Mode::Audit) => Decision::Audit { rule: some, reason: Reason::DeniedByRule },
        }
    }

    pub(crate) fn refusal(&self, rule: Option<RuleId>, reason: Reason) -> Decision {
        match self.mode {
            Mode::Enforce => Decision::Refuse { rule, reason },
            Mode::Audit => Decision::Audit { rule, reason },
        }
    }

    /// A rule by its id; `None` for an id of another policy.
    pub fn rule(&self, id: RuleId) -> Option<&RuleInfo> {
        self.rules.get(id.0 as usize)
    }

    /// The rules that list a name, or a pattern that covers it, whatever their other conditions; not in order, and one may
    /// come twice.
    pub(crate) fn covering(&self, name: &Name) -> impl Iterator<Item = RuleId> + use<'_> {
        let all: Vec<RuleId> =
            self.index.covering(Shape::Exact, name.as_str()).flatten().map(|&id| RuleId(id)).collect();
        all.into_iter()
    }

    /// The rules in order; a rule's position is its [`RuleId`].
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// Which addresses may be dialled under this rule; without a rule (audit), public ones.
    pub fn upstream(&self, rule: Option<RuleId>) -> &Upstream {
        rule.and_then(|id| self.rule(id)).map_or(&Upstream::Public, |rule| &rule.upstream)
    }

    /// What becomes of a client that had dialled none of the name's addresses, by a decision of this policy on its request:
    /// `Some` where it is to be refused, with whether that is enforced.
    pub fn on_mismatch(&self, decision: Decision) -> Option<Mode> {
        let (rule, mode) = self.allowing(decision)?;
        (rule.on_mismatch == OnMismatch::Refuse).then_some(mode)
    }

    /// What the rule that let a request through does with hellos that have an `encrypted_client_hello` extension.
    pub(crate) fn ech(&self, decision: Decision) -> Ech {
        match self.allowing(decision).map(|(rule, mode)| (rule.ech, mode)) {
            Some((Ech::Deny, Mode::Audit)) => Ech::Log,
            Some((ech, _)) => ech,
            None => Ech::Allow,
        }
    }

    /// The rule in force by which a request is let through, and whether what it refuses is refused. What only audit lets
    /// through has none.
    fn allowing(&self, decision: Decision) -> Option<(&RuleInfo, Mode)> {
        let by_it = match decision {
            Decision::Allow { .. } => true,
            Decision::Audit { reason, .. } => matches!(reason, Reason::AuditRule | Reason::EchDenied),
            Decision::Refuse { .. } => false,
        };
        let rule = decision.rule().filter(|_| by_it).and_then(|id| self.rule(id))?;
        let enforced = (self.mode, rule.mode) == (Mode::Enforce, Mode::Enforce);
        Some((rule, if enforced { Mode::Enforce } else { Mode::Audit }))
    }

    /// Whether refusals are enforced.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What happens to open connections that this policy refuses.
    pub fn on_revoke(&self) -> OnRevoke {
        self.on_revoke
    }

    /// SHA-256, as 64 hex digits, of what the policy means: the [`Outcome`](crate::Outcome) of every name, client, port,
    /// protocol and time, and `on_revoke`. Policies that decide alike have one digest, however they are written.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("digest", &self.digest).field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}
