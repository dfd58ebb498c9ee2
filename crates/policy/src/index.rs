//! The names that the rules list, found by hash: a question costs a few look-ups per label, however long the lists are.
//!
//! A million names must fit in little memory, so the text of all lies in one string, and an entry is a few bytes. Patterns
//! have tables of their own: beside a million names they are few, and what is asked of every name stays in the
//! processor's caches.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use memchr::{memchr, memrchr_iter};

/// What a listed name covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// This name alone.
    Exact,
    /// `*.x`: any one label before `x`.
    OneLabel,
    /// `.x`: `x` and all below it.
    Below,
    /// `*-ACCT-REGION-an.x`: any first label with this ending, which belongs to one account (S3's account-regional form).
    Ending,
}

/// Listed names and the rules that list them.
#[derive(Default)]
pub(crate) struct Index {
    text: String,
    entries: Vec<Entry>,
    /// Of each shape, its entries by the hash of their text.
    tables: [HashTable<Slot>; 4],
    /// Of each shape, the numbers of labels that its entries have, a bit for each: where none has as many, none is sought.
    labels: [u64; 4],
    hasher: RandomState,
    /// Rules of the entries that several rules list.
    lists: Vec<Vec<u32>>,
}

/// An entry's place in its table. With its hash beside it, a table grows without looking at the text again.
struct Slot {
    hash: u32,
    entry: u32,
}

struct Entry {
    offset: u32,
    length: u16,
    shape: Shape,
    /// A rule, or with the top bit set a position in `lists`.
    rules: u32,
}

const LIST: u32 = 1 << 31;

impl Index {
    /// Adds a name under a rule, rules in ascending order. Returns its entry, and whether the rule did not have it yet.
    /// `None` when the index is full (4 GiB of text or 2^31 entries), which the limits on files keep far away.
    pub(crate) fn add(&mut self, shape: Shape, name: &str, rule: u32) -> Option<(u32, bool)> {
        let hash = self.hash(name);
        if let Some(id) = self.find_hashed(shape, name, hash) {
            let entry = self.entries.get_mut(id as usize)?;
            if entry.rules & LIST == 0 {
                if entry.rules == rule {
                    return Some((id, false));
                }
                let list = u32::try_from(self.lists.len()).ok().filter(|n| n & LIST == 0)?;
                self.lists.push(vec![entry.rules, rule]);
                entry.rules = list | LIST;
                return Some((id, true));
            }
            let list = self.lists.get_mut((entry.rules & !LIST) as usize)?;
            let new = list.last() != Some(&rule);
            if new {
                list.push(rule);
            }
            return Some((id, new));
        }
        let id = u32::try_from(self.entries.len()).ok()?;
        let entry = Entry {
            offset: u32::try_from(self.text.len()).ok()?,
            length: u16::try_from(name.len()).ok()?,
            shape,
            rules: Some(rule).filter(|rule| rule & LIST == 0)?,
        };
        self.text.push_str(name);
        self.entries.push(entry);
        if let Some(labels) = self.labels.get_mut(shape as usize) {
            *labels |= bit(name.split('.').zip(1..).fold(0, |_, (_, count)| count));
        }
        let table = self.tables.get_mut(shape as usize)?;
        table.insert_unique(wide(hash), Slot { hash, entry: id }, |slot| wide(slot.hash));
        Some((id, true))
    }

    /// What an entry covers.
    pub(crate) fn entry(&self, id: u32) -> (Shape, &str) {
        self.entries.get(id as usize).map_or((Shape::Exact, ""), |entry| (entry.shape, spelled(&self.text, entry)))
    }

