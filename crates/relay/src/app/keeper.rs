//! The thread that keeps the policy: it looks at the files each second and loads them when it may, or when it is told to.
//! Loading a long list takes a moment, which neither a worker nor the admin endpoint should feel.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::policy_store::ReloadResult;
use crate::record::Event;
use crate::shared::Shared;

const LOOK: Duration = Duration::from_secs(1);
/// On cores that are all busy, a tenth of a worker's share: a million names then take some ten seconds.
const NICE: i32 = 10;

pub(super) struct Keeper {
    orders: Sender<oneshot::Sender<ReloadResult>>,
    thread: JoinHandle<()>,
}

impl Keeper {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let (orders, received) = channel::<oneshot::Sender<ReloadResult>>();
        let thread = std::thread::Builder::new().name("policy".to_owned()).spawn(move || {
            // Its own thread's alone, on Linux. A policy may come a moment later; connections may not. Where this is not
            // allowed, they share the cores as equals.
            let _ = rustix::process::nice(NICE);
            loop {
                let (result, asked) = match received.recv_timeout(LOOK) {
                    Ok(asked) => (Some(shared.policy.reload()), Some(asked)),
                    Err(RecvTimeoutError::Timeout) => (shared.policy.poll(), None),
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                if let Some(result) = result {
                    let digest = shared.policy.current().policy.digest().to_owned();
                    shared.log.record(Event::Reload { result: result.label(), digest });
                    if let Some(asked) = asked {
                        // Who asked may have stopped waiting.
                        let _ = asked.send(result);
                    }
                }
            }
        })?;
        Ok(Self { orders, thread })
    }

    /// Loads the files as they are, and waits until that is done.
    pub(super) async fn reload(&self) {
        let (asked, done) = oneshot::channel();
        if self.orders.send(asked).is_ok() {
            // The result is in the log and the metrics.
            let _ = done.await;
        }
    }

    pub(super) fn stop(self) {
        drop(self.orders);
        if self.thread.join().is_err() {
            tracing::error!("the policy's thread panicked");
        }
    }
}
