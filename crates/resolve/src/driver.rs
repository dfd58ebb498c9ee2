//! The resolver's thread: takes requests, begins lookups, answers who waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sekisho_name::Name;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep_until;

use crate::answer::{ResolveError, Resolved, Source};
use crate::cache::{Cache, Due, Look};
use crate::lookup::{self, Event};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::stats::{LookupResult, Observer, Stats};
use crate::upstream::Upstream;

/// Lookups that connections wait for and that ask servers at one time; each holds a few sockets.
const LOOKUPS: usize = 128;
/// Lookups that may wait for their turn; names beyond it are refused as overload.
const LOOKUP_QUEUE: usize = 4096;
/// Early refreshes at one time: apart, so that a flood of new names cannot let the names in use run out.
const REFRESHES: usize = 32;
/// How often callers that have left are looked for while too many wait: each look goes over all of them.
const LEAVERS: Duration = Duration::from_millis(100);

/// A connection that waits for a name.
pub(crate) struct Request {
    pub(crate) name: Name,
    pub(crate) reply: oneshot::Sender<Result<Resolved, ResolveError>>,
}

/// What the handles and the thread share.
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) stats: Stats,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// The state of the thread.
pub(crate) struct Driver {
    cache: Cache,
    upstream: Arc<Upstream>,
    shared: Arc<Shared>,
    running: HashMap<Name, Running>,
    waiters: usize,
    max_waiters: usize,
    /// When callers that have left were last looked for.
    counted: Option<Instant>,
    demand: Arc<Semaphore>,
    refresh: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
}

/// A lookup under way and who waits for it.
struct Running {
    since: Instant,
    waiters: Vec<oneshot::Sender<Result<Resolved, ResolveError>>>,
}

/// Serves `requests` until every handle is gone.
pub(crate) async fn run(settings: Settings, shared: Arc<Shared>, mut requests: mpsc::Receiver<Request>) {
    let (events, mut heard) = mpsc::channel(1024);
    let mut driver = Driver {
        upstream: Arc::new(Upstream::new(&settings.servers, settings.timeout, settings.attempts)),
        max_waiters: settings.max_waiters,
        cache: Cache::new(settings, shared.snapshot.clone()),
        shared,
        running: HashMap::new(),
        waiters: 0,
        counted: None,
        demand: Arc::new(Semaphore::new(LOOKUPS)),
        refresh: Arc::new(Semaphore::new(REFRESHES)),
        events,
    };
    loop {
        let due = driver.cache.next_due();
        let timer = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => driver.request(request, Instant::now()),
                None => return,
            },
            Some(event) = heard.recv() => driver.event(event, Instant::now()),
            () = timer => driver.due(Instant::now()),
        }
    }
}

impl Driver {
    fn request(&mut self, request: Request, now: Instant) {
        let Request { name, reply } = request;
        let known = match self.cache.look(&name, now) {
            Look::Ask => return self.wait(&name, reply, now),
            Look::Fresh(answer) => Ok(Resolved { answer, source: Source::Cache }),
            Look::Stale(answer) => Ok(Resolved { answer, source: Source::Stale }),
            Look::NotFound => Err(ResolveError::NotFound),
            Look::Failed(why) => Err(ResolveError::Failed(why)),
        };
        // A caller that has left is no fault.
        let _ = reply.send(known);
    }

    /// Joins the lookup of `name`, beginning it if there is none.
    fn wait(&mut self, name: &Name, reply: oneshot::Sender<Result<Resolved, ResolveError>>, now: Instant) {
        if self.waiters >= self.max_waiters {
            self.forget_who_left(now);
        }
        let is_new = !self.running.contains_key(name);
        if self.waiters >= self.max_waiters || (is_new && self.running.len() >= LOOKUPS + LOOKUP_QUEUE) {
            let _ = reply.send(Err(ResolveError::Overloaded));
            return;
        }
        self.waiters += 1;
        if is_new {
            self.begin(name.clone(), self.demand.clone(), now);
        }
        if let Some(running) = self.running.get_mut(name) {
            running.waiters.push(reply);
        }
    }

    fn begin(&mut self, name: Name, permits: Arc<Semaphore>, now: Instant) {
        self.cache.asked(&name, now);
        self.running.insert(name.clone(), Running { since: now, waiters: Vec::new() });
        // On its own task, so that the cache is filled whoever goes on waiting.
        tokio::spawn(lookup::run(name, self.upstream.clone(), permits, self.events.clone()));
    }

    fn event(&mut self, event: Event, now: Instant) {
        let (name, v4, v6) = match event {
            Event::Answered { name, v4, v6 } => (name, v4, v6),
            Event::Late { name, is_v4, heard } => return self.cache.late(&name, is_v4, heard, now),
        };
        let (result, outcome) = match self.cache.answered(&name, v4, v6, now) {
            Look::Fresh(answer) => (LookupResult::Ok, Ok(Resolved { answer, source: Source::Query })),
            Look::Stale(answer) => (LookupResult::Stale, Ok(Resolved { answer, source: Source::Stale })),
            Look::NotFound => (LookupResult::NotFound, Err(ResolveError::NotFound)),
            Look::Failed(why) => (LookupResult::Failed, Err(ResolveError::Failed(why))),
            Look::Ask => (LookupResult::Failed, Err(ResolveError::Failed("no reply"))),
        };
        let Some(running) = self.running.remove(&name) else { return };
        tracing::debug!(%name, result = result.label(), "lookup");
        self.shared.stats.count(result);
        if let Some(observer) = &self.shared.observer {
            observer.lookup(result, now.saturating_duration_since(running.since).as_secs_f64());
        }
        self.tell(running.waiters, &outcome);
    }

    fn due(&mut self, now: Instant) {
        while let Some(due) = self.cache.poll(now) {
            match due {
                Due::Refresh(name) => {
                    if !self.running.contains_key(&name) {
                        self.begin(name, self.refresh.clone(), now);
                    }
                }
                Due::ServeStale(name, answer) => {
                    let waiters = self.running.get_mut(&name).map(|running| std::mem::take(&mut running.waiters));
                    let outcome = Ok(Resolved { answer, source: Source::Stale });
                    self.tell(waiters.unwrap_or_default(), &outcome);
                }
            }
        }
    }

    fn tell(
        &mut self,
        waiters: Vec<oneshot::Sender<Result<Resolved, ResolveError>>>,
        outcome: &Result<Resolved, ResolveError>,
    ) {
        self.waiters = self.waiters.saturating_sub(waiters.len());
        for waiter in waiters {
            let _ = waiter.send(outcome.clone());
        }
    }

    fn forget_who_left(&mut self, now: Instant) {
        if self.counted.is_some_and(|counted| now < counted + LEAVERS) {
            return;
        }
        self.counted = Some(now);
        for running in self.running.values_mut() {
            running.waiters.retain(|waiter| !waiter.is_closed());
        }
        self.waiters = self.running.values().map(|running| running.waiters.len()).sum();
    }
}
