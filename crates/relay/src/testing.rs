//! What several modules' tests begin with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{consume_budget, yield_now};

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

/// Both ends of a connection, with room for as much as the kernel gives.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (one, other) = (one.unwrap(), other.unwrap().0);
    for stream in [&one, &other] {
        SockRef::from(stream).set_recv_buffer_size(8 << 20).unwrap();
        SockRef::from(stream).set_send_buffer_size(8 << 20).unwrap();
    }
    (one, other)
}

/// Writes as much as is taken at once, and no more than `most` bytes. How many that were.
pub(crate) fn fill(stream: &TcpStream, most: usize) -> usize {
    let mut filled = 0;
    while filled < most
        && let Ok(count) = stream.try_write(&vec![b'x'; most - filled])
    {
        filled += count;
    }
    filled
}

/// Uses up a task's turn but for so many of the units that the runtime gives it, which are 128.
pub(crate) async fn last_of_a_turn(left: usize) {
    yield_now().await;
    for _ in left..128 {
        consume_budget().await;
    }
}
