//! The node as data: what `/status.json` and the page show, and what `/readyz` says.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;

use crate::node::{Node, Stage};
use crate::outcome::Verdict;
use crate::policy_store::{Fault, ReloadResult};

/// Everything that the status page shows.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) version: &'static str,
    pub(super) started: String,
    pub(super) uptime_seconds: u64,
    pub(super) stage: &'static str,
    pub(super) ready: bool,
    pub(super) threads: usize,
    pub(super) listeners: Vec<Listener>,
    pub(super) connections: Connections,
    pub(super) policy: Policy,
    pub(super) rules: Vec<Rule>,
    pub(super) dns: Dns,
    /// What is dialled from.
    pub(super) sources: Vec<Source>,
    pub(super) features: Features,
    pub(super) access_log: AccessLog,
    /// What was not simply allowed, one row for each host and reason, the latest first.
    pub(super) recent: Vec<Recent>,
}

#[derive(Debug, Serialize)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) address: Option<SocketAddr>,
    pub(super) active: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Connections {
    pub(super) open: usize,
    pub(super) limit: usize,
    pub(super) undecided: usize,
    pub(super) undecided_limit: usize,
    pub(super) per_client_limit: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Policy {
    pub(super) path: String,
    pub(super) digest: String,
    pub(super) generation: u64,
    pub(super) loaded: String,
    pub(super) mode: &'static str,
    pub(super) rules: usize,
    pub(super) reloads_loaded: u64,
    pub(super) reloads_failed: u64,
    /// Why the files are not what is in force, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) differs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) differs_since: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) action: &'static str,
    pub(super) mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) audited: u64,
    pub(super) failed: u64,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Dns {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) names: usize,
    pub(super) stale: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Source {
    /// The kernel's choice has none.
    pub(super) address: Option<IpAddr>,
    pub(super) exhausted: u64,
}

/// Which optional parts of the kernel serve.
#[derive(Debug, Serialize)]
pub(super) struct Features {
    pub(super) splice: bool,
    pub(super) pipe_bytes: usize,
    /// `None` where there is nothing to bind.
    pub(super) bind_address_no_port: Option<bool>,
    /// `None` where the configuration does not ask for it.
    pub(super) steering: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct AccessLog {
    pub(super) lost: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Recent {
    pub(super) host: Option<String>,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
    pub(super) count: u64,
    pub(super) last: String,
    pub(super) client: IpAddr,
}

/// Rules and recent hosts that are shown; a policy may have ten thousand.
const SHOWN: usize = 1000;

impl Status {
    pub(super) fn of(node: &Node) -> Self {
        let shared = node.shared();
        let settings = &shared.settings;
        let listeners = settings.listeners.iter().enumerate().map(|(index, listener)| Listener {
            name: listener.name.to_string(),
            address: node.listening().get(index).copied(),
            active: node.metrics().active(index),
        });
        let names = shared.resolver.entries();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            started: time(node.started()),
            uptime_seconds: node.started().elapsed().unwrap_or_default().as_secs(),
            stage: node.stage().label(),
            ready: node.ready(),
            threads: settings.threads,
            listeners: listeners.collect(),
            connections: Connections {
                open: shared.caps.connections(),
                limit: settings.limits.connections,
                undecided: shared.caps.undecided(),
                undecided_limit: settings.limits.undecided,
                per_client_limit: settings.limits.connections_per_client,
            },
            policy: Policy::of(node),
            rules: rules(node),
            dns: Dns {
                servers: shared.resolver.servers().to_vec(),
                names: names.len(),
                stale: names.iter().filter(|name| name.stale).count(),
            },
            sources: shared
                .sources
                .used()
                .map(|source| Source { address: source.address(), exhausted: source.exhausted() })
                .collect(),
            features: Features {
                splice: shared.features.splice(),
                pipe_bytes: shared.features.pipe_bytes(),
                bind_address_no_port: shared.sources.late_ports(),
                steering: settings.steering.then(|| shared.features.steering()),
            },
            access_log: AccessLog { lost: shared.log.lost() },
            recent: recent(node),
        }
    }
}

impl Policy {
    fn of(node: &Node) -> Self {
        let store = &node.shared().policy;
        let active = store.current();
        let fault = store.fault();
        Self {
            path: store.path().display().to_string(),
            digest: active.policy.digest().to_owned(),
            generation: active.generation.into(),
            loaded: time(active.loaded_at),
            mode: active.policy.mode().label(),
            rules: active.policy.rules().len(),
            reloads_loaded: store.reloads(ReloadResult::Loaded),
            reloads_failed: store.reloads(ReloadResult::Failed),
            differs_since: fault.as_ref().map(|fault| time(fault.since)),
            differs: fault.map(|Fault { summary, .. }| summary),
        }
    }
}

fn rules(node: &Node) -> Vec<Rule> {
    let active = node.shared().policy.current();
    let uses = active.uses().map(|(_, used)| used);
    let rules = active.policy.rules().iter().zip(uses).take(SHOWN);
    rules
        .map(|(rule, used)| {
            let (bytes_up, bytes_down) = used.bytes();
            Rule {
                name: rule.name.to_string(),
                action: rule.action.label(),
                mode: rule.mode.label(),
                owner: rule.owner.as_deref().map(str::to_owned),
                expires: rule.expires.and_then(|last| Timestamp::from_second(last).ok()).map(|last| last.to_string()),
                allowed: used.decisions(Verdict::Allowed),
                refused: used.decisions(Verdict::Refused),
                audited: used.decisions(Verdict::Audited),
                failed: used.decisions(Verdict::Failed),
                bytes_up,
                bytes_down,
            }
        })
        .collect()
}

fn recent(node: &Node) -> Vec<Recent> {
    let rows = node.shared().recent.rows().into_iter().take(SHOWN);
    rows.map(|row| Recent {
        host: row.host.map(|host| host.as_str().to_owned()),
        verdict: row.verdict.label(),
        reason: row.reason.label(),
        count: row.count,
        last: time(row.last.0),
        client: row.last.1,
    })
    .collect()
}

/// Whether the node should get traffic, and a line or two for who asks. A policy that could not be reloaded does not
/// make a node unready: the one in force still decides.
pub(super) fn readiness(node: &Node) -> (bool, String) {
    let ready = node.ready();
    let mut text = match node.stage() {
        Stage::Serving => "ready\n".to_owned(),
        stage => format!("not ready: {}\n", stage.label()),
    };
    if let Some(Fault { summary, .. }) = node.shared().policy.fault() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "the policy's files are not what is in force: {summary}");
    }
    (ready, text)
}

fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|time| format!("{time:.0}")).unwrap_or_default()
}
