//! What may follow the first hello: a server that answers with a HelloRetryRequest gets a second `ClientHello`, and that
//! one must name the same host.
//!
//! The client must not be able to slip another name past the gate, so a handshake record of its is held until the
//! server's first message has told whether it asks for a second hello, and then until that hello is whole.

use sekisho_name::Name;

use super::{Inspector, Limits, Progress, Refusal};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const SERVER_HELLO: u8 = 2;

/// The random of a ServerHello that is a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// A handshake header, `legacy_version` and the random: what tells.
const TELLING: usize = 4 + 2 + RETRY.len();
/// Bytes of early data and `ChangeCipherSpec` that pass before it is certain that no other name follows. Servers take
/// 16 KiB of early data unless told otherwise; more waits for the server, or after its retry is refused.
pub const MAX_EARLY: usize = 256 * 1024;

/// Watches both directions behind the first hello, until it is certain that no other name follows it.
#[derive(Clone, Debug)]
pub struct Watch {
    name: Name,
    /// Whether the first hello had an ECH extension.
    ech: bool,
    limits: Limits,
    server: Server,
    /// Bytes of the client's record under way that may pass.
    passing: usize,
    /// Bytes that have passed.
    early: usize,
    /// The client has said what belongs nowhere behind a hello.
    strange: bool,
}

/// What the server has said.
#[derive(Clone, Debug)]
enum Server {
    /// Not enough to tell.
    Unknown(First),
    /// It wants a second hello.
    Retry(Inspector),
    /// No second hello follows, or it has named the same host.
    Settled,
}

/// Why a connection must not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The second hello names another host.
    Name(Name),
    /// It has an ECH extension, and the first had none: neither RFC 8446 §4.1.2 nor RFC 9849 §6.1.5 has that, and the verdict was
    /// on a hello without.
    Ech,
    /// What stands in its place is none.
    NoHello(Refusal),
    /// A record in its place is none that belongs there.
    Record,
    /// More than [`MAX_EARLY`] bytes came ahead of it.
    TooMuch,
    /// The client finished before it was whole.
    Ended,
}

impl Changed {
    /// The reason's label in log, metric and docs.
    pub const fn label(&self) -> &'static str {
        "sni_changed"
    }

    /// A few words more.
    pub const fn detail(&self) -> &'static str {
        match self {
            Self::Name(_) => "the second hello names another host",
            Self::Ech => "the second hello has ECH, the first had not",
            Self::NoHello(_) => "the second hello is none",
            Self::Record => "an unexpected record before the second hello",
            Self::TooMuch => "too much early data before the second hello",
            Self::Ended => "ended before the second hello was whole",
        }
    }
}

impl Watch {
    /// Watches behind a hello that named `name`, with an ECH extension or without; `limits` bound the second as they did the
    /// first.
    pub fn new(name: Name, ech: bool, limits: Limits) -> Self {
        Self { name, ech, limits, server: Server::Unknown(First::default()), passing: 0, early: 0, strange: false }
    }

    /// Whether nothing needs to be looked at any more.
    pub const fn is_settled(&self) -> bool {
        matches!(self.server, Server::Settled)
    }

    /// The next bytes from the server.
    ///
    /// # Errors
    /// [`Changed`]: nothing more may pass, either way, these bytes included.
    pub fn server(&mut self, bytes: &[u8]) -> Result<(), Changed> {
        if let Server::Unknown(first) = &mut self.server {
            match first.read(bytes) {
                None => {}
                // Some servers pass over records that they do not know, so a second hello may stand among what has passed.
                Some(true) if self.strange => return Err(Changed::Record),
                Some(true) => self.server = Server::Retry(Inspector::new(self.limits)),
                Some(false) => self.server = Server::Settled,
            }
        }
        Ok(())
    }

    /// Whether the client has said what belongs nowhere behind a hello. All of it passes, for such a client and its server
    /// may speak what they like, unless that server asks for a second hello.
    pub const fn is_strange(&self) -> bool {
        self.strange
    }

    /// The server has finished: it asks for nothing more.
    pub fn server_ended(&mut self) {
        if let Server::Unknown(_) = self.server {
            self.server = Server::Settled;
        }
    }

