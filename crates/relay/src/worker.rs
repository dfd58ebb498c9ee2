//! What the connections of one thread have in common: their register, their tools, and the one tick a second that bounds
//! them. It shares with other threads only what [`Shared`] names.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::dial::{self, Failures};
use crate::limits::{Full, Place};
use crate::live::Live;
use crate::metrics::Shard;
use crate::outcome::{ClosedBy, Offers, Outcome, Verdict};
use crate::record::Event;
use crate::revoke::{Again, Review, with_the_word_of_now};
use crate::settings;
use crate::shared::{Phase, Shared};
use crate::sources::Turns;
use crate::stop::Stop;
use crate::transfer::Tools;

/// Beats of the worker's clock between two of its looks at all connections: a second. The beat itself is as short as the
/// shortest time that a connection waits for: since the runtime wakes by then anyway, it need not be woken for that wait,
/// which would be a system call for each connection that is dialled.
const BEATS: u32 = 4;
/// A connection that is still open so many seconds after its verdict gets an `open` line.
const OPEN_LINE: u32 = 60;
/// A connection that is open so many seconds after its verdict gets what only long ones need. Before the first keepalive
/// would be due.
const LASTING: u32 = 30;
/// Pipes that a worker may use at a time: with a few workers, within the 64 MiB that the kernel gives one user.
const PIPES: usize = 16;

/// What a worker's connections share, on one thread.
pub(crate) struct Worker {
    /// Its number among the workers.
    index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tools: Tools,
    pub(crate) failures: Failures,
    pub(crate) offers: Offers,
    pub(crate) turns: Turns,
    pub(crate) hello_limits: sekisho_peek::tls::Limits,
    /// Whether the clients' TLS fingerprints are recorded.
    pub(crate) fingerprints: bool,
    shard: Arc<Shard>,
    open: RefCell<Slab<Rc<OpenConnection>>>,
    review: Review,
    next: Cell<u64>,
}

/// An open connection as the worker's register has it.
pub(crate) struct OpenConnection {
    worker: Rc<Worker>,
    /// Where the register has it.
    key: u32,
    /// Its place under the caps, given back with this.
    place: Cell<Option<Place>>,
    live: Live,
    begun: Instant,
    logged_open: Cell<bool>,
    revoked: Cell<bool>,
    recorded: Cell<bool>,
}

/// A connection's entry in the register. Dropping it makes the record: exactly one for each connection, however it
/// ends, a worker that is stopped included.
pub(crate) struct Entry(Rc<OpenConnection>);

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, shard: Arc<Shard>) -> Self {
        let settings::Limits { hello_handshake, hello_raw, .. } = shared.settings.limits;
        Self {
            index,
            hello_limits: sekisho_peek::tls::Limits { handshake: hello_handshake, raw: hello_raw },
            fingerprints: shared.settings.access_log.as_ref().is_some_and(|log| log.ja4),
            tools: Tools::new(PIPES, Arc::clone(&shared.features)),
            turns: Turns::new(Arc::clone(&shared.sources)),
            shared,
            failures: Failures::default(),
            offers: Offers::default(),
            shard,
            open: RefCell::default(),
            review: Review::default(),
            // Random above, counted below: unique in this process, and next to never the same after a restart.
            next: Cell::new(fastrand::u64(..) << 32),
        }
    }

    /// A new connection's number.
    pub(crate) fn number(&self) -> u64 {
        self.next.replace(self.next.get().wrapping_add(1))
    }

    /// Puts a connection in the register, with its place under the caps if it got one.
    pub(crate) fn enrol(self: &Rc<Self>, outcome: Outcome, place: Option<Place>) -> Entry {
        self.shard.opened(outcome.listener);
        let mut register = self.open.borrow_mut();
        let slot = register.vacant_entry();
        let open = Rc::new(OpenConnection {
            worker: Rc::clone(self),
            // There are fewer descriptors than that.
            key: u32::try_from(slot.key()).unwrap_or(u32::MAX),
            place: Cell::new(place),
            live: Live::new(outcome),
            begun: Instant::now(),
            logged_open: Cell::new(false),
            revoked: Cell::new(false),
            recorded: Cell::new(false),
        });
        slot.insert(Rc::clone(&open));
        Entry(open)
    }

    /// Looks at every connection once a second, until the engine says to end, nothing more is accepted, and no
    /// connection is left.
    pub(crate) async fn tick_until_done(&self, mut phase: watch::Receiver<Phase>, mut acceptors: JoinSet<()>) {
        let mut beat = tokio::time::interval(dial::STAGGER);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beats = (1..=BEATS).cycle();
        let mut orphaned = false;
        loop {
            tokio::select! {
                _ = beat.tick() => if beats.next() == Some(BEATS) {
                    self.tick();
                },
                changed = phase.changed(), if !orphaned => orphaned = changed.is_err(),
                Some(_) = acceptors.join_next() => {}
            }
            if orphaned || *phase.borrow() == Phase::Abort {
                self.open.borrow().iter().for_each(|(_, open)| open.live.order_end(ClosedBy::Shutdown));
            }
            if acceptors.is_empty() && self.open.borrow().is_empty() {
                return;
            }
        }
    }

    fn tick(&self) {
        let timeouts = &self.shared.settings.timeouts;
        let look = self.review.begin(&self.shared.policy);
        self.show_bytes();
        for (_, open) in self.open.borrow().iter() {
            let Some(age) = open.live.tick() else {
                look.postpone(&open.live);
                continue;
            };
            let (bound, why) = if age.half_closed {
                (timeouts.half_closed, ClosedBy::HalfClosed)
            } else {
                (timeouts.idle, ClosedBy::Idle)
            };
            if Duration::from_secs(age.quiet.into()) >= bound {
                open.live.order_end(why);
            }
            if age.since_verdict == LASTING {
                open.live.order_lasting();
            }
            if age.since_verdict >= OPEN_LINE && !open.logged_open.replace(true) {
                self.shared.log.record(Event::Open(Box::new(open.record())));
            }
            if let Some(again) = look.again(&open.live, &self.shared.settings.upstream.nat64) {
                self.apply(open, again);
            }
        }
    }

    /// Records once that an open connection would now be refused, and ends it where the policy asks for that.
    fn apply(&self, open: &OpenConnection, again: Again) {
        match again {
            Again::Allowed => open.revoked.set(false),
            Again::Refused { rule, reason, close } => {
                if !open.revoked.replace(true) {
                    let record = with_the_word_of_now(open.record(), rule, reason);
                    self.shared.log.record(Event::Revoked(Box::new(record)));
                }
                if close {
                    open.live.order_end(ClosedBy::Revoked);
                }
            }
        }
    }

    /// Adds to the metrics what has been carried since the last time, so that long connections show while they last.
    fn show_bytes(&self) {
        let (up, down) = self.tools.delivered.take();
        self.shard.add_bytes(up, down);
    }
}

