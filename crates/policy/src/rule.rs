//! What a rule says once it is read: plain values, nothing left to check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use sekisho_name::Name;

/// How the client asks: by a TLS server name (also inside CONNECT), or by a plain HTTP Host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TLS; CONNECT counts as TLS.
    Tls,
    /// Plain HTTP.
    Http,
}

impl Protocol {
    /// Every protocol that there is.
    pub const ALL: &[Self] = &[Self::Tls, Self::Http];

    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }

    /// The port that a rule without `ports` means: 443 or 80.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 443,
            Self::Http => 80,
        }
    }
}

/// One question to the policy.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The name that the client asked for.
    pub name: &'a Name,
    /// Who asks; a v4-mapped address is compared as IPv4.
    pub client: IpAddr,
    /// The port that would be dialled.
    pub port: u16,
    /// How it asked.
    pub protocol: Protocol,
    /// Now, in Unix seconds (UTC).
    pub now: i64,
    /// The VPC endpoint that it came through, if a balancer said so.
    pub vpce: Option<&'a str>,
    /// Whether its hello has an `encrypted_client_hello` extension.
    pub ech: bool,
}

/// A rule's position in its policy, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// The policy's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Let through.
    Allow {
        /// The rule that says so.
        rule: RuleId,
    },
    /// Let through, and recorded as what would have been refused (or, for an allow rule under audit, looked at).
    Audit {
        /// The rule that matched, if one did.
        rule: Option<RuleId>,
        /// Why it is recorded.
        reason: Reason,
    },
    /// Not let through.
    Refuse {
        /// The rule that matched, if one did.
        rule: Option<RuleId>,
        /// Why.
        reason: Reason,
    },
}

impl Decision {
    /// The rule that decided, if one did.
    pub const fn rule(self) -> Option<RuleId> {
        match self {
            Self::Allow { rule } => Some(rule),
            Self::Audit { rule, .. } | Self::Refuse { rule, .. } => rule,
        }
    }

    /// Why it is more, or less, than simply allowed.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Allow { .. } => None,
            Self::Audit { reason, .. } | Self::Refuse { reason, .. } => Some(reason),
        }
    }
}

/// Why the policy refused or audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No rule matches.
    NoRule,
    /// A deny rule matched first.
    DeniedByRule,
    /// An allow rule matched but has expired, and nothing later matches.
    RuleExpired,
    /// Allowed by a rule that is itself under audit.
    AuditRule,
    /// An allow rule matched that does not let through a hello with an `encrypted_client_hello` extension.
    EchDenied,
}

impl Reason {
    /// Every reason that there is.
    pub const ALL: &[Self] = &[Self::NoRule, Self::DeniedByRule, Self::RuleExpired, Self::AuditRule, Self::EchDenied];

    /// The label in log and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::DeniedByRule => "denied_by_rule",
            Self::RuleExpired => "rule_expired",
            Self::AuditRule => "audit_rule",
            Self::EchDenied => "ech_denied",
        }
    }
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Let through.
    #[default]
    Allow,
    /// Refuse.
    Deny,
}

impl Action {
    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// Whether refusals are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// What is refused is not let through.
    #[default]
    Enforce,
    /// What would be refused is let through and recorded.
    Audit,
}

impl Mode {
    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

/// What happens to open connections that a new policy would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnRevoke {
    /// They are recorded and go on.
    #[default]
    Keep,
    /// They are recorded and reset.
    Close,
}

impl OnRevoke {
    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Close => "close",
        }
    }
}

/// What an allow rule does with a hello that has an `encrypted_client_hello` extension (RFC 9849): the name in the clear
/// decides, and perhaps another one is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ech {
    /// Lets it through like any other.
    #[default]
    Allow,
    /// Lets it through, recorded as what `deny` would refuse.
    Log,
    /// Refuses it.
    Deny,
}

impl Ech {
    /// Every word that there is.
    pub const ALL: &[Self] = &[Self::Allow, Self::Log, Self::Deny];

    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Log => "log",
            Self::Deny => "deny",
        }
    }
}

/// What an allow rule does with a client that had dialled an address which is none of the name's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum OnMismatch {
    /// Records it.
    #[default]
    Record,
    /// Refuses it.
    Refuse,
}

impl OnMismatch {
    /// Every word that there is.
    pub const ALL: &[Self] = &[Self::Record, Self::Refuse];

    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Refuse => "refuse",
        }
    }
}

