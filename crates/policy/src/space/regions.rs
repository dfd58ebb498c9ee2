//! The names, as nested sets that patterns cut out of one another.
//!
//! `.x` gives two regions: the name `x`, and the names strictly below it; `*.x` the names one label below it; `*-…-an.x` those
//! among them with that ending; and each listed name is a region of its own. A name with an underscore is in none but
//! its own. Around all of them are the names that nothing lists.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::Space;
use crate::index::{Index, Shape, ending};
use crate::policy::Policy;

/// A set of names: `Exact` one name, `OneLabel` and `Ending` as the pattern says, `Below` what is *strictly* below.
/// `None` is every name there is.
pub(crate) type Region<'a> = Option<(Shape, &'a str)>;

/// The next larger region around one, whether or not a policy lists it.
pub(crate) fn around(shape: Shape, name: &str) -> Region<'_> {
    let parent = name.split_once('.').map(|(_, parent)| parent);
    match shape {
        Shape::Exact if name.contains('_') => None,
        Shape::Exact => match ending(name) {
            Some(ending) => Some((Shape::Ending, ending)),
            None => parent.map(|parent| (Shape::OneLabel, parent)),
        },
        Shape::Ending => parent.map(|parent| (Shape::OneLabel, parent)),
        Shape::OneLabel => Some((Shape::Below, name)),
        Shape::Below => parent.map(|parent| (Shape::Below, parent)),
    }
}

/// The regions that an index's entry makes: one, or for `.x` two.
pub(crate) fn made_by(index: &Index, entry: u32) -> impl Iterator<Item = (Shape, &str)> {
    let (shape, name) = index.entry(entry);
    // A name that is listed for itself too has its entry.
    let itself = (shape == Shape::Below && index.find(Shape::Exact, name).is_none()).then_some((Shape::Exact, name));
    std::iter::once((shape, name)).chain(itself)
}

/// One policy's regions, with the behaviour of each.
pub(crate) struct Regions<'p> {
    policy: &'p Policy,
    /// Of each list of rules its id.
    lists: HashMap<&'p [u32], u32, RandomState>,
    /// Of each rule the id of the list of it alone, or 0.
    single: Vec<u32>,
    /// Rules that hold below a domain: those of the domain around it, and a list more.
    chains: HashMap<(u32, u32), u32, RandomState>,
    chained: Vec<(u32, u32)>,
    listed: Vec<&'p [u32]>,
    /// What holds below and one label below some domains: names share few parents.
    domains: HashMap<&'p str, Domain, RandomState>,
    behaviours: HashMap<Key, u32, RandomState>,
    by_rules: HashMap<Vec<u32>, u32, RandomState>,
    /// The last pair that was asked for.
    last: Option<((Key, Key), (u32, u32))>,
}

/// Which rules there are for a region: ids of lists, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Key {
    exact: u32,
    ending: u32,
    one_label: u32,
    chain: u32,
}

#[derive(Clone, Copy, Default)]
struct Domain {
    one_label: u32,
    chain: u32,
}

/// How many domains are remembered. More would be as many as there are names.
const REMEMBERED: usize = 1 << 16;

