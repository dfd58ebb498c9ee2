//! Resolves the names that a gate dials.
//!
//! One resolver works on its own thread. A connection reads [`Resolver::cached`], a snapshot without locks, and
//! crosses over to the thread with [`Resolver::resolve`] only on a miss. Names that are in use are refreshed before
//! their TTL runs out and go on serving while every server fails, so connections to them never wait.
//!
//! Only DNS is asked: no hosts file, no search list, no special names.
//!
//! # What serves when
//!
//! | the name | what a caller gets |
//! |---|---|
//! | within its TTL, clamped to `ttl_min`–`ttl_max` | the union of the answers of the last `ttl_max`, at once |
//! | in use, at 80 % of its TTL | the same, while the servers are asked again |
//! | past its TTL, the servers being asked for less than `timeout` | waits for them |
//! | past its TTL, and they were silent for `timeout`, or failed | the last union, at once, up to `serve_stale` |
//! | unknown, or stale for longer | waits; a failure is kept for 1 s, then 2 s, up to 5 s (RFC 9520) |
//! | denied (NXDOMAIN, or NODATA for both families) | not found, for the SOA's time up to `negative_max`; nothing older |
//!
//! *In use* is a name that was read within the last minute, or within its TTL where that is longer. Its refresh begins
//! early enough (a little more than `timeout` before the end) that silence is established when the TTL ends: then the
//! old answer goes on, as RFC 8767 §5 has it with its client response timer, and nobody waits. A reply of whatever
//! kind then replaces it: addresses, a denial (§4: nothing stale over it, not even for one family while the other
//! fails), or a failure. Only where the TTL is shorter than twice the timeout may that take over a moment late. Time
//! that a lookup spends waiting for its turn, when more than 128 of them (or 32 refreshes) run, counts as silence too.
//!
//! While the servers fail a name's addresses stay as they are; otherwise an address leaves `ttl_max` after it was last
//! answered.
//!
//! # How servers are asked
//!
//! One lookup of a name is under way at a time, for both families side by side; addresses of one do not wait longer
//! than 50 ms for the other's (RFC 8305 §3), which join when they come. Servers are asked in their order, the next one
//! as soon as one fails or beside it after half a `timeout` of silence; a silent one is then asked after the others,
//! until it answers a probe. Questions go out over UDP with EDNS and 1,232 bytes, each from a random port with a random
//! id; replies from elsewhere, with another id or to another question are passed over (by hickory over UDP); a cut
//! reply is asked for again over TCP, where a reply to another question is a failure (hickory looks at the id alone).
//!
//! # Reading the code
//!
//! From the outside in: this handle, `driver` (the thread), `cache` (what is known; sans-IO), `lookup` (one
//! name), `upstream` (the servers), `message` (one question and its reply).

mod answer;
mod cache;
mod driver;
mod lookup;
mod message;
mod settings;
mod snapshot;
mod stats;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use sekisho_name::Name;
use tokio::sync::{mpsc, oneshot};

pub use answer::{Answer, ResolveError, Resolved, Seen, Source};
pub use settings::{Settings, StartError};
pub use snapshot::CachedName;
pub use stats::{LookupResult, Observer, Stats};

use driver::{Request, Shared};
use snapshot::Snapshot;

/// Requests on their way to the thread at one time.
const REQUESTS: usize = 16_384;

/// A handle on the resolver's thread. Clones share it; with the last one it ends.
#[derive(Clone)]
pub struct Resolver(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no server is configured anywhere, or the thread cannot be made.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_inner(settings, None)
    }

    /// Like [`Resolver::start`], telling `observer` of every lookup.
    ///
    /// # Errors
    /// As [`Resolver::start`].
    pub fn start_observed(settings: Settings, observer: Arc<dyn Observer>) -> Result<Self, StartError> {
        Self::start_inner(settings, Some(observer))
    }

    fn start_inner(settings: Settings, observer: Option<Arc<dyn Observer>>) -> Result<Self, StartError> {
        let mut settings = settings.bounded();
        if settings.servers.is_empty() {
            settings.servers = system_servers()?;
        }
        let servers = settings.servers.clone();
        let snapshot = Arc::new(Snapshot::new(Instant::now()));
        let shared = Arc::new(Shared { snapshot, stats: Stats::default(), observer });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let work = driver::run(settings, shared.clone(), receiver);
        let thread = std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || runtime.block_on(work))
            .map_err(StartError::Thread)?;
        Ok(Self(Arc::new(Handle { shared, requests: Some(requests), thread: Some(thread), servers })))
    }

    /// The answer that may be served without asking anyone, and a mark that the name is in use.
    ///
    /// It is fresh, or (then `expires` is past) one that the resolver lets serve because every server fails. Takes
    /// no lock and waits for nothing.
    pub fn cached(&self, name: &Name) -> Option<Arc<Answer>> {
        self.0.shared.snapshot.get(name, Instant::now())
    }

    /// The addresses of `name`: from the cache, else from the servers, once for however many callers wait.
    ///
    /// Cancellation safe: a caller may leave, and the lookup still fills the cache.
    ///
    /// # Errors
    /// [`ResolveError`] says whether there is none, or the servers failed, or too many callers wait.
    pub async fn resolve(&self, name: &Name) -> Result<Resolved, ResolveError> {
        let now = Instant::now();
        if let Some(answer) = self.0.shared.snapshot.get(name, now) {
            let source = if now <= answer.expires { Source::Cache } else { Source::Stale };
            return Ok(Resolved { answer, source });
        }
        let (reply, answer) = oneshot::channel();
        let ended = ResolveError::Failed("the resolver has ended");
        let requests = self.0.requests.as_ref().ok_or(ended)?;
        requests.try_send(Request { name: name.clone(), reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ResolveError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ended,
        })?;
        answer.await.unwrap_or(Err(ended))
    }

    /// Whether its thread still works. One that ended by itself answers nobody who is not in the cache.
    pub fn is_running(&self) -> bool {
        self.0.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Every name that has an answer, fresh or not, in no order. Copies; for a status page.
    pub fn entries(&self) -> Vec<CachedName> {
        self.0.shared.snapshot.list(Instant::now())
    }

    /// Lookups by result.
    pub fn stats(&self) -> &Stats {
        &self.0.shared.stats
    }

    /// The servers that are asked, in order of preference.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.0.servers
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("servers", &self.0.servers).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The closed channel ends the thread.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic on that thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn system_servers() -> Result<Vec<SocketAddr>, StartError> {
    let (config, _) =
        hickory_resolver::system_conf::read_system_conf().map_err(|error| StartError::SystemConfig(Box::new(error)))?;
    let address = |server: &hickory_resolver::config::NameServerConfig| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    };
    Ok(config.name_servers().iter().map(address).collect())
}