/// What AWS's own policies, made from a rule, let through to its buckets. It is nothing to the gate, which sees no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Objects may be read.
    Read,
    /// Objects may be written and deleted.
    Write,
    /// Objects may be listed.
    List,
}

impl Access {
    /// Every access that there is, which is what a rule without `access` means.
    pub const ALL: &[Self] = &[Self::Read, Self::Write, Self::List];

    /// Its word in policy.yaml.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
        }
    }
}

/// Which resolved addresses may be dialled. Some never are, whatever this says; the gate's address guard knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub enum Upstream {
    /// Public addresses only.
    #[default]
    Public,
    /// Any address that is not forbidden to every rule.
    Any,
    /// Addresses within these networks only.
    Only(Box<[IpNet]>),
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.escape_debug(), self.line)
    }
}

/// One rule, without the names that it lists (the policy holds those).
#[derive(Clone, Debug)]
pub struct RuleInfo {
    /// Its name, unique in the policy.
    pub name: Arc<str>,
    /// Who answers for it.
    pub owner: Option<Box<str>>,
    /// Where it was asked for.
    pub ticket: Option<Box<str>>,
    /// What it is for.
    pub reason: Option<Box<str>>,
    /// The last Unix second (UTC) in which it is valid.
    pub expires: Option<i64>,
    /// What it does.
    pub action: Action,
    /// Whether it is enforced.
    pub mode: Mode,
    /// Who may use it, sorted and merged; `None` is anybody.
    pub clients: Option<Box<[IpNet]>>,
    /// The VPC endpoints through which it may be used, sorted; `None` is any way.
    pub vpc_endpoints: Option<Box<[Box<str>]>>,
    /// The protocols that it covers, sorted.
    pub protocols: Box<[Protocol]>,
    /// The ports that it covers, sorted; `None` is each protocol's own.
    pub ports: Option<Box<[u16]>>,
    /// Which addresses may be dialled.
    pub upstream: Upstream,
    /// What becomes of hellos with an `encrypted_client_hello` extension.
    pub ech: Ech,
    /// What becomes of clients that dialled none of the name's addresses.
    pub on_mismatch: OnMismatch,
    /// The built-in set that its names are from, `aws:ssm`; `None` for a rule that lists its own.
    pub set: Option<&'static str>,
    /// What its buckets are used for, sorted; only exports ask.
    pub access: Box<[Access]>,
    /// Where it begins.
    pub place: Place,
}

impl RuleInfo {
    /// Whether the rule's conditions other than the name hold, expiry aside.
    pub(crate) fn admits(&self, request: &Request<'_>) -> bool {
        self.admits_port(request.protocol, request.port)
            && self.protocols.contains(&request.protocol)
            && self.admits_client(request.client)
            && self.admits_vpce(request.vpce)
    }

    /// Whether its ports hold this one.
    pub(crate) fn admits_port(&self, protocol: Protocol, port: u16) -> bool {
        self.ports.as_ref().map_or(port == protocol.default_port(), |ports| ports.binary_search(&port).is_ok())
    }

    /// Whether its clients hold this one.
    pub(crate) fn admits_client(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.clients.as_ref().is_none_or(|nets| last_at(nets, client).is_some_and(|net| net.contains(&client)))
    }

    /// Whether it may be used through this VPC endpoint, or through none.
    pub(crate) fn admits_vpce(&self, vpce: Option<&str>) -> bool {
        self.vpc_endpoints
            .as_ref()
            .is_none_or(|ids| vpce.is_some_and(|vpce| ids.binary_search_by(|id| (**id).cmp(vpce)).is_ok()))
    }

    /// Whether it was valid before `now` and is no more.
    pub fn expired(&self, now: i64) -> bool {
        self.expires.is_some_and(|last| now > last)
    }
}

/// Of sorted and disjoint networks the last that begins at or before an address: no other can hold it.
pub(crate) fn last_at(nets: &[IpNet], ip: IpAddr) -> Option<&IpNet> {
    let after = nets.partition_point(|net| order(net.network()) <= order(ip));
    after.checked_sub(1).and_then(|i| nets.get(i))
}

/// IPv4 before IPv6, then by value.
pub(crate) fn order(ip: IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(v4) => (false, u128::from(Ipv4Addr::to_bits(v4))),
        IpAddr::V6(v6) => (true, Ipv6Addr::to_bits(v6)),
    }
}
