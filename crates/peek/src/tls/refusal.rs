//! Why some bytes are not a hello with one reading: one variant per cause, so that a test can name the cause.

use std::fmt;

use sekisho_name::InvalidName;

/// Why a connection is refused before anything is known of its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The hello has no `server_name` extension.
    NoSni,
    /// The extension with this code point is there twice (RFC 8446 §4.2).
    DuplicateExtension(u16),
    /// The `server_name` list has more than one entry (RFC 6066 §3: not more than one of a type).
    MultipleNames,
    /// The bytes have no single reading.
    Malformed(Fault),
    /// The server name is no host name.
    InvalidName(InvalidName),
    /// The hello is larger than [`Limits`](super::Limits) allow.
    HelloTooLarge(Cap),
    /// A protocol before TLS 1.0.
    ObsoleteProtocol(Obsolete),
    /// The first bytes begin no TLS record.
    NotTls,
}

/// What is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A record of another type before the hello is whole (RFC 8446 §5.1).
    NotHandshake,
    /// A record without content (RFC 8446 §5.1).
    EmptyRecord,
    /// A record of more than 2^14 bytes (RFC 8446 §5.1).
    RecordOverflow,
    /// A later record whose major version is not 3.
    RecordVersion,
    /// Another handshake message where the `ClientHello` belongs.
    NotClientHello,
    /// Handshake bytes behind the `ClientHello` in its last record.
    AfterHello,
    /// The `ClientHello`'s vectors end beyond the message.
    Truncated,
    /// A session id of more than 32 bytes (RFC 8446 §4.1.2).
    SessionId,
    /// Cipher suites that are none, cut in half, or longer than the message (RFC 8446 §4.1.2).
    CipherSuites,
    /// No compression method, not even null (RFC 8446 §4.1.2), or more than the message holds.
    Compression,
    /// The extensions' length differs from the rest of the message.
    ExtensionsLength,
    /// An extension that ends beyond the extensions.
    ExtensionLength,
    /// A `server_name` whose lengths do not fit (RFC 6066 §3).
    ServerNameLength,
    /// A `server_name` list without entries (RFC 6066 §3).
    NoServerName,
    /// A server name of another type than `host_name` (RFC 6066 §3).
    NameType,
    /// A host name without bytes (RFC 6066 §3).
    EmptyHostName,
    /// A `supported_versions` list that is empty, cut in half, or whose length does not fit (RFC 8446 §4.2.1).
    SupportedVersions,
    /// An ALPN list or name that is empty, or whose length does not fit (RFC 7301 §3.1).
    Alpn,
}

/// Which limit a hello is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap {
    /// [`Limits::handshake`](super::Limits::handshake).
    Handshake,
    /// [`Limits::raw`](super::Limits::raw).
    Raw,
}

/// Which obsolete protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obsolete {
    /// An `SSLv2` CLIENT-HELLO, whatever versions it also offers (RFC 6176 §3).
    Ssl2,
    /// A `ClientHello` whose own version is this, below 0x0301 (RFC 8996 lets the server judge the rest).
    Version(u16),
}

