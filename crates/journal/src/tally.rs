//! Counting in bounded memory: names by number, and how often something was seen, from when to when.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use sekisho_name::Name;
use serde::Serialize;

use crate::read::BadLine;
use crate::record::{Event, Record};

/// How many different host names are kept.
pub const MAX_NAMES: usize = 100_000;
/// How many different pairs of a client and what it asked for are kept.
pub const MAX_PAIRS: usize = 1_000_000;

/// Order never matters where these are used: what is printed is sorted first.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// [`MAX_NAMES`] and [`MAX_PAIRS`], and less where a test asks for less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) names: usize,
    pub(crate) pairs: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { names: MAX_NAMES, pairs: MAX_PAIRS }
    }
}

/// Valid names, each with a number.
pub(crate) struct Names {
    ids: Map<Name, u32>,
    all: Vec<Name>,
    most: usize,
}

impl Names {
    pub(crate) fn new(most: usize) -> Self {
        Self { ids: Map::default(), all: Vec::new(), most }
    }

    /// The number of a name; `None` when there are too many to keep another.
    ///
    /// # Errors
    /// [`BadLine::BadHost`] of text that is no host name.
    pub(crate) fn id(&mut self, host: &str) -> Result<Option<u32>, BadLine> {
        if let Some(id) = self.ids.get(host) {
            return Ok(Some(*id));
        }
        let name = Name::parse(host).map_err(|_| BadLine::BadHost)?;
        if let Some(id) = self.ids.get(&name) {
            return Ok(Some(*id));
        }
        let Some(id) = u32::try_from(self.all.len()).ok().filter(|_| self.all.len() < self.most) else {
            return Ok(None);
        };
        self.all.push(name.clone());
        self.ids.insert(name, id);
        Ok(Some(id))
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Name> {
        self.all.get(id as usize)
    }
}

/// How often, and from when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Connections that have ended.
    ended: u64,
    /// Unix seconds.
    first: i64,
    /// Unix seconds.
    last: i64,
}

impl Seen {
    /// Nothing yet.
    pub(crate) const NEVER: Self = Self { ended: 0, first: i64::MAX, last: i64::MIN };

    /// Counts a record. A connection that is only known to be open is seen, but counted when it ends.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        self.ended += u64::from(record.event == Event::Close);
        self.first = self.first.min(record.time);
        self.last = self.last.max(record.time);
    }

    /// Takes another's share.
    pub(crate) fn merge(&mut self, other: Self) {
        self.ended += other.ended;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }

    /// How many connections: one at least when anything was seen.
    pub fn connections(&self) -> u64 {
        if self.ever() { self.ended.max(1) } else { 0 }
    }

    /// Whether anything was seen.
    pub fn ever(&self) -> bool {
        self.first <= self.last
    }

    /// The first time, RFC 3339; empty when never.
    pub fn first(&self) -> String {
        self.time(self.first)
    }

    /// The last time, RFC 3339; empty when never.
    pub fn last(&self) -> String {
        self.time(self.last)
    }

    fn time(&self, second: i64) -> String {
        if self.ever() { rfc3339(second) } else { String::new() }
    }
}

/// Unix seconds as text. What no calendar has is empty.
pub(crate) fn rfc3339(second: i64) -> String {
    Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default()
}

/// As a program reads it: `connections`, `first`, `last`.
impl Serialize for Seen {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plain {
            connections: u64,
            #[serde(skip_serializing_if = "String::is_empty")]
            first: String,
            #[serde(skip_serializing_if = "String::is_empty")]
            last: String,
        }
        Plain { connections: self.connections(), first: self.first(), last: self.last() }.serialize(serializer)
    }
}

/// `1 client`, `3 clients`.
pub(crate) fn plural(count: u64, word: &str) -> String {
    if count == 1 { format!("{count} {word}") } else { format!("{count} {word}s") }
}
