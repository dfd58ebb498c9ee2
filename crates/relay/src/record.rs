//! The access log: what was decided of every connection, on its way from the workers to one writer over a bounded queue.

mod file;
mod line;
mod object;
mod squid;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::outcome::Outcome;
use crate::settings::{self, Settings};

use file::Target;
pub use line::Lines;
use writer::Writer;

/// How long the writer may take to write what is queued when the process ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something that the access log tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// A connection that is still open a minute after its verdict, as it stands.
    Open(Box<Outcome>),
    /// A connection that has ended.
    Close(Box<Outcome>),
    /// An open connection that the policy would now refuse: as it stands, with the verdict, rule and reason of now.
    Revoked(Box<Outcome>),
    /// A policy was loaded, or was found faulty.
    Reload {
        /// `loaded` or `failed`.
        result: &'static str,
        /// The digest of the policy that is in force now.
        digest: String,
    },
}

/// The way to the access log's writer. Nothing here blocks a worker.
#[derive(Debug)]
pub struct AccessLog {
    /// `None` when no access log is kept.
    queue: Option<Queue>,
    shared: Arc<Signals>,
    /// Whether everything was written, once the writer has ended.
    done: Mutex<Option<Receiver<bool>>>,
}

/// The sending end of the queue. It is a list and not an array: an array that holds the longest wait would keep its memory
/// while nothing waits.
#[derive(Debug)]
struct Queue {
    messages: Sender<Message>,
    /// Records that may wait.
    room: usize,
}

#[derive(Debug)]
enum Message {
    Event(Event),
    /// Look at the signals.
    Look,
}

/// What is told to the writer beside the queue, and what it tells back.
#[derive(Debug, Default)]
struct Signals {
    /// Records that wait in the queue. A count alone, so relaxed order is enough.
    waiting: AtomicUsize,
    lost: AtomicU64,
    reopen: AtomicBool,
    stop: AtomicBool,
}

impl AccessLog {
    /// Opens the log and starts its writer, whose first record is `start`. `digest` is the policy's.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread cannot be made.
    pub fn start(settings: &Settings, digest: &str) -> std::io::Result<Self> {
        match &settings.access_log {
            None => Ok(Self { queue: None, shared: Arc::default(), done: Mutex::default() }),
            Some(log) => Self::start_writer(log, settings, digest),
        }
    }

    fn start_writer(log: &settings::AccessLog, settings: &Settings, digest: &str) -> std::io::Result<Self> {
        let target = Target::open(log.path.as_deref())?;
        let listeners = settings.listeners.iter();
        let listeners = listeners.map(|listener| (Arc::clone(&listener.name), listener.protocol.label())).collect();
        let (sender, messages) = channel();
        let (finished, done) = channel();
        let shared = Arc::new(Signals::default());
        let mut writer = Writer::new(target, log.format, log.queue, listeners, Arc::clone(&shared));
        writer.begin(digest);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            let written = writer.run(&messages);
            // The receiver may have stopped waiting.
            let _ = finished.send(written);
        })?;
        let queue = Queue { messages: sender, room: log.queue.max(1) };
        Ok(Self { queue: Some(queue), shared, done: Mutex::new(Some(done)) })
    }

    /// Queues a record. When the queue is full the record is lost, and counted.
    pub fn record(&self, event: Event) {
        let Some(queue) = &self.queue else { return };
        let room = self.shared.waiting.fetch_add(1, Ordering::Relaxed) < queue.room;
        if room && queue.messages.send(Message::Event(event)).is_ok() {
            return;
        }
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that are lost: the queue was full, or the file could not be written.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Tells the writer to open its file anew.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.look();
    }

    /// Writes everything that is queued, then `stop`. Answers whether that was done in a few seconds. Blocks; what is
    /// recorded afterwards is lost.
    pub fn finish(&self) -> bool {
        self.shared.stop.store(true, Ordering::Release);
        self.look();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.is_none_or(|done| done.recv_timeout(PATIENCE).unwrap_or(false))
    }

    fn look(&self) {
        if let Some(queue) = &self.queue {
            // A writer that has ended does not look.
            let _ = queue.messages.send(Message::Look);
        }
    }
}
