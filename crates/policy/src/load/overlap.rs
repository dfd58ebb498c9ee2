//! Rules that can never match because earlier ones, alone or together, take all that they list; and rules that were
//! meant to shut what an earlier one has opened.

mod cover;

pub(crate) use cover::alone as covers;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Severity};
use crate::document::Reader;
use crate::load::Builder;
use crate::load::rule::Draft;
use crate::pattern;
use crate::policy::Listed;
use crate::rule::{Action, RuleInfo};

/// How much work the comparison of rules with several others together may be, in conditions looked at, for all rules of
/// a policy. It is a second at most; a policy that needs more is compared rule by rule only from there on.
pub(super) const BUDGET: u64 = 50_000_000;

/// Compares the rule that is being read with the rules before it.
///
/// What covers the names of a pattern in general covers each of them, so each listed name or pattern is one question: do the
/// earlier rules that list it, or a pattern over it, take every client, port and time of this rule?
pub(super) fn check(builder: &mut Builder<'_>, reader: &mut Reader<'_>, draft: &Draft) {
    // A list that is empty is reported as such; and a first rule has nothing before it, however many names it lists.
    if draft.listed.is_empty() || !builder.sound.contains(&true) {
        return;
    }
    let mut budget = builder.budget;
    check_within(builder, reader, draft, &mut budget);
    builder.budget = budget;
}

fn check_within(builder: &Builder<'_>, reader: &mut Reader<'_>, draft: &Draft, budget: &mut u64) {
    let earlier = Earlier { builder, draft, known: RefCell::default(), budget: RefCell::new(budget) };
    if let Some(by) = earlier.take_all(&draft.listed) {
        let (names, note) = earlier.named(&by);
        let fault = if by.first().is_some_and(|&id| by.len() == 1 && earlier.same(id)) {
            Diagnostic::error("duplicate-rule", format!("the rule says the same as {names}"))
                .help("remove one of the two")
        } else {
            let message = match by.len() {
                1 => format!("the rule can never match: {names} comes first and takes what it lists"),
                _ => format!("the rule can never match: {names} come first and together take what it lists"),
            };
            let help = if by.len() == 1 { "move it before that rule, or remove it" } else { "move it, or remove it" };
            Diagnostic::error("never-matches", message).help(help)
        };
        reader.push(fault.note(note), draft.span);
        return;
    }
    let before = |by: &[u32]| if by.len() == 1 { "before that one" } else { "before them" };
    for (span, text, range) in &draft.items {
        if let Some(by) = draft.listed.get(range.clone()).and_then(|share| earlier.take_all(share)) {
            let (names, note) = earlier.named(&by);
            let take = if by.len() == 1 { "takes it first" } else { "take it first, together" };
            let message = format!("`{text}` never gets to this rule: {names} {take}");
            let mut fault = Diagnostic::warning("host-never-matches", message);
            if earlier.left_open_by(&by) {
                fault.severity = Severity::Error;
            }
            let help = format!("remove it here, or move this rule {}", before(&by));
            reader.push(fault.help(help).note(note), *span);
        }
    }
    // Squid tolerates such lines in a list, but a list of what is to be shut deserves a word.
    if draft.info.action != Action::Deny {
        return;
    }
    let own: usize = draft.items.iter().map(|(_, _, range)| range.len()).sum();
    let lists = draft.listed.get(own..).unwrap_or_default();
    let mut stay_open = lists.iter().filter_map(|listed| {
        let by = earlier.take(listed).filter(|by| earlier.left_open_by(by))?;
        Some((by, listed))
    });
    if let Some((by, listed)) = stay_open.next() {
        let (names, note) = earlier.named(&by);
        let take = if by.len() == 1 { "takes" } else { "together take" };
        let (text, others) = (earlier.spelled(listed), stay_open.count());
        let message =
            format!("`{text}` and {others} more of the lists never get to this rule: {names} {take} it first");
        let fault = Diagnostic::warning("host-never-matches", message);
        let help = format!("move this rule {}, unless this is meant", before(&by));
        reader.push(fault.help(help).note(note), draft.span);
    }
    earlier.warn_of_holes(reader);
}

/// Rules that take something between them, or `None`.
type Takers = Option<Rc<[u32]>>;

/// The rules before the one that is being read.
struct Earlier<'a> {
    builder: &'a Builder<'a>,
    draft: &'a Draft,
    /// Of rules that were asked about: those among them that take everything, or `None`.
    known: RefCell<HashMap<Vec<u32>, Takers>>,
    budget: RefCell<&'a mut u64>,
}

