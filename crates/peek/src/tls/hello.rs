//! Inside the whole `ClientHello` message.
//!
//! tls-parser reads the hello's fixed part, where it is strict but for what is checked here on the rest: it takes an
//! empty list of cipher suites or compression methods, and leaves trailing bytes (and an extensions block that does
//! not fit) to its caller. Its readers of `server_name`, ALPN and `supported_versions` end quietly at the first entry
//! that does not fit and drop the rest, so those, and the frame around them, are read from the raw slices.

use sekisho_name::Name;
use tls_parser::nom::Err as NomErr;
use tls_parser::nom::error::ErrorKind;
use tls_parser::{TlsExtensionType, parse_tls_handshake_client_hello};

use super::cursor::Cursor;
use super::records::HANDSHAKE_HEADER;
use super::refusal::{Fault, Refusal};
use super::{MAX_ALPN, MAX_ALPN_LEN, MAX_VERSIONS};

/// `encrypted_client_hello` (RFC 9849 §5).
const ECH: u16 = 0xfe0d;
/// TLS 1.2, the highest that a hello without `supported_versions` can mean (RFC 8446 §4.2.1).
const TLS12: u16 = 0x0303;

/// Where the body has its session id's length: behind version and random (RFC 8446 §4.1.2).
const SESSION_ID: usize = 2 + 32;

/// What the message says.
pub(super) struct Fields {
    pub(super) name: Name,
    pub(super) legacy_version: u16,
    pub(super) versions: Vec<u16>,
    pub(super) alpn: Vec<Box<str>>,
    pub(super) ech: bool,
}

/// Reads a whole handshake message, header included.
pub(super) fn read(message: &[u8]) -> Result<Fields, Refusal> {
    let body = message.get(HANDSHAKE_HEADER..).unwrap_or_default();
    let (left, hello) =
        parse_tls_handshake_client_hello(body).map_err(|error| Refusal::Malformed(fault(body, &error)))?;
    if hello.ciphers.is_empty() {
        return Err(Refusal::Malformed(Fault::CipherSuites));
    }
    if hello.comp.is_empty() {
        return Err(Refusal::Malformed(Fault::Compression));
    }
    // RFC 8446 §4.1.2: extensions or nothing follow, and nothing follows them.
    if !left.is_empty() {
        return Err(Refusal::Malformed(Fault::ExtensionsLength));
    }

    let legacy_version = hello.version.0;
    let found = extensions(Cursor::new(hello.ext.unwrap_or_default()))?;
    let name = server_name(found.server_name.ok_or(Refusal::NoSni)?)?;
    let versions = match found.supported_versions {
        Some(list) => supported_versions(list)?,
        None => vec![legacy_version.min(TLS12)],
    };
    let alpn = found.alpn.map(protocols).transpose()?.unwrap_or_default();
    Ok(Fields { name, legacy_version, versions, alpn, ech: found.ech })
}

/// Names the vector at which tls-parser stopped in `body`.
fn fault(body: &[u8], error: &NomErr<tls_parser::nom::error::Error<&[u8]>>) -> Fault {
    let (NomErr::Error(error) | NomErr::Failure(error)) = error else {
        return Fault::Truncated;
    };
    // Both lists behind the session id fail with one code, so the place tells which: the suites come right behind it.
    let session_id = body.get(SESSION_ID).copied().map_or(0, usize::from);
    match body.len().saturating_sub(error.input.len()) {
        _ if error.code == ErrorKind::Verify => Fault::SessionId,
        at if at <= SESSION_ID + 1 + session_id + 2 => Fault::CipherSuites,
        _ => Fault::Compression,
    }
}

/// The extensions that matter here, unread.
#[derive(Default)]
struct Found<'a> {
    server_name: Option<Cursor<'a>>,
    supported_versions: Option<Cursor<'a>>,
    alpn: Option<Cursor<'a>>,
    ech: bool,
}