impl OpenConnection {
    /// The record as it stands.
    fn record(&self) -> Outcome {
        let mut outcome = self.live.outcome.borrow().clone();
        outcome.duration = self.begun.elapsed().into();
        outcome
    }
}

impl Entry {
    pub(crate) fn live(&self) -> &Live {
        &self.0.live
    }

    /// The worker whose register has it.
    pub(crate) fn worker(&self) -> &Worker {
        &self.0.worker
    }

    /// Counts the connection as one of the client that its record names.
    pub(crate) fn claim(&self) -> Result<(), Full> {
        let client = self.live().outcome.borrow().client.ip();
        let mut place = self.0.place.take();
        let claimed = place.as_mut().map_or(Ok(()), |place| place.claim(client));
        self.0.place.set(place);
        claimed
    }

    /// An entry for the next request on the same connection; this one's record is made.
    pub(crate) fn succeed(self) -> Self {
        let worker = &self.0.worker;
        let outcome = self.live().outcome.borrow().successor(worker.number());
        let place = self.0.place.take();
        worker.enrol(outcome, place)
    }

    /// What its transfer borrows.
    pub(crate) fn tools(&self) -> &Tools {
        &self.0.worker.tools
    }

    /// The connection is not served: its record is made now, though its goodbye may take a moment longer.
    pub(crate) fn refuse(&self, stop: &Stop, by: ClosedBy) {
        {
            let mut outcome = self.0.live.outcome.borrow_mut();
            outcome.verdict = Verdict::of(stop.reason);
            outcome.reason = Some(stop.reason);
            outcome.detail = stop.detail;
            outcome.closed_by = Some(by);
        }
        self.record();
    }

    /// The connection was ended by the worker before it was served.
    pub(crate) fn cut(&self, by: ClosedBy) {
        self.0.live.outcome.borrow_mut().verdict = Verdict::Failed;
        self.ended(by);
    }

    /// A served connection has ended.
    pub(crate) fn ended(&self, by: ClosedBy) {
        self.0.live.outcome.borrow_mut().closed_by = Some(by);
        self.record();
    }

    /// Makes the connection's one record.
    fn record(&self) {
        if self.0.recorded.replace(true) {
            return;
        }
        let worker = self.worker();
        worker.show_bytes();
        let outcome = self.0.record();
        worker.shard.closed(&outcome);
        worker.shared.policy.glance().count(worker.index, &outcome);
        worker.shared.recent.note(worker.index, &outcome);
        worker.shared.log.record(Event::Close(Box::new(outcome)));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker().open.borrow_mut().try_remove(self.0.key as usize);
        self.0.live.outcome.borrow_mut().closed_by.get_or_insert(ClosedBy::Shutdown);
        self.record();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the two counts of its `Rc` it is the allocator's 320 bytes; one byte more is 384.
    #[test]
    fn an_entry_of_the_register_is_small() {
        assert!(size_of::<OpenConnection>() + 16 <= 320, "{}", size_of::<OpenConnection>());
    }
}
