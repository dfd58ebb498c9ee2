//! What several modules' tests begin with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::policy_store::PolicyStore;
use crate::settings::{
    Destination, Dns, Limits, Listener, Log, Protocol, RefusalAlert, Settings, Shutdown, Timeouts, Upstream,
};

/// Settings of a node with one listener, named `in`, and nothing besides.
pub(crate) fn settings() -> Settings {
    let second = Duration::from_secs(1);
    let bind = ([0, 0, 0, 0], 8443).into();
    Settings {
        listeners: vec![Listener {
            name: "in".into(),
            bind,
            protocol: Protocol::Tls,
            destination: Destination::Redirect,
            dual_stack: false,
            proxy_protocol: None,
            handed_over: false,
            send_proxy_protocol: false,
            health_checks: Arc::default(),
        }],
        policy: PathBuf::new(),
        dns: Dns { servers: Vec::new(), ttl_min: second, ttl_max: second, serve_stale: second },
        upstream: Upstream::default(),
        limits: Limits {
            connections: 50_000,
            connections_per_client: 1_000,
            undecided: 10_000,
            hello_handshake: 16 << 10,
            hello_raw: 32 << 10,
        },
        timeouts: Timeouts { hello: second, connect: second, idle: second, half_closed: second },
        refusal_alert: RefusalAlert::AccessDenied,
        access_log: None,
        admin: None,
        health: None,
        log: Log { level: tracing::Level::INFO, json: false },
        shutdown: Shutdown { lame_duck: second, drain: second },
        threads: 1,
        steering: false,
    }
}

/// A policy of this text, and the directory that it is in.
pub(crate) fn policy(text: &str) -> (tempfile::TempDir, PolicyStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.yaml");
    std::fs::write(&path, text).unwrap();
    let (store, _) = PolicyStore::open(&path, 1).unwrap();
    (dir, store)
}
