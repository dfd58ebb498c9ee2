//! What the resolver is started with.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How names are resolved. The defaults are meant for production.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Servers to ask, in order of preference; empty means the system's `resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// The shortest time an answer is kept, whatever its TTL says; at least a second.
    pub ttl_min: Duration,
    /// The longest; also for how long an address that was once answered stays among a name's addresses.
    pub ttl_max: Duration,
    /// How long an expired answer may still serve while every server fails (RFC 8767).
    pub serve_stale: Duration,
    /// The longest time that "there is no such name" is kept.
    pub negative_max: Duration,
    /// For how long a failure is kept before the servers are asked again (RFC 9520 §3.2): the first time, and the
    /// most that repeated failures can make of it.
    pub failure_ttl: RangeInclusive<Duration>,
    /// How long one server may take for one query; also how long an expired answer waits for a fresh one before it
    /// serves instead.
    pub timeout: Duration,
    /// How often the list of servers is gone through before a query has failed.
    pub attempts: usize,
    /// Names kept; beyond it, the least recently used go.
    pub max_names: usize,
    /// Callers waiting for an answer at one time; beyond it, [`crate::ResolveError::Overloaded`].
    pub max_waiters: usize,
}

/// The least `ttl_min`: below it, a record without a TTL would be asked for without a rest.
const TTL_FLOOR: Duration = Duration::from_secs(1);
/// The most of any time: far enough, and no sum of them overflows.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl Settings {
    /// The same with every value inside the bounds within which the resolver works.
    pub(crate) fn bounded(mut self) -> Self {
        for time in [&mut self.ttl_max, &mut self.serve_stale, &mut self.negative_max, &mut self.timeout] {
            *time = (*time).min(LONGEST);
        }
        self.ttl_max = self.ttl_max.max(TTL_FLOOR);
        self.ttl_min = self.ttl_min.clamp(TTL_FLOOR, self.ttl_max);
        let (first, most) = self.failure_ttl.into_inner();
        let most = most.min(LONGEST);
        self.failure_ttl = first.min(most)..=most;
        self.max_names = self.max_names.max(1);
        self
    }

    /// A record's TTL as it is kept.
    pub(crate) fn clamp(&self, ttl: Duration) -> Duration {
        ttl.max(self.ttl_min).min(self.ttl_max)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            ttl_min: Duration::from_secs(5),
            ttl_max: Duration::from_secs(300),
            serve_stale: Duration::from_secs(3600),
            negative_max: Duration::from_secs(30),
            failure_ttl: Duration::from_secs(1)..=Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            attempts: 2,
            max_names: 10_000,
            max_waiters: 65_536,
        }
    }
}

/// Why the resolver did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No servers were configured, and the system's configuration gave none.
    #[error("cannot read name servers from the system's resolv.conf; name them in `dns.servers`")]
    SystemConfig(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The thread or its runtime could not be made.
    #[error("cannot start the resolver's thread")]
    Thread(#[source] std::io::Error),
}
