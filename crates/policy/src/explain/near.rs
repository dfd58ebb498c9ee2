//! Which listed names are nearest to one that none covers.

use crate::explain::{Miss, covers};
use crate::index::Shape;
use crate::pattern;
use crate::policy::{Listed, Policy};
use crate::rule::{Action, Request, RuleId, RuleInfo};
use crate::s3::{Class, classify, is_absent};

/// How many rules are shown.
const SHOWN: usize = 3;

/// How near a listed name is, the nearest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// It covers the name; another condition fails.
    Conditions,
    /// The same bucket and region by another endpoint form.
    Form,
    /// The same bucket in another region.
    Region,
    /// The same bucket by a name that says no region, and so perhaps of another one.
    Loose,
    /// A pattern that stops short of it.
    Pattern,
    /// A slip of so many letters.
    Slip(usize),
}

/// Allow rules that nearly matched, nearest first, each with all that it missed by.
pub(super) fn misses(policy: &Policy, request: &Request<'_>, decided: Option<RuleId>) -> Vec<Miss> {
    let mut best: Vec<(Nearness, RuleId, Listed)> = Vec::new();
    for (id, (rule, listed)) in (0..).map(RuleId).zip(policy.rules.iter().zip(&policy.listed)) {
        // Rules after a deny rule that matched, and expired ones, are worth showing; the one that decided is shown already.
        if rule.action == Action::Deny || decided == Some(id) {
            continue;
        }
        let nearest = listed
            .iter()
            .filter_map(|listed| {
                let (shape, text) = policy.index.entry(listed.entry);
                nearness(shape, text, request.name.as_str()).map(|near| (near, *listed))
            })
            .min_by_key(|(near, _)| *near)
            .filter(|(near, _)| *near != Nearness::Form || exists(policy, listed, request.name.as_str()));
        best.extend(nearest.map(|(near, listed)| (near, id, listed)));
    }
    best.sort_by_key(|(near, id, _)| (*near, *id));
    best.truncate(SHOWN);
    best.into_iter()
        .filter_map(|(near, id, listed)| {
            let rule = policy.rule(id)?;
            let (shape, text) = policy.index.entry(listed.entry);
            let mut by: Vec<String> = name_differs(near, shape, text, request.name.as_str()).into_iter().collect();
            by.extend(conditions(rule, request));
            if by.is_empty() {
                by.push("an earlier rule decides".to_owned());
            }
            Some(Miss { rule: policy.described(id, &listed)?, by })
        })
        .collect()
}

/// Whether a name that says no region is one of the bucket's in some region in which a rule lists it.
fn exists(policy: &Policy, listed: &[Listed], name: &str) -> bool {
    let Class::Pins { kind, subject, form, region: None, suffix } = classify(name) else { return true };
    let mut regions = listed
        .iter()
        .filter_map(|listed| match classify(policy.index.entry(listed.entry).1) {
            Class::Pins { kind: k, subject: s, region, suffix: x, .. } if (k, s, x) == (kind, subject, suffix) => {
                region
            }
            _ => None,
        })
        .peekable();
    regions.peek().is_none() || regions.any(|region| !is_absent(kind, form, region))
}

fn nearness(shape: Shape, text: &str, name: &str) -> Option<Nearness> {
    if covers(shape, text, name) {
        return Some(Nearness::Conditions);
    }
    let below = name.strip_suffix(text).is_some_and(|rest| rest.ends_with('.'));
    match shape {
        Shape::OneLabel if below || name == text => return Some(Nearness::Pattern),
        Shape::Below if below => return Some(Nearness::Pattern),
        Shape::OneLabel | Shape::Below | Shape::Ending => return None,
        Shape::Exact => {}
    }
    if let (
        Class::Pins { kind, subject, form, region, suffix },
        Class::Pins { kind: asked_kind, subject: asked, form: asked_form, region: asked_region, suffix: asked_suffix },
    ) = (classify(text), classify(name))
    {
        if (kind, subject, suffix) == (asked_kind, asked, asked_suffix) {
            // What its region does not have, no rule can list.
            if asked_region.or(region).is_some_and(|region| is_absent(kind, asked_form, region)) {
                return None;
            }
            return Some(if region == asked_region || asked_region.is_none() {
                Nearness::Form
            } else if region.is_none() {
                Nearness::Loose
            } else {
                Nearness::Region
            });
        }
        if form != asked_form || region != asked_region {
            return None;
        }
    } else if below {
        return Some(Nearness::Pattern);
    }
    // Cheap tests first: there may be a million names.
    if text.len().abs_diff(name.len()) > 2 {
        return None;
    }
    let distance = strsim::osa_distance(text, name);
    (distance <= 2).then_some(Nearness::Slip(distance))
}

fn name_differs(near: Nearness, shape: Shape, text: &str, name: &str) -> Option<String> {
    let spelled = pattern::spell(shape, text);
    Some(match near {
        Nearness::Conditions => return None,
        Nearness::Form | Nearness::Loose => {
            let Class::Pins { form, .. } = classify(name) else { return None };
            match form.word() {
                Some(word) => format!("the endpoint form `{word}` is not listed: add it to the bucket's `endpoints:`"),
                None => "the interface endpoint is not listed: add it to the bucket's `vpce:`".to_owned(),
            }
        }
        Nearness::Region => match (classify(text), classify(name)) {
            (Class::Pins { region: Some(listed), .. }, Class::Pins { subject, region: Some(asked), .. }) => format!(
                "the region: it lists {listed}, asked for {asked}: add `{{ name: {subject}, region: {asked} }}`, or give the client the right region"
            ),
            _ => "the region or partition".to_owned(),
        },
        Nearness::Pattern if name.contains('_') => {
            format!("the name has an underscore, which no pattern matches: list `{name}` itself")
        }
        Nearness::Pattern if shape == Shape::OneLabel => format!("`{spelled}` is exactly one label before `{text}`"),
        Nearness::Pattern => format!("`{spelled}` is that name alone: `.{text}` would be all below it too"),
        Nearness::Slip(1) => format!("one letter: it lists {spelled}"),
        Nearness::Slip(letters) => format!("{letters} letters: it lists {spelled}"),
    })
}

/// The conditions besides the name that fail.
fn conditions(rule: &RuleInfo, request: &Request<'_>) -> Vec<String> {
    let mut by = Vec::new();
    if !rule.protocols.contains(&request.protocol) {
        by.push(format!("the protocol: it is not for `{}`: see its `protocols:`", request.protocol.label()));
    }
    if !rule.admits_port(request.protocol, request.port) {
        by.push(format!("the port: {} is not one of its `ports:`", request.port));
    }
    if !rule.admits_client(request.client) {
        by.push(format!("the client: {} is in none of its `clients:`", request.client.to_canonical()));
    }
    if !rule.admits_vpce(request.vpce) {
        by.push(match request.vpce {
            Some(vpce) => format!("the VPC endpoint: {vpce} is none of its `vpc_endpoints:`"),
            None => "the VPC endpoint: it is for what comes through one of its `vpc_endpoints:` (`--vpce`)".to_owned(),
        });
    }
    if rule.expired(request.now) {
        let until = rule.expires.and_then(|last| jiff::Timestamp::from_second(last).ok());
        by.push(format!("the time: it expired at {}", until.map(|t| t.to_string()).unwrap_or_default()));
    }
    by
}
