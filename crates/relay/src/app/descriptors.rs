//! File descriptors: two for each relayed connection, and a few more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::settings::Limits;

/// What the process needs besides its connections: listeners, logs, DNS sockets, pipes.
const BESIDES: u64 = 1000;

/// Raises this process's limit as far as it may, and says so where that is less than the caps promise.
pub(super) fn raise(limits: &Limits) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::debug!("cannot raise the limit on open files");
    }
    let needed = 2 * limits.connections as u64 + BESIDES;
    if let Some(may) = getrlimit(Resource::Nofile).current.filter(|may| *may < needed) {
        tracing::warn!(
            "limits.connections {} needs {needed} open files and this process may have {may}: raise LimitNOFILE, or lower \
             the cap to {}",
            limits.connections,
            may.saturating_sub(BESIDES) / 2,
        );
    }
}
