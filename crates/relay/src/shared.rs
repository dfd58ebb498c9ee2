//! What a process's workers share: named here, and nothing else is.

use std::sync::Arc;

use sekisho_resolve::Resolver;

use crate::features::Features;
use crate::limits::Caps;
use crate::own::OwnSockets;
use crate::policy_store::PolicyStore;
use crate::recent::Recent;
use crate::record::AccessLog;
use crate::settings::Settings;
use crate::sources::Sources;

/// What is process-wide by nature, and nothing else is.
#[derive(Debug)]
pub struct Shared {
    /// The node's settings.
    pub settings: Settings,
    /// The policy in force, as a snapshot.
    pub policy: Arc<PolicyStore>,
    /// The resolver, on its own thread.
    pub resolver: Resolver,
    /// The queue to the access log's writer.
    pub log: AccessLog,
    /// The caps.
    pub caps: Arc<Caps>,
    /// What is never dialled because it is this process.
    pub own: OwnSockets,
    /// What is dialled from.
    pub sources: Arc<Sources>,
    /// Which optional parts of the kernel serve.
    pub features: Arc<Features>,
    /// What was refused lately.
    pub recent: Recent,
}

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accept and serve.
    Serve,
    /// Accept what is queued and no more; serve what there is.
    Drain,
    /// End every connection.
    Abort,
}