    /// The next bytes from the client: how many of them may pass now. Give the others again with more behind them, or
    /// after the server has said something. While none may pass, more need not be read than the limits allow.
    ///
    /// # Errors
    /// [`Changed`]: nothing more may pass, either way.
    pub fn client(&mut self, bytes: &[u8]) -> Result<usize, Changed> {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if self.is_settled() || self.strange {
                return Ok(bytes.len());
            }
            if self.passing > 0 {
                let step = self.passing.min(rest.len());
                let room = MAX_EARLY.saturating_sub(self.early);
                match &self.server {
                    // It answers the hello whatever follows, so this cannot wait for ever.
                    Server::Unknown(_) if room == 0 => return Ok(passed),
                    Server::Retry(_) if step > room => return Err(Changed::TooMuch),
                    _ => {}
                }
                let step = step.min(room);
                self.passing -= step;
                self.early += step;
                passed += step;
                if step == 0 {
                    return Ok(passed);
                }
                continue;
            }
            match *rest {
                [CHANGE_CIPHER_SPEC | ALERT | APPLICATION_DATA, 3, _, high, low, ..] => {
                    self.passing = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
                }
                [HANDSHAKE, 3, ..] => {
                    return self.second_hello(rest).map(|whole| if whole { bytes.len() } else { passed });
                }
                [CHANGE_CIPHER_SPEC..=APPLICATION_DATA] | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, ..] | [] => {
                    return Ok(passed);
                }
                _ if matches!(self.server, Server::Unknown(_)) => self.strange = true,
                _ => return Err(Changed::Record),
            }
        }
    }

    /// Whether more of the client's bytes could let `back` pass, of which [`Watch::client`] has let nothing: not while it
    /// is the server that must speak.
    pub fn wants_more(&self, back: &[u8]) -> bool {
        match self.server {
            Server::Retry(_) => true,
            // Less than a header does not tell what it is.
            Server::Unknown(_) => back.len() < RECORD_HEADER && !matches!(back, [HANDSHAKE, ..]),
            Server::Settled => false,
        }
    }

    /// Whether `bytes`, which begin with a handshake record, may pass.
    fn second_hello(&mut self, bytes: &[u8]) -> Result<bool, Changed> {
        let Server::Retry(inspector) = &mut self.server else { return Ok(false) };
        match inspector.inspect(bytes).map_err(Changed::NoHello)? {
            Progress::Need { .. } => Ok(false),
            Progress::Done(hello) if hello.ech && !self.ech => Err(Changed::Ech),
            Progress::Done(hello) if hello.name == self.name => {
                self.server = Server::Settled;
                Ok(true)
            }
            Progress::Done(hello) => Err(Changed::Name(hello.name)),
        }
    }
}

/// A record's header (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;

/// The beginning of the server's first handshake message, gathered over records and reads.
#[derive(Clone, Debug)]
struct First {
    header: [u8; RECORD_HEADER],
    /// Bytes of the header that have come.
    header_len: usize,
    /// Bytes of the record that are still to come.
    left: usize,
    message: [u8; TELLING],
    len: usize,
}

impl Default for First {
    fn default() -> Self {
        Self { header: [0; RECORD_HEADER], header_len: 0, left: 0, message: [0; TELLING], len: 0 }
    }
}

impl First {
    /// Whether it is a HelloRetryRequest, once that is certain.
    fn read(&mut self, mut bytes: &[u8]) -> Option<bool> {
        while let Some((&byte, rest)) = bytes.split_first() {
            bytes = rest;
            if self.left == 0 {
                put(&mut self.header, &mut self.header_len, byte);
                let [kind, _, _, high, low] = self.header;
                if kind != HANDSHAKE {
                    return Some(false);
                }
                if self.header_len == RECORD_HEADER {
                    self.left = usize::from(u16::from_be_bytes([high, low]));
                    self.header_len = 0;
                }
                continue;
            }
            self.left -= 1;
            put(&mut self.message, &mut self.len, byte);
            let [kind, _, _, _, _, _, random @ ..] = self.message;
            let (so_far, expected) = (self.len.saturating_sub(6), RETRY);
            if kind != SERVER_HELLO || random.get(..so_far) != expected.get(..so_far) {
                return Some(false);
            }
            if self.len == TELLING {
                return Some(true);
            }
        }
        None
    }
}

fn put(to: &mut [u8], len: &mut usize, byte: u8) {
    if let Some(free) = to.get_mut(*len) {
        *free = byte;
        *len += 1;
    }
}
