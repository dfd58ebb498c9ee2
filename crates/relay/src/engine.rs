//! The engine: the listening sockets, and one worker for each core.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};

use crate::accept::{Way, accept};
use crate::handed::{Handed, Row};
use crate::limits::Caps;
use crate::listen::{self, BindError};
use crate::metrics::{Metrics, Shard};
use crate::settings::Settings;
use crate::shared::{Phase, Shared};
use crate::steering::{self, stay_on, steer};
use crate::worker::Worker;

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A worker could not be started.
    #[error("cannot start a worker thread")]
    Worker(#[source] io::Error),
}

/// Listening sockets, bound and not yet served: one row for each listener, with the sockets of each worker in it.
#[derive(Debug)]
pub struct Sockets {
    rows: Vec<Row>,
    /// The workers' processors, where they have some of their own.
    processors: Vec<usize>,
}

impl Sockets {
    /// Takes or binds the sockets of every listener of the settings, or none.
    ///
    /// # Errors
    /// [`BindError`] says which cannot be had, and why.
    pub fn open(settings: &Settings, handed: Handed) -> Result<Self, BindError> {
        let threads = settings.threads.max(1);
        let own = handed.is_empty();
        let rows = listen::open(&settings.listeners, threads, handed)?;
        let processors = match (settings.steering, own) {
            (false, _) => Vec::new(),
            (true, true) => steered(&rows, threads),
            (true, false) => {
                tracing::warn!("no steering: sockets are handed over, and may be shared");
                Vec::new()
            }
        };
        Ok(Self { rows, processors })
    }

    /// The addresses that were bound, in the settings' order, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.rows.iter().filter_map(|row| row.first()?.first()?.local_addr().ok()).collect()
    }
}

/// The workers' processors, once their sockets have the connections of these. Without, connections are dealt out by the
/// kernel's hash, which costs speed only.
fn steered(rows: &[Row], workers: usize) -> Vec<usize> {
    let Some(processors) = steering::processors(workers) else {
        tracing::warn!(workers, "no steering: there are fewer processors than workers");
        return Vec::new();
    };
    match rows.iter().try_for_each(|row| steer(row.iter().flatten(), &processors)) {
        Ok(()) => processors,
        Err(error) => {
            tracing::warn!(%error, "no steering: the kernel refuses it");
            Vec::new()
        }
    }
}

/// The running workers.
#[derive(Debug)]
pub struct Engine {
    caps: Arc<Caps>,
    phase: watch::Sender<Phase>,
    /// Held by each worker while it runs.
    running: Weak<()>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Engine {
    /// Starts the workers that the rows are for. They serve at once.
    pub fn start(shared: &Arc<Shared>, metrics: &Metrics, sockets: Sockets) -> Result<Self, StartError> {
        let (phase, receiver) = watch::channel(Phase::Serve);
        if !sockets.processors.is_empty() {
            shared.features.steered();
        }
        let workers = sockets.rows.first().map_or(0, Vec::len);
        let mut rows: Vec<_> = sockets.rows.into_iter().map(Vec::into_iter).collect();
        let token = Arc::new(());
        let running = Arc::downgrade(&token);
        let threads = (0..workers)
            .map(|number| {
                let listeners = rows.iter_mut().filter_map(Iterator::next).collect();
                let (shared, shard, phase) = (Arc::clone(shared), metrics.shard(), receiver.clone());
                let token = Arc::clone(&token);
                let processor = sockets.processors.get(number).copied();
                std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                    if let Some(Err(error)) = processor.map(stay_on) {
                        tracing::warn!(%error, "a worker cannot be kept on its processor, so steering is slower than none");
                    }
                    let result = work(number, shared, shard, listeners, phase);
                    drop(token);
                    result
                })
            })
            .collect::<io::Result<_>>()
            .map_err(StartError::Worker)?;
        Ok(Self { caps: Arc::clone(&shared.caps), phase, running, threads })
    }

    /// Connections that are open.
    pub fn active(&self) -> usize {
        self.caps.connections()
    }

    /// Whether every worker still runs; one that ended by itself means that this process should end too.
    pub fn healthy(&self) -> bool {
        self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Takes what the kernel has queued already, closes the listening sockets, and lets what is open go on.
    pub fn stop_accepting(&self) {
        self.phase.send_replace(Phase::Drain);
    }

    /// Waits until every worker has taken what was queued and its last connection has ended, for at most `patience`.
    ///
    /// Cancellation safe: it only looks.
    pub fn drained(&self, patience: Duration) -> impl Future<Output = ()> + use<> {
        let running = Weak::clone(&self.running);
        async move {
            let deadline = tokio::time::Instant::now() + patience;
            while running.strong_count() > 0 && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Ends every connection that is left and waits for the workers. Each connection has its record when this returns.
    pub fn abort(self) {
        self.phase.send_replace(Phase::Abort);
        for thread in self.threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a worker failed"),
                Err(_) => tracing::error!("a worker panicked"),
            }
        }
    }
}

/// A worker's thread: its own runtime, until the engine tells it to end and its connections have.
fn work(
    index: usize,
    shared: Arc<Shared>,
    shard: Arc<Shard>,
    listeners: Vec<Vec<TcpListener>>,
    phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, async move {
        let ways: Vec<_> = shared.settings.listeners.iter().cloned().map(Rc::new).collect();
        let worker = Rc::new(Worker::new(index, shared, shard));
        let mut acceptors = JoinSet::new();
        for ((index, listener), sockets) in (0..).zip(ways).zip(listeners) {
            for socket in sockets {
                let socket = tokio::net::TcpListener::from_std(socket)?;
                let way = Way { index, listener: Rc::clone(&listener) };
                acceptors.spawn_local(accept(Rc::clone(&worker), way, socket, phase.clone()));
            }
        }
        worker.tick_until_done(phase, acceptors).await;
        Ok(())
    })
}
