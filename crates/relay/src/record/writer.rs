//! The thread that writes the access log.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::file::Target;
use super::line::{self, Line};
use super::{Event, Message, Signals};
use crate::settings::AccessFormat;

/// Bytes that are written at a time while records keep coming.
const BATCH: usize = 64 << 10;
/// Bytes that wait while the file cannot be written. Records beyond them are lost.
const HELD: usize = 1 << 20;
/// How often the path is looked at, and a failed write is tried again.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Writer {
    target: Target,
    format: AccessFormat,
    listeners: Vec<Arc<str>>,
    signals: Arc<Signals>,
    /// Lost records that the log has told of.
    told: u64,
    looked: Instant,
    /// Since when the file cannot be written.
    failing: Option<Instant>,
}

impl Writer {
    pub(super) fn new(target: Target, format: AccessFormat, listeners: Vec<Arc<str>>, signals: Arc<Signals>) -> Self {
        Self { target, format, listeners, signals, told: 0, looked: Instant::now(), failing: None }
    }

    /// The first record.
    pub(super) fn begin(&mut self, digest: &str) {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let line = Line {
            pid: Some(std::process::id()),
            version: Some(env!("CARGO_PKG_VERSION")),
            node: Some(node),
            policy: Some(digest),
            ..Line::node("start")
        };
        line::json(self.target.pending(), self.format, &line);
    }

    /// Writes until told to stop, or until every sender is gone.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(LOOK) {
                Ok(message) => {
                    self.take(message);
                    while self.target.pending().len() < BATCH {
                        let Ok(message) = messages.try_recv() else { break };
                        self.take(message);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look_at_file();
            self.flush();
            if self.signals.stop.load(Ordering::Acquire) {
                break;
            }
        }
        while let Ok(message) = messages.try_recv() {
            self.take(message);
            if self.target.pending().len() >= BATCH {
                self.flush();
            }
        }
        self.end();
    }

    fn take(&mut self, message: Message) {
        let Message::Event(event) = message else { return };
        if self.target.pending().len() >= HELD {
            self.signals.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.tell_lost();
        let (format, listeners) = (self.format, &self.listeners);
        let out = self.target.pending();
        match &event {
            Event::Close(outcome) if format == AccessFormat::Squid => line::squid(out, outcome),
            Event::Close(outcome) => line::json(out, format, &Line::connection("close", outcome, listeners)),
            Event::Open(outcome) => line::json(out, format, &Line::connection("open", outcome, listeners)),
            Event::Reload { result, digest } => {
                let line = Line { result: Some(result), policy: Some(digest), ..Line::node("reload") };
                line::json(out, format, &line);
            }
        }
    }

    /// Says how many records were lost since the last time.
    fn tell_lost(&mut self) {
        let lost = self.signals.lost.load(Ordering::Relaxed);
        if lost > self.told && self.failing.is_none() {
            let line = Line { count: Some(lost - self.told), ..Line::node("lost") };
            line::json(self.target.pending(), self.format, &line);
            tracing::warn!(count = lost - self.told, "access log records were lost");
            self.told = lost;
        }
    }

    /// Opens the path anew when it was asked for, or when it has become another file.
    fn look_at_file(&mut self) {
        let asked = self.signals.reopen.swap(false, Ordering::AcqRel);
        if !asked && self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        if !asked && !self.target.moved_away() {
            return;
        }
        // What waits was decided before the move; the file that was moved away is still its place.
        self.flush();
        if let Err(error) = self.target.reopen() {
            tracing::error!(%error, "cannot reopen the access log; the file that was moved away goes on");
        }
    }

    fn flush(&mut self) {
        if self.failing.is_some_and(|tried| tried.elapsed() < LOOK) {
            return;
        }
        match self.target.flush() {
            Ok(()) => {
                if self.failing.take().is_some() {
                    tracing::warn!("the access log can be written again");
                    self.tell_lost();
                }
            }
            Err(error) => {
                if self.failing.is_none() {
                    tracing::error!(%error, "cannot write the access log; records are held, then lost and counted");
                }
                self.failing = Some(Instant::now());
            }
        }
    }

    fn end(mut self) {
        self.failing = None;
        self.tell_lost();
        line::json(self.target.pending(), self.format, &Line::node("stop"));
        if let Err(error) = self.target.flush() {
            let lost = self.target.waiting();
            self.signals.lost.fetch_add(lost, Ordering::Relaxed);
            tracing::error!(%error, lost, "cannot write the end of the access log");
        }
    }
}
