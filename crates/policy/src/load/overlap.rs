//! Rules that can never match because earlier ones take all that they list.

use std::cell::RefCell;

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::Reader;
use crate::load::Builder;
use crate::load::rule::Draft;
use crate::pattern;
use crate::policy::Listed;
use crate::rule::{Action, Protocol, RuleInfo, last_at};

/// Compares the rule that is being read with the rules before it.
///
/// Each listed name is covered when one earlier rule has a pattern over it and every condition of this rule. Rules that
/// cover it only together are not found.
pub(super) fn check(builder: &Builder<'_>, reader: &mut Reader<'_>, draft: &Draft, body: &[u8; 32]) {
    // A list that is empty is reported as such.
    if draft.listed.is_empty() {
        return;
    }
    // Conditions are compared once a rule, not once a name, and only with rules that have a name in common.
    let known: RefCell<Vec<Option<bool>>> = RefCell::new(vec![None; builder.policy.rules.len()]);
    let wide = |id: usize| {
        let (Some(earlier), Some(sound)) = (builder.policy.rules.get(id), builder.sound.get(id)) else { return false };
        match known.borrow_mut().get_mut(id) {
            Some(known) => *known.get_or_insert_with(|| *sound && covers(earlier, &draft.info)),
            None => false,
        }
    };
    let taken = |rules: &[u32]| rules.iter().map(|&id| id as usize).find(|&id| wide(id));
    // The first of the rules that take it decides.
    let covered_by = |listed: &Listed| -> Option<usize> {
        let (shape, name) = builder.policy.index.entry(listed.entry);
        builder.policy.index.covering(shape, name).filter_map(taken).min()
    };
    let all =
        |share: &[Listed]| share.first().and_then(covered_by).filter(|_| share.iter().all(|l| covered_by(l).is_some()));
    let named = |by: usize| {
        let earlier = builder.policy.rules.get(by);
        earlier.map_or_else(Default::default, |rule| {
            (rule.name.to_string(), format!("`{}` is at {}", rule.name, rule.place))
        })
    };
    if let Some(by) = all(&draft.listed) {
        let (name, note) = named(by);
        let fault = if builder.bodies.get(by) == Some(body) {
            Diagnostic::error("duplicate-rule", format!("the rule says the same as `{name}`"))
                .help("remove one of the two")
        } else {
            let message = format!("the rule can never match: `{name}` comes first and takes what it lists");
            Diagnostic::error("never-matches", message).help("move it before that rule, or remove it")
        };
        reader.push(fault.note(note), draft.span);
        return;
    }
    // What is listed to be shut, and stays open.
    let open = |by: usize| {
        let earlier = builder.policy.rules.get(by).map(|rule| rule.action);
        draft.info.action == Action::Deny && earlier == Some(Action::Allow)
    };
    for (span, text, range) in &draft.items {
        if let Some(by) = draft.listed.get(range.clone()).and_then(all) {
            let (name, note) = named(by);
            let message = format!("`{text}` never gets to this rule: `{name}` takes it first");
            let mut fault = Diagnostic::warning("host-never-matches", message);
            if open(by) {
                fault.severity = Severity::Error;
            }
            reader.push(fault.help("remove it here, or move this rule before that one").note(note), *span);
        }
    }
    // Squid tolerates such lines in a list, but a list of what is to be shut deserves a word.
    let own: usize = draft.items.iter().map(|(_, _, range)| range.len()).sum();
    let mut stay_open = draft.listed.iter().skip(own).filter_map(|listed| {
        let by = covered_by(listed).filter(|&by| open(by))?;
        Some((by, listed))
    });
    if let Some((by, listed)) = stay_open.next() {
        let (name, note) = named(by);
        let (shape, text) = builder.policy.index.entry(listed.entry);
        let (text, others) = (pattern::spell(shape, text), stay_open.count());
        let message =
            format!("`{text}` and {others} more of the lists never get to this rule: `{name}` takes it first");
        let fault = Diagnostic::warning("host-never-matches", message);
        reader.push(fault.help("move this rule before that one, unless this is meant").note(note), draft.span);
    }
}

/// Whether `earlier` holds under every condition of `later`, names aside, for as long as `later` is valid.
pub(crate) fn covers(earlier: &RuleInfo, later: &RuleInfo) -> bool {
    let clients = match (&earlier.clients, &later.clients) {
        (None, _) => true,
        (Some(_), None) => false,
        // Both are merged, so a network that is covered lies within one other.
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|net| last_at(wide, net.network()).is_some_and(|w| w.contains(net)))
        }
    };
    let time = match (earlier.expires, later.expires) {
        (None, _) => true,
        (Some(earlier), Some(later)) => earlier >= later,
        (Some(_), None) => false,
    };
    let port = |protocol: Protocol| {
        let own = [protocol.default_port()];
        let ports = later.ports.as_deref().unwrap_or(&own);
        ports.iter().all(|&port| earlier.admits_port(protocol, port))
    };
    clients && time && later.protocols.iter().all(|&p| earlier.protocols.contains(&p) && port(p))
}
