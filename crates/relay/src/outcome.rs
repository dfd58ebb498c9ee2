//! What became of one connection: everything that is counted or logged of it comes from here.

mod offered;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use sekisho_name::Name;
use sekisho_policy::Protocol;

use crate::compact::{Addr, LongMicros, Micros};
use crate::reason::Reason;

pub use offered::Offered;
pub(crate) use offered::Offers;

/// The gate's word on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// A rule allowed it and it reached its upstream.
    Allowed,
    /// It was not let through.
    Refused,
    /// It would have been refused; audit mode let it through.
    Audited,
    /// It was allowed but could not be served: no name, no route, no answer.
    Failed,
}

impl Verdict {
    /// Every verdict that there is.
    pub const ALL: &[Self] = &[Self::Allowed, Self::Refused, Self::Audited, Self::Failed];

    /// What a reason that stopped a connection makes of it: the gate's own word, or a failure of something it needs.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::NameNotFound
            | Reason::DnsFailed
            | Reason::ConnectFailed
            | Reason::ConnectTimeout
            | Reason::PortsExhausted
            | Reason::DescriptorsExhausted
            | Reason::ClientClosed
            | Reason::Probe => Self::Failed,
            Reason::NoRule
            | Reason::DeniedByRule
            | Reason::RuleExpired
            | Reason::AuditRule
            | Reason::EchDenied
            | Reason::NoSni
            | Reason::ForbiddenAddress
            | Reason::DestinationMismatch
            | Reason::DuplicateExtension
            | Reason::MultipleNames
            | Reason::Malformed
            | Reason::InvalidName
            | Reason::HelloTooLarge
            | Reason::ObsoleteProtocol
            | Reason::NotTls
            | Reason::HelloTimeout
            | Reason::OverConnectionLimit
            | Reason::OverClientLimit
            | Reason::NotRedirected
            | Reason::SniChanged
            | Reason::SniMismatch
            | Reason::ProxyHeaderMissing
            | Reason::ProxyHeaderMalformed
            | Reason::ProxyHeaderUntrusted
            | Reason::BadRequest
            | Reason::MethodNotAllowed
            | Reason::TargetNotAllowed => Self::Refused,
        }
    }

    /// The label in the access log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Audited => "audited",
            Self::Failed => "failed",
        }
    }
}

/// Whether the address that a client dialled is one of those of the name that it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DstMatches {
    /// The last answer of the gate's own DNS has it.
    Yes,
    /// An earlier answer within `dns.ttl.max` had it.
    Recent,
    /// No answer that the gate knows of has it.
    No,
}

impl DstMatches {
    /// Every value that there is.
    pub const ALL: &[Self] = &[Self::Yes, Self::Recent, Self::No];

    /// The label in the access log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Recent => "recent",
            Self::No => "no",
        }
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// The client closed or finished first.
    Client,
    /// The upstream closed or finished first.
    Upstream,
    /// The client reset the connection.
    ClientReset,
    /// The upstream reset the connection.
    UpstreamReset,
    /// The gate refused it.
    Gate,
    /// No byte moved for the idle timeout.
    Idle,
    /// One side had finished and the other did not within its bound.
    HalfClosed,
    /// The policy changed, or a rule expired, and it asks that such connections are closed.
    Revoked,
    /// The drain's deadline passed at shutdown.
    Shutdown,
}

impl ClosedBy {
    /// The label in the access log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::Gate => "gate",
            Self::Idle => "idle",
            Self::HalfClosed => "half_closed",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One connection's record. Unknown things are `None` and absent from the log. Every open connection has one, so its size
/// is most of what a quiet connection costs.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Unique within this process's life; written as 16 hex digits.
    pub conn: u64,
    /// The position of its listener in the configuration, which is also its metrics' index.
    pub listener: u16,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// The client, a v4-mapped address written as IPv4.
    pub client: Addr,
    /// Where the client wanted to go before the redirect.
    pub original_dst: Option<Addr>,
    /// Whether that is one of the name's addresses. Unknown of who asks a proxy, and before the name is resolved.
    pub dst_matches: Option<DstMatches>,
    /// The name that it asked for.
    pub host: Option<Name>,
    /// The port that is dialled.
    pub port: Option<u16>,
    /// What the rules call the way in which it was asked.
    pub protocol: Protocol,
    /// The gate's word.
    pub verdict: Verdict,
    /// The rule that decided, by name.
    pub rule: Option<Arc<str>>,
    /// Why, unless it was simply allowed.
    pub reason: Option<Reason>,
    /// A few words more where a reason has several causes.
    pub detail: Option<&'static str>,
    /// The address that was dialled and answered (or, on failure, the last one tried).
    pub upstream: Option<Addr>,
    /// Bytes relayed from client to upstream, the hello included.
    pub bytes_up: u64,
    /// Bytes relayed from upstream to client.
    pub bytes_down: u64,
    /// From accept to end.
    pub duration: LongMicros,
    /// From accept until the hello was whole.
    pub hello: Option<Micros>,
    /// Spent resolving.
    pub dns: Option<Micros>,
    /// Spent dialling.
    pub connect: Option<Micros>,
    /// Who ended it.
    pub closed_by: Option<ClosedBy>,
    /// What the hello said besides the name. Clients of one kind share it.
    pub offered: Option<Arc<Offered>>,
    /// What few connections have.
    pub more: Option<Box<More>>,
}

/// What few connections have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct More {
    /// The HTTP method that was asked for; `CONNECT` where a tunnel was.
    pub method: Option<Box<str>>,
    /// The status that the upstream answered, where the gate saw it.
    pub status: Option<u16>,
    /// The VPC endpoint that a balancer says the client came through.
    pub vpce: Option<Box<str>>,
}

impl Outcome {
    /// The record of a connection that was just accepted: nothing is known yet but who and where.
    pub fn new(conn: u64, listener: u16, client: SocketAddr) -> Self {
        Self {
            conn,
            listener,
            accepted: SystemTime::now(),
            client: client.into(),
            original_dst: None,
            dst_matches: None,
            host: None,
            port: None,
            protocol: Protocol::Tls,
            verdict: Verdict::Failed,
            rule: None,
            reason: None,
            detail: None,
            upstream: None,
            bytes_up: 0,
            bytes_down: 0,
            duration: LongMicros::default(),
            hello: None,
            dns: None,
            connect: None,
            closed_by: None,
            offered: None,
            more: None,
        }
    }

    /// The record of another request on the same connection.
    pub(crate) fn successor(&self, conn: u64) -> Self {
        let vpce = self.more.as_ref().and_then(|more| more.vpce.clone());
        let more = vpce.map(|vpce| Box::new(More { vpce: Some(vpce), ..More::default() }));
        let client = self.client.socket();
        Self { original_dst: self.original_dst.clone(), more, ..Self::new(conn, self.listener, client) }
    }

    /// What few connections have, to be filled in.
    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The client's address alone.
    pub fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }
}
