//! Domains under which anybody can get a name: registries' and shared hosts', by the Public Suffix List.
//!
//! A library that finds a name's suffix does not say which suffixes are *below* a name, which is what a leading dot is asked.
//! So the list itself is here, its rules in the order of their labels from the right: `cargo xtask suffixes` makes it. Data of
//! others, under the Mozilla Public License 2.0, which asks that this file stay under it and nothing of what is beside it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use foldhash::fast::RandomState;

/// The list: rules, each with its section, sorted.
const LIST: &str = include_str!("suffix/list.txt");

/// Who gives names out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Giver {
    /// A registry.
    Registry,
    /// A host of many, such as a cloud.
    Host,
}

/// What a pattern over a name covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// The suffix: the name itself, or one below it.
    pub(crate) suffix: String,
    /// Who gives names out under it.
    pub(crate) giver: Giver,
}

/// Top-level domains in which no stranger gets a name: RFC 6761, RFC 6762 appendix G, and ICANN's `internal`.
const PRIVATE: &[&str] =
    &["corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "private", "test"];

type Map<T> = HashMap<String, T, RandomState>;

/// The list, by name.
#[derive(Default)]
struct Rules {
    /// Rules that are a name.
    exact: Map<Giver>,
    /// Rules `*.NAME`, by the name.
    wild: Map<Giver>,
    /// Rules `!NAME`.
    exceptions: HashSet<String, RandomState>,
    /// What is above a rule, with the nearest that is below.
    above: Map<Shared>,
}

/// The suffix that a name is, or one that is below it.
pub(crate) fn at_or_below(name: &str) -> Option<Shared> {
    let at = at(name).map(|giver| Shared { suffix: name.to_owned(), giver });
    at.or_else(|| rules().above.get(name).cloned())
}

/// Whether the name is itself a suffix, by the rules of the list's own documentation: the longest rule counts, exceptions
/// before all, and `*` where there is none.
fn at(name: &str) -> Option<Giver> {
    if let Some(giver) = rules().exact.get(name) {
        return Some(*giver);
    }
    let Some((_, parent)) = name.split_once('.') else {
        return (!PRIVATE.contains(&name)).then_some(Giver::Registry);
    };
    rules().wild.get(parent).copied().filter(|_| !rules().exceptions.contains(name))
}

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        let lines = LIST.lines().filter(|line| !line.starts_with('#'));
        let mut rules = Rules::default();
        for (rule, section) in lines.filter_map(|line| line.split_once(' ')) {
            rules.add(&rule.rsplit('.').collect::<Vec<_>>().join("."), section);
        }
        rules
    })
}

impl Rules {
    fn add(&mut self, rule: &str, section: &str) {
        let giver = if section == "i" { Giver::Registry } else { Giver::Host };
        if let Some(name) = rule.strip_prefix('!') {
            self.exceptions.insert(name.to_owned());
            return;
        }
        match rule.strip_prefix("*.") {
            Some(name) => self.wild.entry(name.to_owned()).or_insert(giver),
            None => self.exact.entry(rule.to_owned()).or_insert(giver),
        };
        let mut rest = rule;
        while let Some((_, parent)) = rest.split_once('.') {
            let new = Shared { suffix: rule.to_owned(), giver };
            let known = self.above.entry(parent.to_owned()).or_insert_with(|| new.clone());
            if rule.len() < known.suffix.len() {
                *known = new;
            }
            rest = parent;
        }
    }
}