/// Walks the extensions block; no type may come twice (RFC 8446 §4.2), not even one that nobody here reads.
fn extensions(mut block: Cursor<'_>) -> Result<Found<'_>, Refusal> {
    let mut found = Found::default();
    // Types below 64 are nearly all that there are; the others are sorted afterwards, so that a hello of nothing but
    // extensions costs no quadratic search.
    let mut low = 0_u64;
    let mut high = Vec::new();
    while !block.is_empty() {
        let (Some(kind), Some(data)) = (block.u16(), block.vec16()) else {
            return Err(Refusal::Malformed(Fault::ExtensionLength));
        };
        match 1_u64.checked_shl(u32::from(kind)) {
            Some(bit) if low & bit != 0 => return Err(Refusal::DuplicateExtension(kind)),
            Some(bit) => low |= bit,
            None => high.push(kind),
        }
        match TlsExtensionType(kind) {
            TlsExtensionType::ServerName => found.server_name = Some(data),
            TlsExtensionType::SupportedVersions => found.supported_versions = Some(data),
            TlsExtensionType::ApplicationLayerProtocolNegotiation => found.alpn = Some(data),
            TlsExtensionType(ECH) => found.ech = true,
            _ => {}
        }
    }
    high.sort_unstable();
    match high.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(Refusal::DuplicateExtension(pair.first().copied().unwrap_or_default())),
        None => Ok(found),
    }
}

/// Reads `server_name`: a list of exactly one `host_name` (RFC 6066 §3).
fn server_name(extension: Cursor<'_>) -> Result<Name, Refusal> {
    let short = Refusal::Malformed(Fault::ServerNameLength);
    let mut list = extension.only_vec16().ok_or(short)?;
    if list.is_empty() {
        return Err(Refusal::Malformed(Fault::NoServerName));
    }
    let mut names = 0_usize;
    let mut host = Cursor::new(&[]);
    while !list.is_empty() {
        if list.u8() != Some(0) {
            return Err(Refusal::Malformed(Fault::NameType));
        }
        host = list.vec16().ok_or(short)?;
        if host.is_empty() {
            return Err(Refusal::Malformed(Fault::EmptyHostName));
        }
        names += 1;
    }
    if names > 1 {
        return Err(Refusal::MultipleNames);
    }
    Name::from_bytes(host.rest()).map_err(Refusal::InvalidName)
}

/// Reads `supported_versions` (RFC 8446 §4.2.1).
fn supported_versions(extension: Cursor<'_>) -> Result<Vec<u16>, Refusal> {
    let wrong = Refusal::Malformed(Fault::SupportedVersions);
    let mut list = extension.only_vec8().filter(|list| !list.is_empty()).ok_or(wrong)?;
    let mut versions = Vec::with_capacity(MAX_VERSIONS);
    while !list.is_empty() {
        let version = list.u16().ok_or(wrong)?;
        if !is_grease(version) {
            versions.push(version);
        }
    }
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions.truncate(MAX_VERSIONS);
    Ok(versions)
}

/// Reads ALPN (RFC 7301 §3.1).
fn protocols(extension: Cursor<'_>) -> Result<Vec<Box<str>>, Refusal> {
    let wrong = Refusal::Malformed(Fault::Alpn);
    let mut list = extension.only_vec16().filter(|list| !list.is_empty()).ok_or(wrong)?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = list.vec8().filter(|name| !name.is_empty()).ok_or(wrong)?;
        if protocols.len() < MAX_ALPN {
            protocols.push(printable(protocol.rest()));
        }
    }
    Ok(protocols)
}

/// A protocol's name for people and logs: printable ASCII, everything else escaped, cut at [`MAX_ALPN_LEN`].
fn printable(protocol: &[u8]) -> Box<str> {
    match std::str::from_utf8(protocol) {
        Ok(text) if text.len() <= MAX_ALPN_LEN && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') => {
            text.into()
        }
        _ => protocol.escape_ascii().take(MAX_ALPN_LEN).map(char::from).collect::<String>().into_boxed_str(),
    }
}

/// Whether a code point is one of the reserved GREASE values (RFC 8701 §2).
pub(super) const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}
