//! The settings of a node after `sekisho.yaml` was read and found right: plain values, nothing left to check.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::nat64::Nat64;

/// Everything that `sekisho.yaml` says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients arrive, in the file's order.
    pub listeners: Vec<Listener>,
    /// The policy file.
    pub policy: PathBuf,
    /// How names are resolved.
    pub dns: Dns,
    /// How servers are dialled.
    pub upstream: Upstream,
    /// Caps.
    pub limits: Limits,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The alert for a name that no rule allows.
    pub refusal_alert: RefusalAlert,
    /// Where decisions are recorded; `None` keeps no record.
    pub access_log: Option<AccessLog>,
    /// `/healthz`, `/readyz`, `/metrics`, `/status`.
    pub admin: Option<Endpoint>,
    /// `/healthz` and `/readyz` alone.
    pub health: Option<Endpoint>,
    /// The operator's log.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// Worker threads, at least one.
    pub threads: usize,
    /// Whether each worker has a processor of its own, and the connections that this one receives.
    pub steering: bool,
}

/// One way in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its label in log and metrics: `name:` in the file, else the bound address as written.
    pub name: Arc<str>,
    /// The address to bind.
    pub bind: SocketAddr,
    /// Whether its IPv6 wildcard takes IPv4 as well.
    pub dual_stack: bool,
    /// How a client says what it wants.
    pub protocol: Protocol,
    /// Where the client's own destination comes from.
    pub destination: Destination,
    /// Whose connections begin with a PROXY header; `None` where nobody's do.
    pub proxy_protocol: Option<Arc<[IpNet]>>,
    /// Whether the servers that it dials are told whom for, by a PROXY header.
    pub send_proxy_protocol: bool,
    /// From where nothing but health checks comes; empty where nobody's are told apart by their address.
    pub health_checks: Arc<[IpNet]>,
    /// Whether its socket has to be handed over by a supervisor, and is never bound here.
    pub handed_over: bool,
}

impl Listener {
    /// Whether nothing but health checks comes from `sender`.
    pub(crate) fn is_checked_from(&self, sender: IpAddr) -> bool {
        self.health_checks.iter().any(|net| net.contains(&sender))
    }
}

/// How the clients of a listener say what they want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS server name.
    Tls,
    /// The Host of one plain HTTP request.
    Http(Methods),
    /// A proxy's client: CONNECT to a name, then TLS; or one plain HTTP request in absolute-form.
    Connect {
        /// Ports that a CONNECT may name.
        ports: Arc<[u16]>,
        /// Methods of requests in absolute-form.
        methods: Methods,
    },
}

/// The HTTP methods that a listener serves, as they are sent.
pub type Methods = Arc<[Box<str>]>;

impl Protocol {
    /// Its word in the file and in the access log.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http(_) => "http",
            Self::Connect { .. } => "connect",
        }
    }
}

/// Where a listener learns what its client dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// From the kernel's NAT table: iptables or nftables REDIRECT.
    Redirect,
    /// From the connection itself, which keeps it: iptables or nftables TPROXY.
    Tproxy,
    /// Nowhere: a balancer is the destination, and this port is dialled.
    None {
        /// The port dialled upstream.
        port: u16,
    },
}

impl std::fmt::Display for Destination {
    /// As the file writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Redirect => f.write_str("redirect"),
            Self::Tproxy => f.write_str("tproxy"),
            Self::None { port } => write!(f, "none, port {port}"),
        }
    }
}

/// How names are resolved.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Servers to ask; empty means the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// The shortest time an answer is kept.
    pub ttl_min: Duration,
    /// The longest.
    pub ttl_max: Duration,
    /// How long an expired answer may still serve while every server fails.
    pub serve_stale: Duration,
}

/// How servers are dialled.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// This host's addresses that are dialled from, in turn; for a family without one the kernel chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Prefixes by which a translator reaches IPv4.
    pub nat64: Nat64,
}

/// Caps on what the process holds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one client address.
    pub connections_per_client: usize,
    /// Connections whose verdict has not fallen yet.
    pub undecided: usize,
    /// Handshake bytes of a hello.
    pub hello_handshake: usize,
    /// Raw bytes of a hello, record headers included.
    pub hello_raw: usize,
}

/// Deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the whole hello, from accept.
    pub hello: Duration,
    /// For all of dialling.
    pub connect: Duration,
    /// Without a byte in either direction.
    pub idle: Duration,
    /// Without a byte once one side has finished.
    pub half_closed: Duration,
}

/// The alert for a name that no rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RefusalAlert {
    /// `access_denied` (49), which the AWS CLI prints as such.
    #[default]
    AccessDenied,
    /// `unrecognized_name` (112).
    UnrecognizedName,
}

/// Where decisions are recorded.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The file; `None` is stdout.
    pub path: Option<PathBuf>,
    /// A line's form.
    pub format: AccessFormat,
    /// Records that may wait for the writer before any is lost.
    pub queue: usize,
    /// Whether the clients' TLS fingerprints are recorded.
    pub ja4: bool,
}

/// A line's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AccessFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Squid's native `access.log`.
    Squid,
}

/// An endpoint that is read only.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address to bind.
    pub bind: SocketAddr,
    /// Who may read it; empty means anybody who reaches it.
    pub allow: Vec<IpNet>,
}

impl Endpoint {
    /// Whether `client` may read the endpoint.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&client))
    }
}

/// The operator's log.
#[derive(Clone, Debug)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// JSON instead of text.
    pub json: bool,
}

/// How the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// Not ready, but accepting, for so long.
    pub lame_duck: Duration,
    /// Then open connections may finish for so long.
    pub drain: Duration,
}
