//! `lint:`, by which a policy says what its rules must have: somebody to ask before one is renewed or removed.

use crate::diagnostic::Diagnostic;
use crate::document::{Node, Reader};
use crate::load::Builder;
use crate::load::rule::Draft;

/// The keys of `lint`.
pub(crate) const KEYS: &[&str] = &["require"];

/// What a rule may be required to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needed {
    Owner,
    Ticket,
    Reason,
}

impl Needed {
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("owner", Self::Owner), ("ticket", Self::Ticket), ("reason", Self::Reason)];

    fn of(self, draft: &Draft) -> Option<&str> {
        match self {
            Self::Owner => draft.info.owner.as_deref(),
            Self::Ticket => draft.info.ticket.as_deref(),
            Self::Reason => draft.info.reason.as_deref(),
        }
    }
}

impl Builder<'_> {
    /// Reads `lint`.
    pub(super) fn lint(&mut self, reader: &mut Reader<'_>, node: &Node) {
        let Some(fields) = reader.fields(node, "`lint`", KEYS) else { return };
        let Some(node) = fields.get("require") else { return };
        let items = reader.list(node, "a list of what each rule must have").unwrap_or_default();
        self.required = Some(
            items
                .iter()
                .filter_map(|item| reader.one_of(item, "a key of rules that can be required", Needed::WORDS))
                .collect(),
        );
    }

    /// Looks for what the policy requires of its rules; where it says nothing, a rule that names nobody at all is warned of.
    pub(super) fn owned(&self, reader: &mut Reader<'_>, draft: &Draft) {
        let fault = match &self.required {
            Some(required) => {
                let missing = Needed::WORDS.iter().filter(|(_, key)| required.contains(key) && key.of(draft).is_none());
                let missing: Vec<_> = missing.map(|(word, _)| format!("`{word}`")).collect();
                let all = missing.join(" and ");
                (!missing.is_empty()).then(|| {
                    let fault = Diagnostic::error("unowned-rule", format!("the rule has no {all}"));
                    fault.help("add what `lint: { require: … }` of this policy asks for")
                })
            }
            None if draft.info.owner.is_none() && draft.info.ticket.is_none() => Some(
                Diagnostic::warning("unowned-rule", "the rule has neither `owner` nor `ticket`")
                    .help("say whom to ask about it; or require it of every rule, or of none, by `lint: { require: [owner] }`"),
            ),
            None => None,
        };
        if let Some(fault) = fault {
            reader.push(fault, draft.span);
        }
    }
}
