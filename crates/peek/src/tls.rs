//! The `ClientHello`, out of any fragmentation over TCP reads and TLS records.
//!
//! # Order of calls
//! Give [`Inspector::inspect`] everything received so far, after every read, until it says anything other than
//! [`Progress::Need`]:
//!
//! ```
//! use sekisho_peek::tls::{Inspector, Limits, Progress, Refusal};
//!
//! let mut inspector = Inspector::new(Limits::default());
//! let mut received = b"\x16\x03".to_vec();
//! assert!(matches!(inspector.inspect(&received), Ok(Progress::Need { at_least: 5 })));
//! received.extend(b"\x01\x00\x00");
//! let refusal = inspector.inspect(&received).unwrap_err();
//! assert_eq!((refusal.label(), refusal.alert()), ("malformed", Some(10)));
//! ```
//!
//! # What is judged, and by whom
//! The path to the name has exactly one reading here: records, the handshake header, every vector of the `ClientHello`,
//! the frame of every extension, and the inside of `server_name`, `supported_versions` and ALPN. The inside of all
//! other extensions is the server's business, which receives the same bytes unmodified: it cannot move the name.
//! Record headers and the hello's first bytes are judged as they arrive, the rest once the message is whole.

mod cursor;
mod hello;
mod ja4;
mod records;
mod refusal;
pub mod retry;

pub use ja4::ja4;
pub use refusal::{Cap, Fault, Obsolete, Refusal};
use sekisho_name::Name;

/// Reads a connection's first bytes until they hold one whole `ClientHello`.
///
/// It keeps no bytes, only how far it has come: the work over all calls together is linear in the bytes, even when
/// they come as one-byte records in one-byte reads. Once it has answered with a hello or a refusal, more bytes do not
/// change the answer.
#[derive(Clone, Debug)]
pub struct Inspector {
    scan: records::Scan,
    limits: Limits,
}

impl Inspector {
    /// An inspector that has seen nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { scan: records::Scan::default(), limits }
    }

    /// Looks at `bytes`: everything received so far, so always the last call's bytes with more behind them.
    ///
    /// # Errors
    /// [`Refusal`] as soon as it is certain, whatever would follow. It is final.
    pub fn inspect(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let raw_len = match self.scan.advance(bytes, &self.limits)? {
            records::Step::Need(at_least) => return Ok(Progress::Need { at_least }),
            records::Step::Whole { raw_len } => raw_len,
        };
        let message = self.scan.message(bytes, raw_len);
        let fields = hello::read(&message)?;
        Ok(Progress::Done(ClientHello {
            name: fields.name,
            legacy_version: fields.legacy_version,
            versions: fields.versions,
            alpn: fields.alpn,
            ech: fields.ech,
            raw_len,
            handshake_len: message.len(),
        }))
    }
}

/// Looks once at `bytes`, everything received so far; [`Inspector`] is the same for repeated looks.
///
/// # Errors
/// [`Refusal`] as soon as it is certain, whatever would follow.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
    Inspector::new(*limits).inspect(bytes)
}

/// How much a hello may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the handshake message, its 4-byte header included.
    pub handshake: usize,
    /// Bytes on the wire, record headers included.
    pub raw: usize,
}

impl Default for Limits {
    /// 16 KiB of handshake, 32 KiB raw: several times what real clients send, post-quantum key shares included.
    fn default() -> Self {
        Self { handshake: 16_384, raw: 32_768 }
    }
}

/// How far the bytes have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The hello is not whole, and nothing is wrong yet.
    Need {
        /// Below this total the hello cannot be whole: always more than there is now, and never more than the lengths
        /// declared so far (within the limits) justify. A refusal may come before it, so look again after each read.
        at_least: usize,
    },
    /// The hello is whole and has one reading.
    Done(ClientHello),
}

/// What a `ClientHello` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The one host that it names.
    pub name: Name,
    /// The version field of the message itself; 0x0303 from any TLS 1.3 client (RFC 8446 §4.1.2).
    pub legacy_version: u16,
    /// The versions offered as code points (0x0304 is TLS 1.3), highest first and each once, GREASE left out, at most
    /// [`MAX_VERSIONS`]. Without `supported_versions` it is the highest alone, which is all that such a hello says.
    pub versions: Vec<u16>,
    /// The ALPN protocols in the order offered, at most [`MAX_ALPN`], each escaped to printable ASCII and cut at
    /// [`MAX_ALPN_LEN`] characters: safe in a log line.
    pub alpn: Vec<Box<str>>,
    /// Whether an `encrypted_client_hello` extension is there (RFC 9849); browsers always send one, so it proves nothing.
    pub ech: bool,
    /// Bytes of the records that hold the hello, headers included; what follows them is not part of it.
    pub raw_len: usize,
    /// Bytes of the handshake message, its 4-byte header included.
    pub handshake_len: usize,
}

/// The most versions that [`ClientHello::versions`] keeps; clients offer at most five.
pub const MAX_VERSIONS: usize = 8;
/// The most protocols that [`ClientHello::alpn`] keeps.
pub const MAX_ALPN: usize = 8;
/// The most characters that [`ClientHello::alpn`] keeps of one protocol.
pub const MAX_ALPN_LEN: usize = 32;
