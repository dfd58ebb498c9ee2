//! What changes between two policies: for which names, clients, ports, protocols and times another outcome holds.
//!
//! Exact: every request whose outcome differs is in a change, and every request in a change has the outcomes that it says.

mod access;
mod conditions;
mod names;
mod render;

use std::collections::{BTreeMap, HashMap};

use sekisho_name::Name;

pub use access::AccessChange;
pub use conditions::{Conditions, Endpoints};
pub use names::{Names, Set};

use crate::policy::Policy;
use crate::rule::{Mode, OnRevoke, Request};
use crate::space::{Outcome, Space};

/// All that a change of policy changes; [empty](Diff::is_empty) exactly when the digests of the two are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// What becomes of requests, what opens first.
    pub changes: Vec<Change>,
    /// `mode` before and after, when it changes.
    pub mode: Option<(Mode, Mode)>,
    /// `on_revoke` before and after, when it changes.
    pub on_revoke: Option<(OnRevoke, OnRevoke)>,
    /// Rules whose `access` changes. No decision, and so no digest, has it: it is for the AWS policies that are exported.
    pub access: Vec<AccessChange>,
}

/// Requests that have one outcome before and another after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What the change comes to.
    pub effect: Effect,
    /// What became of them.
    pub before: Outcome,
    /// What becomes of them.
    pub after: Outcome,
    /// Their names: any of these.
    pub names: Vec<Names>,
    /// The rest of them: any of these, together with any of the names.
    pub when: Vec<Conditions>,
}

/// What a change comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Something passes that did not: a request (audited ones pass), or an address to dial.
    Opens,
    /// Something does not pass that did.
    Shuts,
    /// The same passes, recorded with another verdict or reason; or refused for another reason.
    Alters,
}

impl Effect {
    /// Every effect that there is, in the order in which they are shown.
    pub const ALL: &[Self] = &[Self::Opens, Self::Shuts, Self::Alters];

    /// Its word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Shuts => "shuts",
            Self::Alters => "alters",
        }
    }

    fn of(before: &Outcome, after: &Outcome) -> Self {
        if after.opens(before) {
            Self::Opens
        } else if before.opens(after) {
            Self::Shuts
        } else {
            Self::Alters
        }
    }
}

impl Change {
    /// Whether a request is among those that change so.
    pub fn holds(&self, request: &Request<'_>) -> bool {
        self.names.iter().any(|names| names.hold(request.name.as_str()))
            && self.when.iter().any(|conditions| conditions.hold(request))
    }

    /// Requests that change so: the witness of each of the names, under the first point of each of the conditions.
    pub fn witnesses(&self) -> impl Iterator<Item = (Name, &Conditions)> {
        // A witness is a name that both policies were asked about, so it is one.
        let names = self.names.iter().filter_map(|names| Name::parse(&names.witness).ok());
        names.flat_map(|name| self.when.iter().map(move |conditions| (name.clone(), conditions)))
    }
}

impl Diff {
    /// Whether nothing changes for the gate: [`Diff::access`] is not asked.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.mode.is_none() && self.on_revoke.is_none()
    }

    /// Whether anything passes that did not.
    pub fn opens(&self) -> bool {
        self.changes.iter().any(|change| change.effect == Effect::Opens)
    }
}

impl Policy {
    /// What changes when this policy is replaced by another.
    pub fn diff(&self, new: &Self) -> Diff {
        let mut space = Space::default();
        // Changes are told apart by what changes, not by which rules say so.
        let mut changes: Vec<Change> = Vec::new();
        let mut known: HashMap<(Outcome, Outcome, Vec<Conditions>), usize> = HashMap::new();
        for ((old_behaviour, new_behaviour), names) in names::differing(self, new, &mut space) {
            let mut by_outcome: BTreeMap<(u32, u32), Vec<Conditions>> = BTreeMap::new();
            for (outcomes, conditions) in conditions::differing(&space, old_behaviour, new_behaviour) {
                by_outcome.entry(outcomes).or_default().push(conditions);
            }
            for ((before, after), when) in by_outcome {
                let (Some(before), Some(after)) = (space.outcome(before), space.outcome(after)) else { continue };
                let at = *known.entry((before.clone(), after.clone(), when.clone())).or_insert_with(|| {
                    let effect = Effect::of(&before, &after);
                    changes.push(Change { effect, before, after, names: Vec::new(), when });
                    changes.len() - 1
                });
                if let Some(change) = changes.get_mut(at) {
                    change.names.extend(names.iter().cloned());
                }
            }
        }
        for change in &mut changes {
            change.names.sort();
        }
        changes.sort_by(|a, b| (a.effect, &a.names, &a.when).cmp(&(b.effect, &b.names, &b.when)));
        Diff {
            changes,
            mode: (self.mode != new.mode).then_some((self.mode, new.mode)),
            on_revoke: (self.on_revoke != new.on_revoke).then_some((self.on_revoke, new.on_revoke)),
            access: access::differing(self, new),
        }
    }
}
