//! Why a connection did not get what it asked for: one label each, the same in the log, the metrics and the docs.

use crate::http::Manner;

/// A TLS alert's description byte (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(pub u8);

impl Alert {
    /// `unexpected_message`
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// `record_overflow`
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// `illegal_parameter`
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// `access_denied`
    pub const ACCESS_DENIED: Self = Self(49);
    /// `decode_error`
    pub const DECODE_ERROR: Self = Self(50);
    /// `protocol_version`
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// `internal_error`
    pub const INTERNAL_ERROR: Self = Self(80);
    /// `missing_extension`
    pub const MISSING_EXTENSION: Self = Self(109);
    /// `unrecognized_name`
    pub const UNRECOGNIZED_NAME: Self = Self(112);

    /// The whole record: a fatal alert under the version that every client reads (RFC 8446 §5.1, §6).
    pub const fn record(self) -> [u8; 7] {
        [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, self.0]
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// Why a connection was refused, failed, or was let through only because of audit mode.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason that there is, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label in the access log, the metrics and the documentation.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

reasons! {
    /// No rule names what the client asked for.
    NoRule = "no_rule",
    /// A deny rule names it.
    DeniedByRule = "denied_by_rule",
    /// An allow rule names it but is past its date, and nothing later matches.
    RuleExpired = "rule_expired",
    /// Let through by an allow rule that is itself in audit mode.
    AuditRule = "audit_rule",
    /// A rule names it, and does not let through a hello with an `encrypted_client_hello` extension.
    EchDenied = "ech_denied",
    /// The hello has no server name.
    NoSni = "no_sni",
    /// NXDOMAIN or no address.
    NameNotFound = "name_not_found",
    /// No resolver answered, or with a failure.
    DnsFailed = "dns_failed",
    /// No address of the name took the connection.
    ConnectFailed = "connect_failed",
    /// No address of the name answered in time.
    ConnectTimeout = "connect_timeout",
    /// The name resolved only to addresses that may not be dialled.
    ForbiddenAddress = "forbidden_address",
    /// The client had dialled an address that is none of the name's, and its rule does not let that pass.
    DestinationMismatch = "destination_mismatch",
    /// The hello has an extension twice.
    DuplicateExtension = "duplicate_extension",
    /// The hello names several hosts.
    MultipleNames = "multiple_names",
    /// The hello's bytes have no single reading.
    Malformed = "malformed",
    /// The server name is no host name.
    InvalidName = "invalid_name",
    /// The hello is over the cap.
    HelloTooLarge = "hello_too_large",
    /// A protocol before TLS 1.0.
    ObsoleteProtocol = "obsolete_protocol",
    /// The first bytes are no TLS handshake.
    NotTls = "not_tls",
    /// The hello was not whole at its deadline.
    HelloTimeout = "hello_timeout",
    /// The process has as many connections, or undecided ones, as it may.
    OverConnectionLimit = "over_connection_limit",
    /// The client has as many connections as one client may.
    OverClientLimit = "over_client_limit",
    /// Nothing redirected this connection here: the client dialled the gate itself.
    NotRedirected = "not_redirected",
    /// No source port is left to dial with.
    PortsExhausted = "ports_exhausted",
    /// No descriptor is left to dial with.
    DescriptorsExhausted = "descriptors_exhausted",
    /// The client left before its hello was whole.
    ClientClosed = "client_closed",
    /// Somebody opened a connection and closed it without a word, or a balancer spoke for itself: a health check.
    Probe = "probe",
    /// A second hello, which the server had asked for, names another host or none.
    SniChanged = "sni_changed",
    /// The hello inside a tunnel names another host than the CONNECT did.
    SniMismatch = "sni_mismatch",
    /// A connection that must begin with a PROXY header does not.
    ProxyHeaderMissing = "proxy_header_missing",
    /// A PROXY header has no single reading.
    ProxyHeaderMalformed = "proxy_header_malformed",
    /// The sender is none of those that may speak for others.
    ProxyHeaderUntrusted = "proxy_header_untrusted",
    /// An HTTP request is malformed or has two readings.
    BadRequest = "bad_request",
    /// The listener does not serve the request's method.
    MethodNotAllowed = "method_not_allowed",
    /// A CONNECT names an address instead of a host, or a port that the listener does not serve.
    TargetNotAllowed = "target_not_allowed",
}

/// What a client that is not served gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A TLS alert, then the end of data.
    Alert(Alert),
    /// An HTTP response with the status of the reason.
    Http(Manner),
    /// A reset.
    Reset,
    /// Nothing: it has gone.
    Nothing,
}

impl Reason {
    /// What the client usually gets whose connection stops for this reason. Two kinds know better: a malformed hello gets
    /// the alert of its fault, and what the policy refuses gets the one that `refusal_alert` names.
    pub const fn answer(self) -> Answer {
        match self {
            Self::NoRule
            | Self::DeniedByRule
            | Self::RuleExpired
            | Self::AuditRule
            | Self::EchDenied
            | Self::ForbiddenAddress
            | Self::DestinationMismatch
            | Self::SniMismatch => Answer::Alert(Alert::ACCESS_DENIED),
            Self::BadRequest | Self::MethodNotAllowed | Self::TargetNotAllowed => {
                Answer::Http(Manner { keep_alive: false, head: false, proxied: false })
            }
            Self::NoSni => Answer::Alert(Alert::MISSING_EXTENSION),
            Self::NameNotFound => Answer::Alert(Alert::UNRECOGNIZED_NAME),
            Self::DnsFailed
            | Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::PortsExhausted
            | Self::DescriptorsExhausted => Answer::Alert(Alert::INTERNAL_ERROR),
            Self::DuplicateExtension | Self::MultipleNames | Self::InvalidName => {
                Answer::Alert(Alert::ILLEGAL_PARAMETER)
            }
            Self::Malformed | Self::HelloTooLarge => Answer::Alert(Alert::DECODE_ERROR),
            Self::ObsoleteProtocol => Answer::Alert(Alert::PROTOCOL_VERSION),
            Self::NotTls
            | Self::HelloTimeout
            | Self::OverConnectionLimit
            | Self::OverClientLimit
            | Self::NotRedirected
            | Self::SniChanged
            | Self::ProxyHeaderMissing
            | Self::ProxyHeaderMalformed
            | Self::ProxyHeaderUntrusted => Answer::Reset,
            Self::ClientClosed | Self::Probe => Answer::Nothing,
        }
    }
}
