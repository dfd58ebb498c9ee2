//! What a worker knows of each of its open connections while it is open: its record so far, how much it has carried,
//! when it last moved, and an order to end.
//!
//! One coarse tick a second looks at all of them; a byte that moves costs two stores and no timer.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use crate::outcome::{ClosedBy, Outcome, Verdict};
use crate::reason::Reason;

/// A direction, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Client to upstream.
    Up,
    /// Upstream to client.
    Down,
}

impl Way {
    /// Who ends a transfer by ending this direction.
    pub(crate) const fn source(self) -> ClosedBy {
        match self {
            Self::Up => ClosedBy::Client,
            Self::Down => ClosedBy::Upstream,
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Live {
    /// Its record; the stages fill it in.
    pub(crate) outcome: RefCell<Outcome>,
    moved: Cell<bool>,
    quiet: Cell<u32>,
    state: Cell<State>,
    /// The generation of the policy that decided it last; 0 before its verdict.
    decided: Cell<u32>,
    first_end: Cell<Option<ClosedBy>>,
    order: Cell<Option<ClosedBy>>,
    /// The upstream's socket is to get what only long connections need.
    lasting: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not relayed yet: its own deadlines bound it.
    Opening,
    /// Both sides may send. Seconds since the verdict, until the log has its `open` line.
    Relaying {
        /// Whole seconds since it was let through.
        seconds: u32,
    },
    /// One side has finished.
    HalfClosed {
        /// As above.
        seconds: u32,
    },
}

impl Live {
    pub(crate) fn new(outcome: Outcome) -> Self {
        Self {
            outcome: RefCell::new(outcome),
            moved: Cell::new(false),
            quiet: Cell::new(0),
            state: Cell::new(State::Opening),
            decided: Cell::new(0),
            first_end: Cell::new(None),
            order: Cell::new(None),
            lasting: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// The verdict has let it through: from now on the tick bounds it.
    pub(crate) fn relaying(&self) {
        self.state.set(State::Relaying { seconds: 0 });
    }

    /// A policy of this generation has decided it; 0 asks for another decision.
    pub(crate) fn decided_under(&self, generation: u32) {
        self.decided.set(generation);
    }

    /// The generation of the policy that decided it last.
    pub(crate) fn generation(&self) -> u32 {
        self.decided.get()
    }

    /// Bytes were delivered.
    pub(crate) fn carried(&self, way: Way, bytes: u64) {
        let mut outcome = self.outcome.borrow_mut();
        match way {
            Way::Up => outcome.bytes_up += bytes,
            Way::Down => outcome.bytes_down += bytes,
        }
        self.moved.set(true);
    }

    /// Bytes delivered so far: up, down.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let outcome = self.outcome.borrow();
        (outcome.bytes_up, outcome.bytes_down)
    }

    /// One side has finished.
    pub(crate) fn half_closed(&self) {
        if let State::Relaying { seconds } = self.state.get() {
            self.state.set(State::HalfClosed { seconds });
        }
    }

    /// It was let through, and then said what must not pass.
    pub(crate) fn refused_late(&self, reason: Reason, detail: &'static str) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.verdict = Verdict::of(reason);
        outcome.reason = Some(reason);
        outcome.detail = Some(detail);
    }

    /// Remembers who ended it; only the first counts.
    pub(crate) fn note_end(&self, by: ClosedBy) {
        if self.first_end.get().is_none() {
            self.first_end.set(Some(by));
        }
    }

    pub(crate) fn first_end(&self) -> Option<ClosedBy> {
        self.first_end.get()
    }

    /// Tells it to end. Its task does so when it is next polled, which this causes.
    pub(crate) fn order_end(&self, why: ClosedBy) {
        self.order.set(Some(why));
        self.wake();
    }

    /// Tells it that it lasts, which its task asks about with [`Live::takes_lasting`].
    pub(crate) fn order_lasting(&self) {
        self.lasting.set(true);
        self.wake();
    }

    /// Whether it was told that it lasts, once.
    pub(crate) fn takes_lasting(&self) -> bool {
        self.lasting.take()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once it was told to end.
    pub(crate) fn poll_order(&self, cx: &Context<'_>) -> Poll<ClosedBy> {
        if let Some(order) = self.order.get() {
            return Poll::Ready(order);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// A second has passed. `None` while the connection is opening, when its own deadlines bound it.
    pub(crate) fn tick(&self) -> Option<Age> {
        let quiet = if self.moved.take() { 0 } else { self.quiet.get().saturating_add(1) };
        self.quiet.set(quiet);
        let (State::Relaying { seconds } | State::HalfClosed { seconds }) = self.state.get() else { return None };
        let since_verdict = seconds.saturating_add(1);
        let half_closed = matches!(self.state.get(), State::HalfClosed { .. });
        self.state.set(if half_closed {
            State::HalfClosed { seconds: since_verdict }
        } else {
            State::Relaying { seconds: since_verdict }
        });
        Some(Age { since_verdict, quiet, half_closed })
    }
}

/// How long a relayed connection has been what it is, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// Since it was let through.
    pub(crate) since_verdict: u32,
    /// Since a byte moved.
    pub(crate) quiet: u32,
    /// Whether one side has finished.
    pub(crate) half_closed: bool,
}
