//! What a resolution gives.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use sekisho_name::Name;

/// A name's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name, to be kept instead of another copy of it.
    pub name: Name,
    /// The union of what was answered within `ttl_max`, at least one: first what each family's last answer has, then
    /// the others, in both most recently seen first. Not shuffled.
    pub addresses: Box<[IpAddr]>,
    /// How many of them the last answers have.
    pub(crate) current: usize,
    /// When its TTL (clamped) runs out; in the past for an answer that serves stale.
    pub expires: Instant,
    /// Until when it may be served without asking the resolver's thread.
    pub(crate) until: Instant,
}

/// Since when an address is one of a name's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its family's last answer has it.
    Now,
    /// An earlier answer within `ttl_max` had it.
    Lately,
}

impl Answer {
    /// Whether an address is one of these, and since when; `None` for one that no answer within `ttl_max` had.
    pub fn seen(&self, address: IpAddr) -> Option<Seen> {
        let at = self.addresses.iter().position(|&known| known == address)?;
        Some(if at < self.current { Seen::Now } else { Seen::Lately })
    }
}

/// An answer and how it was come by.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The addresses.
    pub answer: Arc<Answer>,
    /// Where they came from.
    pub source: Source,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Fresh in the cache: nobody waited.
    Cache,
    /// Servers were asked, and the caller waited for them.
    Query,
    /// Expired, and serving because the servers fail (RFC 8767).
    Stale,
}

/// Why there is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist, or has no address of either family (NXDOMAIN, NODATA).
    #[error("name not found")]
    NotFound,
    /// No server gave a usable reply; the text says what the last one did.
    #[error("name resolution failed: {0}")]
    Failed(&'static str),
    /// More callers wait for answers than the resolver takes.
    #[error("the resolver is overloaded")]
    Overloaded,
}
