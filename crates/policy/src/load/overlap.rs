//! Rules that can never match because earlier ones take all that they list.

use crate::diagnostic::Diagnostic;
use crate::document::Reader;
use crate::load::Builder;
use crate::load::rule::Draft;
use crate::policy::Listed;
use crate::rule::{Protocol, RuleInfo};

/// Compares the rule that is being read with the rules before it.
///
/// Each listed name is covered when one earlier rule has a pattern over it and every condition of this rule. Rules that
/// cover it only together are not found.
pub(super) fn check(builder: &Builder<'_>, reader: &mut Reader<'_>, draft: &Draft, body: &[u8; 32]) {
    // A list that is empty is reported as such.
    if draft.listed.is_empty() {
        return;
    }
    // Conditions are compared once a rule, not once a name.
    let wide: Vec<bool> = (builder.policy.rules.iter())
        .zip(&builder.sound)
        .map(|(earlier, sound)| *sound && covers(earlier, &draft.info))
        .collect();
    let covered_by =
        |listed: &Listed| -> Option<usize> {
            let (shape, name) = builder.policy.index.entry(listed.entry);
            builder.policy.index.covering(shape, name).find_map(|rules| {
                rules.iter().map(|&id| id as usize).find(|&id| wide.get(id).copied().unwrap_or(false))
            })
        };
    let first = draft.listed.first().and_then(covered_by);
    if let Some(by) = first {
        if draft.listed.iter().all(|listed| covered_by(listed).is_some()) {
            let earlier = builder.policy.rules.get(by);
            let (name, place) =
                earlier.map_or((String::new(), String::new()), |r| (r.name.to_string(), r.place.to_string()));
            let same = builder.bodies.get(by) == Some(body);
            let fault = if same {
                Diagnostic::error("duplicate-rule", format!("the rule says the same as `{name}`"))
                    .help("remove one of the two")
            } else {
                Diagnostic::error(
                    "never-matches",
                    format!("the rule can never match: `{name}` comes first and takes what it lists"),
                )
                .help("move it before that rule, or remove it")
            };
            reader.push(fault.note(format!("`{name}` is at {place}")), draft.span);
            return;
        }
    }
    for (span, text, range) in &draft.items {
        let listed = draft.listed.get(range.clone()).unwrap_or_default();
        let by = listed.first().and_then(covered_by);
        if let Some(by) = by.filter(|_| listed.iter().all(|listed| covered_by(listed).is_some())) {
            let earlier = builder.policy.rules.get(by);
            let (name, place) =
                earlier.map_or((String::new(), String::new()), |r| (r.name.to_string(), r.place.to_string()));
            let fault = Diagnostic::warning(
                "host-never-matches",
                format!("`{text}` never gets to this rule: `{name}` takes it first"),
            );
            let fault = fault.help("remove it here, or move this rule before that one");
            reader.push(fault.note(format!("`{name}` is at {place}")), *span);
        }
    }
}

/// Whether `earlier` holds under every condition of `later`, names aside, for as long as `later` is valid.
fn covers(earlier: &RuleInfo, later: &RuleInfo) -> bool {
    let clients = match (&earlier.clients, &later.clients) {
        (None, _) => true,
        (Some(_), None) => false,
        // Both are merged, so a network that is covered lies within one other.
        (Some(wide), Some(narrow)) => narrow.iter().all(|net| wide.iter().any(|wide| wide.contains(net))),
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