impl Refusal {
    /// The reason label, the same in the access log, the metrics and the documentation.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoSni => "no_sni",
            Self::DuplicateExtension(_) => "duplicate_extension",
            Self::MultipleNames => "multiple_names",
            Self::Malformed(_) => "malformed",
            Self::InvalidName(_) => "invalid_name",
            Self::HelloTooLarge(_) => "hello_too_large",
            Self::ObsoleteProtocol(_) => "obsolete_protocol",
            Self::NotTls => "not_tls",
        }
    }

    /// A few words on which of the label's causes it was. Fixed text: nothing that a client sent is in it.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::NoSni => "no server_name extension",
            Self::DuplicateExtension(0) => "server_name extension twice",
            Self::DuplicateExtension(_) => "an extension twice",
            Self::MultipleNames => "several server names",
            Self::Malformed(fault) => fault.detail(),
            Self::InvalidName(why) => invalid_name(*why),
            Self::HelloTooLarge(Cap::Handshake) => "handshake message over its cap",
            Self::HelloTooLarge(Cap::Raw) => "raw bytes over their cap",
            Self::ObsoleteProtocol(Obsolete::Ssl2) => "SSLv2 hello",
            Self::ObsoleteProtocol(Obsolete::Version(0x0300)) => "SSLv3 hello",
            Self::ObsoleteProtocol(Obsolete::Version(_)) => "hello version below TLS 1.0",
            Self::NotTls => "first bytes are no TLS record",
        }
    }

    /// The alert's description byte (RFC 8446 §6.2); `None` means that the peer speaks no TLS and gets a reset.
    pub const fn alert(&self) -> Option<u8> {
        const ILLEGAL_PARAMETER: u8 = 47;
        const DECODE_ERROR: u8 = 50;
        const PROTOCOL_VERSION: u8 = 70;
        const MISSING_EXTENSION: u8 = 109;
        match self {
            Self::NoSni => Some(MISSING_EXTENSION),
            Self::DuplicateExtension(_) | Self::MultipleNames | Self::InvalidName(_) => Some(ILLEGAL_PARAMETER),
            Self::Malformed(fault) => Some(fault.alert()),
            Self::HelloTooLarge(_) => Some(DECODE_ERROR),
            Self::ObsoleteProtocol(_) => Some(PROTOCOL_VERSION),
            Self::NotTls => None,
        }
    }
}

impl Fault {
    const fn detail(self) -> &'static str {
        match self {
            Self::NotHandshake => "another record type before the hello is whole",
            Self::EmptyRecord => "empty handshake record",
            Self::RecordOverflow => "record longer than 2^14",
            Self::RecordVersion => "record version is not 3.x",
            Self::NotClientHello => "handshake message is no ClientHello",
            Self::AfterHello => "handshake bytes after the ClientHello",
            Self::Truncated => "ClientHello shorter than its fields",
            Self::SessionId => "session id longer than 32 bytes",
            Self::CipherSuites => "bad cipher suites length",
            Self::Compression => "bad compression methods length",
            Self::ExtensionsLength => "extensions do not end with the ClientHello",
            Self::ExtensionLength => "extension longer than the extensions",
            Self::ServerNameLength => "bad length in server_name",
            Self::NoServerName => "empty server_name list",
            Self::NameType => "server name is no host_name",
            Self::EmptyHostName => "empty host name",
            Self::SupportedVersions => "bad length in supported_versions",
            Self::Alpn => "bad length in ALPN",
        }
    }

    /// What cannot be decoded is `decode_error`; what can but is not allowed is `illegal_parameter`; records and
    /// messages out of turn are `unexpected_message` (RFC 8446 §6.2).
    const fn alert(self) -> u8 {
        const UNEXPECTED_MESSAGE: u8 = 10;
        const RECORD_OVERFLOW: u8 = 22;
        const ILLEGAL_PARAMETER: u8 = 47;
        const DECODE_ERROR: u8 = 50;
        match self {
            Self::NotHandshake | Self::EmptyRecord | Self::NotClientHello => UNEXPECTED_MESSAGE,
            Self::RecordOverflow => RECORD_OVERFLOW,
            Self::NameType => ILLEGAL_PARAMETER,
            Self::RecordVersion
            | Self::AfterHello
            | Self::Truncated
            | Self::SessionId
            | Self::CipherSuites
            | Self::Compression
            | Self::ExtensionsLength
            | Self::ExtensionLength
            | Self::ServerNameLength
            | Self::NoServerName
            | Self::EmptyHostName
            | Self::SupportedVersions
            | Self::Alpn => DECODE_ERROR,
        }
    }
}

const fn invalid_name(why: InvalidName) -> &'static str {
    match why {
        InvalidName::Empty => "server name is empty",
        InvalidName::TooLong => "server name longer than 253 bytes",
        InvalidName::EmptyLabel => "server name has an empty label",
        InvalidName::LabelTooLong => "server name has a label longer than 63 bytes",
        InvalidName::HyphenAtEdge => "server name has a label with a hyphen at its edge",
        InvalidName::TrailingDot => "server name ends with a dot",
        InvalidName::Character(_) => "server name has a byte that no host name has",
        InvalidName::IpAddress => "server name is an IP address",
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for Refusal {}