    /// How many entries there are; their ids are the numbers below it.
    pub(crate) fn len(&self) -> u32 {
        // `add` gives out no id that does not fit.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// The rules that list exactly this, ascending.
    pub(crate) fn rules(&self, shape: Shape, name: &str) -> &[u32] {
        self.find(shape, name).map_or(&[], |id| self.rules_of(id))
    }

    /// The rules of an entry, ascending.
    pub(crate) fn rules_of(&self, id: u32) -> &[u32] {
        let Some(entry) = self.entries.get(id as usize) else { return &[] };
        if entry.rules & LIST == 0 {
            std::slice::from_ref(&entry.rules)
        } else {
            self.lists.get((entry.rules & !LIST) as usize).map_or(&[], Vec::as_slice)
        }
    }

    /// Whether no entry has this shape.
    pub(crate) fn lacks(&self, shape: Shape) -> bool {
        self.tables.get(shape as usize).is_none_or(HashTable::is_empty)
    }

    /// Shows `found` every list of rules with an entry that covers a name. This is asked of every connection, so nothing
    /// is looked up that cannot be there.
    pub(crate) fn cover_name<'a>(&'a self, name: &str, mut found: impl FnMut(&'a [u32])) {
        let mut seek = |shape, text: &str| {
            if let Some(id) = self.find(shape, text) {
                found(self.rules_of(id));
            }
        };
        seek(Shape::Exact, name);
        // No pattern matches a name with an underscore.
        if memchr(b'_', name.as_bytes()).is_some() {
            return;
        }
        if !self.lacks(Shape::Ending)
            && let Some(ending) = ending(name)
        {
            seek(Shape::Ending, ending);
        }
        let [_, one_label, below, _] = self.labels;
        let mut labels = 0;
        // From the right, so that each domain comes with the number of its labels.
        for dot in memrchr_iter(b'.', name.as_bytes()) {
            labels += 1;
            let domain = name.get(dot + 1..).unwrap_or_default();
            if below & bit(labels) != 0 {
                seek(Shape::Below, domain);
            }
            if one_label & bit(labels) != 0 && memchr(b'.', name.get(..dot).unwrap_or_default().as_bytes()).is_none() {
                seek(Shape::OneLabel, domain);
            }
        }
        if below & bit(labels + 1) != 0 {
            seek(Shape::Below, name);
        }
    }

    /// Every list of rules with an entry that covers all of what `shape` and `name` cover.
    pub(crate) fn covering<'a>(&'a self, shape: Shape, name: &'a str) -> impl Iterator<Item = &'a [u32]> {
        // No pattern matches a name with an underscore.
        let patterns = shape != Shape::Exact || !name.contains('_');
        let ending = match shape {
            Shape::Exact if patterns => ending(name),
            Shape::Ending => Some(name),
            _ => None,
        };
        // `*.x` covers exact names and endings right under x, and itself.
        let parent = match shape {
            Shape::Exact | Shape::Ending if patterns => name.split_once('.').map(|(_, parent)| parent),
            Shape::OneLabel => Some(name),
            _ => None,
        };
        // `.x` covers x itself, but a `*.x` or an ending lies strictly below its parent.
        let below = match shape {
            Shape::Exact if patterns => Some(name),
            Shape::Below | Shape::OneLabel => Some(name),
            Shape::Ending => parent,
            Shape::Exact => None,
        };
        let ancestors = std::iter::successors(below, |name| name.split_once('.').map(|(_, parent)| parent));
        let exact = (shape == Shape::Exact).then(|| self.rules(Shape::Exact, name));
        exact
            .into_iter()
            .chain(ending.map(|ending| self.rules(Shape::Ending, ending)))
            .chain(parent.map(|parent| self.rules(Shape::OneLabel, parent)))
            .chain(ancestors.map(|name| self.rules(Shape::Below, name)))
    }

    /// Gives back the memory that growing left unused.
    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.entries.shrink_to_fit();
        self.lists.shrink_to_fit();
        for table in &mut self.tables {
            table.shrink_to_fit(|slot| wide(slot.hash));
        }
    }

    /// The entry of this very name or pattern.
    pub(crate) fn find(&self, shape: Shape, name: &str) -> Option<u32> {
        if self.lacks(shape) { None } else { self.find_hashed(shape, name, self.hash(name)) }
    }

    fn find_hashed(&self, shape: Shape, name: &str, hash: u32) -> Option<u32> {
        let is = |slot: &Slot| {
            let entry = self.entries.get(slot.entry as usize).filter(|_| slot.hash == hash);
            entry.is_some_and(|entry| spelled(&self.text, entry) == name)
        };
        self.tables.get(shape as usize)?.find(wide(hash), is).map(|slot| slot.entry)
    }

    fn hash(&self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        // Of both halves, so that none of it is lost.
        u32::try_from((hash ^ (hash >> 32)) & u64::from(u32::MAX)).unwrap_or_default()
    }
}

/// A hash as tables ask for it: they use its lowest bits and its highest.
fn wide(hash: u32) -> u64 {
    (u64::from(hash) << 32) | u64::from(hash)
}

/// A number of labels as a bit; all that no real name has share one.
fn bit(labels: u32) -> u64 {
    1 << labels.min(63)
}

fn spelled<'a>(text: &'a str, entry: &Entry) -> &'a str {
    let start = entry.offset as usize;
    text.get(start..start + usize::from(entry.length)).unwrap_or_default()
}

/// `-123456789012-ap-northeast-1-an.s3…` of `x-123456789012-ap-northeast-1-an.s3…`: from the last hyphen that is followed by
/// twelve digits and a hyphen, so that what precedes it is free but not empty.
pub(crate) fn ending(name: &str) -> Option<&str> {
    let first = name.split('.').next()?;
    if !first.ends_with("-an") {
        return None;
    }
    let start = first.rmatch_indices('-').map(|(at, _)| at).find(|&at| {
        let account = first.as_bytes().get(at + 1..at + 14).unwrap_or_default();
        matches!(account, [digits @ .., b'-'] if digits.len() == 12 && digits.iter().all(u8::is_ascii_digit))
    })?;
    name.get(start..).filter(|_| start > 0)
}
