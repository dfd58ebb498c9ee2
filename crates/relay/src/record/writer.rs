//! The thread that writes the access log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::file::Target;
use super::line::Lines;
use super::object::{Object, key};
use super::{Event, Message, Signals};
use crate::outcome::Outcome;
use crate::settings::AccessFormat;

/// Records that are written at a time while more keep coming.
const BATCH: usize = 512;
/// Bytes that wait while the file cannot be written. Records beyond them are lost.
const HELD: usize = 1 << 20;
/// How often the path is looked at, and a failed write is tried again.
const LOOK: Duration = Duration::from_millis(500);
/// After a first record, others may gather for so long: they are written together, and workers need not wake this
/// thread for each. Only where the queue has room for what comes meanwhile.
const GATHER: Duration = Duration::from_millis(10);
/// The queue that has that room.
const ROOM: usize = 4096;

#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    format: AccessFormat,
    lines: Lines,
    signals: Arc<Signals>,
    gather: Duration,
    /// Lost records that the log has told of, and when it did.
    told: (u64, Option<Instant>),
    looked: Instant,
    /// When a file that cannot be written is tried again.
    retry: Option<Instant>,
    /// Whether the operator knows that the path cannot be opened anew.
    stuck: bool,
}

impl Writer {
    /// A writer for a queue of `queue` records. `listeners` are the listeners' names and protocols.
    pub(super) fn new(
        target: Target,
        format: AccessFormat,
        queue: usize,
        listeners: Vec<(Arc<str>, &'static str)>,
        signals: Arc<Signals>,
    ) -> Self {
        let gather = if queue >= ROOM { GATHER } else { Duration::ZERO };
        let looked = Instant::now();
        let lines = Lines::new(listeners);
        Self { target, format, lines, signals, gather, told: (0, None), looked, retry: None, stuck: false }
    }

    /// The first record.
    pub(super) fn begin(&mut self, digest: &str) {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.say("start", |line| {
            line.number(key!("pid"), std::process::id().into());
            line.word(key!("version"), env!("CARGO_PKG_VERSION"));
            line.text(key!("node"), &node);
            line.text(key!("policy"), digest);
        });
    }

    /// Adds a line about the node itself. Squid's form has no such lines.
    fn say(&mut self, event: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        if self.format == AccessFormat::Json {
            self.lines.node(self.target.pending(), event, fill);
        }
    }

    /// Writes until told to stop, or until every sender is gone. Answers whether all that was taken is written.
    pub(super) fn run(mut self, messages: &Receiver<Message>) -> bool {
        self.write(false);
        let mut more = false;
        while !self.signals.stop.load(Ordering::Acquire) {
            match messages.recv_timeout(LOOK) {
                Ok(message) => {
                    self.take(message);
                    if !more {
                        std::thread::sleep(self.gather);
                    }
                    more = self.take_queued(messages);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.write(false);
        }
        while self.take_queued(messages) {
            self.write(false);
        }
        self.end()
    }

    /// Takes what is queued, up to a batch. Answers whether there may be more.
    fn take_queued(&mut self, messages: &Receiver<Message>) -> bool {
        for _ in 0..BATCH {
            let Ok(message) = messages.try_recv() else { return false };
            self.take(message);
        }
        true
    }

    fn take(&mut self, message: Message) {
        let Message::Event(event) = message else { return };
        self.signals.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.target.pending().len() >= HELD {
            self.signals.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match (event, self.format) {
            (Event::Close(outcome), format) => self.lines.closed(self.target.pending(), format, &outcome),
            (Event::Open(outcome), AccessFormat::Json) => self.tell("open", &outcome),
            (Event::Revoked(outcome), AccessFormat::Json) => self.tell("revoked", &outcome),
            (Event::Reload { result, digest }, AccessFormat::Json) => self.say("reload", |line| {
                line.word(key!("result"), result);
                line.text(key!("policy"), &digest);
            }),
            (Event::Open(_) | Event::Revoked(_) | Event::Reload { .. }, AccessFormat::Squid) => {}
        }
    }

    fn tell(&mut self, event: &'static str, outcome: &Outcome) {
        self.lines.connection(self.target.pending(), event, outcome);
    }

    /// Writes what waits, to the file that has the path now.
    fn write(&mut self, ending: bool) {
        self.tell_lost(ending);
        let asked = self.signals.reopen.swap(false, Ordering::AcqRel);
        // Nothing goes to a file that was moved away once that can be seen: it may be about to be compressed.
        let look = !self.target.pending().is_empty() || self.looked.elapsed() >= LOOK;
        if asked || (look && self.target.moved_away()) {
            self.reopen();
        }
        if look {
            self.looked = Instant::now();
        }
        self.flush();
    }

    /// Says how many records were lost since the last time: at once, then at most twice a second.
    fn tell_lost(&mut self, now: bool) {
        let lost = self.signals.lost.load(Ordering::Relaxed);
        let (told, at) = self.told;
        let soon = !now && at.is_some_and(|at| at.elapsed() < LOOK);
        if lost == told || soon || self.retry.is_some() {
            return;
        }
        self.say("lost", |line| line.number(key!("count"), lost - told));
        tracing::warn!(count = lost - told, "access log records were lost");
        self.told = (lost, Some(Instant::now()));
    }

    fn reopen(&mut self) {
        match self.target.reopen() {
            Ok(()) => {
                self.stuck = false;
                // Another file may take what this one did not.
                self.retry = self.retry.map(|_| Instant::now());
            }
            Err(error) if !self.stuck => {
                tracing::error!(%error, "cannot open the access log anew; the file that was moved away goes on");
                self.stuck = true;
            }
            Err(_) => {}
        }
    }

    fn flush(&mut self) {
        if self.retry.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        match self.target.flush() {
            Ok(()) => {
                if self.retry.take().is_some() {
                    tracing::warn!("the access log can be written again");
                    self.tell_lost(true);
                }
            }
            Err(error) => {
                if self.retry.is_none() {
                    tracing::error!(%error, "cannot write the access log; records are held, then lost and counted");
                }
                self.retry = Some(Instant::now() + LOOK);
            }
        }
    }

    /// The last record. Answers whether it is written, and everything before it.
    fn end(mut self) -> bool {
        self.retry = None;
        self.write(true);
        self.say("stop", |_| {});
        let Err(error) = self.target.flush() else { return true };
        let lost = self.target.waiting();
        self.signals.lost.fetch_add(lost, Ordering::Relaxed);
        tracing::error!(%error, lost, "cannot write the end of the access log");
        false
    }
}
