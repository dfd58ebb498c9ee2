//! A node's settings and policy, for the tests that ask the program itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sekisho::policy_store::PolicyStore;
use sekisho::settings::{
    AccessFormat, AccessLog, Destination, Dns, Limits, Listener, Log, Protocol, RefusalAlert, Settings, Shutdown,
    Timeouts, Upstream,
};

/// Settings with one listener, and an access log at `path`.
pub(crate) fn settings(path: Option<PathBuf>, format: AccessFormat, queue: usize) -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        listeners: vec![Listener {
            name: "0.0.0.0:8443".into(),
            bind: ([0, 0, 0, 0], 8443).into(),
            protocol: Protocol::Tls,
            destination: Destination::Redirect,
            dual_stack: false,
            proxy_protocol: None,
            handed_over: false,
            send_proxy_protocol: false,
            health_checks: Arc::default(),
        }],
        policy: "policy.yaml".into(),
        dns: Dns { servers: Vec::new(), ttl_min: second, ttl_max: second, serve_stale: second },
        upstream: Upstream::default(),
        limits: Limits { connections: 1, connections_per_client: 1, undecided: 1, hello_handshake: 1, hello_raw: 1 },
        timeouts: Timeouts { hello: second, connect: second, idle: second, half_closed: second },
        refusal_alert: RefusalAlert::AccessDenied,
        access_log: path.map(|path| AccessLog { path: Some(path), format, queue, ja4: false }),
        admin: None,
        health: None,
        log: Log { level: tracing::Level::INFO, json: false },
        shutdown: Shutdown { lame_duck: second, drain: second },
        threads: 1,
        steering: false,
    }
}

/// A policy with one rule, in force.
pub(crate) fn policy() -> PolicyStore {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("policy.yaml");
    std::fs::write(&path, "version: 1\nrules:\n  - { name: reports, hosts: [reports.example.com] }\n")
        .expect("the file");
    PolicyStore::open(&path, 1).expect("the policy is right").0
}