impl Earlier<'_> {
    /// The rules that take a listed name, each needed for a part of it; `None` when something of it is left.
    fn take(&self, listed: &Listed) -> Takers {
        let (shape, name) = self.builder.policy.index.entry(listed.entry);
        let mut ids: Vec<u32> = self
            .builder
            .policy
            .index
            .covering(shape, name)
            .flatten()
            .copied()
            .filter(|&id| self.rule(id).is_some())
            .collect();
        if ids.is_empty() {
            return None;
        }
        ids.sort_unstable();
        ids.dedup();
        if let Some(known) = self.known.borrow().get(&ids) {
            return known.clone();
        }
        let rules: Vec<(u32, &RuleInfo)> = ids.iter().filter_map(|&id| Some((id, self.rule(id)?))).collect();
        let by = cover::by(&rules, &self.draft.info, &mut self.budget.borrow_mut()).map(Rc::from);
        self.known.borrow_mut().insert(ids, by.clone());
        by
    }

    /// The rules that take all of some listed names.
    fn take_all(&self, share: &[Listed]) -> Option<Vec<u32>> {
        let mut all = BTreeSet::new();
        for listed in share {
            all.extend(self.take(listed)?.iter());
        }
        (!all.is_empty()).then(|| all.into_iter().collect())
    }

    /// An earlier rule; `None` for this one, and for one with a fault.
    fn rule(&self, id: u32) -> Option<&RuleInfo> {
        self.builder.sound.get(id as usize).filter(|sound| **sound)?;
        self.builder.policy.rules.get(id as usize)
    }

    /// Whether what is listed to be shut stays open under these rules.
    fn left_open_by(&self, by: &[u32]) -> bool {
        let allow = |&id: &u32| self.rule(id).is_some_and(|rule| rule.action == Action::Allow);
        self.draft.info.action == Action::Deny && by.iter().any(allow)
    }

    /// Whether a rule says the same as this one, which it covers.
    fn same(&self, id: u32) -> bool {
        let (Some(one), other) = (self.rule(id), &self.draft.info) else { return false };
        let lists = |listed: &Listed| self.builder.policy.index.rules_of(listed.entry).contains(&id);
        let count = self.builder.policy.listed.get(id as usize).map(|listed| listed.len());
        (one.action, one.mode, one.expires) == (other.action, other.mode, other.expires)
            && (&one.clients, &one.upstream) == (&other.clients, &other.upstream)
            && (&one.vpc_endpoints, one.ech, one.on_mismatch) == (&other.vpc_endpoints, other.ech, other.on_mismatch)
            && cover::ports(one).eq(cover::ports(other))
            && count == Some(self.draft.listed.len())
            && self.draft.listed.iter().all(lists)
    }

    /// The rules' names for a message, and their places for a note.
    fn named(&self, by: &[u32]) -> (String, String) {
        const SHOWN: usize = 3;
        let rules: Vec<&RuleInfo> = by.iter().filter_map(|&id| self.rule(id)).collect();
        let mut names: Vec<String> = rules.iter().take(SHOWN).map(|rule| format!("`{}`", rule.name)).collect();
        let places = rules.iter().take(SHOWN).map(|rule| format!("`{}` is at {}", rule.name, rule.place));
        let places: Vec<String> = places.collect();
        if rules.len() > SHOWN {
            names.push(format!("{} more", rules.len() - SHOWN));
        }
        let last = names.pop().unwrap_or_default();
        let names = if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
        (names, places.join(", "))
    }

    fn spelled(&self, listed: &Listed) -> String {
        let (shape, text) = self.builder.policy.index.entry(listed.entry);
        pattern::spell(shape, text)
    }

    /// Says which name of this rule, which denies, stays open to some because an earlier rule allows a pattern over it: an exception
    /// that comes too late. A rule that allows the very same name for some clients, before one that denies it to the rest, is
    /// no such case.
    fn warn_of_holes(&self, reader: &mut Reader<'_>) {
        let mut known: HashMap<u32, bool> = HashMap::new();
        let mut hole = |listed: &Listed| {
            let index = &self.builder.policy.index;
            let (shape, name) = index.entry(listed.entry);
            let same = index.rules_of(listed.entry);
            let mut wide = |&id: &u32| {
                let allows = |rule: &&RuleInfo| rule.action == Action::Allow && !rule.expired(self.builder.now);
                *known.entry(id).or_insert_with(|| {
                    self.rule(id).filter(allows).is_some_and(|rule| cover::meet(rule, &self.draft.info))
                })
            };
            let wider =
                index.covering(shape, name).flatten().copied().filter(|id| !same.contains(id) && wide(id)).min()?;
            // What is taken whole has been said.
            self.take(listed).is_none().then_some(wider)
        };
        let mut holes = self.draft.listed.iter().filter_map(|listed| Some((listed, hole(listed)?)));
        let Some((listed, by)) = holes.next() else { return };
        let others = holes.count();
        let (names, note) = self.named(&[by]);
        let more = if others == 0 { " stays".to_owned() } else { format!(" and {others} more stay") };
        let message = format!(
            "`{}`{more} open to whom {names} serves: it comes first and has a pattern over the name",
            self.spelled(listed)
        );
        let fault = Diagnostic::warning("deny-too-late", message);
        reader.push(fault.help("move this rule before that one, unless this is meant").note(note), self.draft.span);
    }
}
