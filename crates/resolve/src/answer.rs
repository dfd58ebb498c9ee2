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
    /// The union of what was answered within `ttl_max`, at least one, most recently seen first. Not shuffled.
    pub addresses: Box<[IpAddr]>,
    /// When its TTL (clamped) runs out; in the past for an answer that serves stale.
    pub expires: Instant,
    /// Until when it may be served without asking the resolver's thread.
    pub(crate) until: Instant,
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