impl<'p> Regions<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            lists: HashMap::default(),
            single: vec![0; policy.rules.len()],
            chains: HashMap::default(),
            chained: vec![(0, 0)],
            listed: vec![&[]],
            domains: HashMap::default(),
            behaviours: HashMap::default(),
            by_rules: HashMap::default(),
            last: None,
        }
    }

    /// The behaviour of names in a region that no smaller one holds, and of those around it.
    pub(crate) fn pair(&mut self, space: &mut Space, shape: Shape, name: &'p str) -> (u32, u32) {
        let own = self.list(shape, name);
        self.pair_with(space, shape, name, own)
    }

    /// The same of the region of an entry, whose rules need not be looked up.
    pub(crate) fn pair_of(&mut self, space: &mut Space, entry: u32) -> (u32, u32) {
        let (shape, name) = self.policy.index.entry(entry);
        let own = self.id(self.policy.index.rules_of(entry));
        self.pair_with(space, shape, name, own)
    }

    /// `own` are the rules that list exactly this.
    fn pair_with(&mut self, space: &mut Space, shape: Shape, name: &'p str, own: u32) -> (u32, u32) {
        let (own, outer) = self.keys(shape, name, own);
        // Long lists have the same twice and a million times.
        if let Some((_, known)) = self.last.filter(|(keys, _)| *keys == (own, outer)) {
            return known;
        }
        let found = (self.of_key(space, own), self.of_key(space, outer));
        self.last = Some(((own, outer), found));
        found
    }

    /// The behaviour of the names that nothing lists.
    pub(crate) fn root(&mut self, space: &mut Space) -> u32 {
        self.of_key(space, Key::default())
    }

    fn of_key(&mut self, space: &mut Space, key: Key) -> u32 {
        if let Some(&known) = self.behaviours.get(&key) {
            return known;
        }
        let mut rules = Vec::new();
        for list in [key.exact, key.ending, key.one_label] {
            rules.extend_from_slice(self.listed.get(list as usize).copied().unwrap_or_default());
        }
        let mut chain = key.chain;
        while let Some(&(outer, list)) = self.chained.get(chain as usize).filter(|_| chain != 0) {
            rules.extend_from_slice(self.listed.get(list as usize).copied().unwrap_or_default());
            chain = outer;
        }
        rules.sort_unstable();
        rules.dedup();
        let behaviour = self.of_rules(space, rules);
        self.behaviours.insert(key, behaviour);
        behaviour
    }

    /// The behaviour of one name, which need not be a listed one.
    pub(crate) fn behaviour_of_name(&mut self, space: &mut Space, name: &str) -> u32 {
        // What remembers names by reference is left out.
        let mut rules: Vec<u32> = self.policy.index.covering(Shape::Exact, name).flatten().copied().collect();
        rules.sort_unstable();
        rules.dedup();
        self.of_rules(space, rules)
    }

    /// How many names and patterns the policy lists.
    pub(crate) fn entries(&self) -> usize {
        self.policy.index.len() as usize
    }

    fn of_rules(&mut self, space: &mut Space, rules: Vec<u32>) -> u32 {
        if let Some(&known) = self.by_rules.get(&rules) {
            return known;
        }
        let behaviour = space.behaviour(self.policy, &rules);
        self.by_rules.insert(rules, behaviour);
        behaviour
    }

    /// Which rules there are for a region, `own` among them, and for what is around it.
    fn keys(&mut self, shape: Shape, name: &'p str, own: u32) -> (Key, Key) {
        if shape == Shape::Exact && name.contains('_') {
            return (Key { exact: own, ..Key::default() }, Key::default());
        }
        let Domain { one_label, chain } = self.domain(name.split_once('.').map_or("", |(_, parent)| parent));
        match shape {
            Shape::Exact => {
                let below = self.list(Shape::Below, name);
                let ending = ending(name).map_or(0, |ending| self.list(Shape::Ending, ending));
                let outer = Key { exact: 0, ending, one_label, chain };
                (Key { exact: own, chain: self.chain(chain, below), ..outer }, outer)
            }
            Shape::Ending => {
                let outer = Key { one_label, chain, ..Key::default() };
                (Key { ending: own, ..outer }, outer)
            }
            Shape::OneLabel => {
                let below = self.list(Shape::Below, name);
                let outer = Key { chain: self.chain(chain, below), ..Key::default() };
                (Key { one_label: own, ..outer }, outer)
            }
            Shape::Below => (Key { chain: self.chain(chain, own), ..Key::default() }, Key { chain, ..Key::default() }),
        }
    }

    fn domain(&mut self, name: &'p str) -> Domain {
        let index = &self.policy.index;
        if name.is_empty() || index.lacks(Shape::Below) && index.lacks(Shape::OneLabel) {
            return Domain::default();
        }
        if let Some(&known) = self.domains.get(name) {
            return known;
        }
        // A name has at most 127 labels, so this is no deep recursion.
        let outer = name.split_once('.').map_or_else(Domain::default, |(_, parent)| self.domain(parent));
        let (one_label, own) = (self.list(Shape::OneLabel, name), self.list(Shape::Below, name));
        let domain = Domain { one_label, chain: self.chain(outer.chain, own) };
        if self.domains.len() >= REMEMBERED {
            self.domains.clear();
        }
        self.domains.insert(name, domain);
        domain
    }

    fn chain(&mut self, outer: u32, list: u32) -> u32 {
        if list == 0 {
            return outer;
        }
        let next = u32::try_from(self.chained.len()).unwrap_or(u32::MAX);
        let id = *self.chains.entry((outer, list)).or_insert(next);
        if id == next {
            self.chained.push((outer, list));
        }
        id
    }

    /// The id of the rules that list exactly this; equal lists have one id.
    fn list(&mut self, shape: Shape, name: &str) -> u32 {
        self.id(self.policy.index.rules(shape, name))
    }

    /// The id of some rules.
    fn id(&mut self, rules: &'p [u32]) -> u32 {
        if rules.is_empty() {
            return 0;
        }
        // Most names have one rule.
        if let [rule] = rules
            && let Some(&id) = self.single.get(*rule as usize).filter(|id| **id != 0)
        {
            return id;
        }
        let next = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
        let id = *self.lists.entry(rules).or_insert(next);
        if id == next {
            self.listed.push(rules);
        }
        if let [rule] = rules
            && let Some(single) = self.single.get_mut(*rule as usize)
        {
            *single = id;
        }
        id
    }
}
