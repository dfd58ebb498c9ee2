//! The head of one HTTP/1 request: a request to port 80, one that a proxy gets in absolute-form, or a CONNECT.
//!
//! The host that a request is for must have one reading for every server that may see it, so everything that two
//! servers are known to read differently is refused: more or fewer than one `Host`, a target that names another host,
//! bare CR or LF, folded lines, space before a colon, `Transfer-Encoding`, more than one `Content-Length`, bytes behind
//! the message (RFC 9112 §2.2, §3.2, §5.1, §5.2, §6.3, §11.2). httparse reads the lines; what it lets pass beyond that
//! is refused here, before it (the bytes) and after it (their meaning).

use std::fmt;

use sekisho_name::Name;

mod head;
mod meaning;
mod refusal;

pub use refusal::{Fault, Refusal};

/// The longest head that is read.
pub const MAX_HEAD: usize = 32 * 1024;
/// The longest method.
pub const MAX_METHOD: usize = 32;
/// The most header lines.
pub const MAX_HEADERS: usize = 100;

/// What kind of request a listener waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The request was sent to the server itself: origin-form, or absolute-form that agrees with `Host`.
    Server,
    /// It was sent to a proxy: CONNECT, or absolute-form.
    Proxy,
}

/// How far the bytes have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is not whole, and nothing is wrong yet.
    Need {
        /// Below this total it cannot be whole: always more than there is now.
        at_least: usize,
    },
    /// The head is whole and has one reading.
    Done(Request),
}

/// What a request says.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, as sent: methods are case-sensitive (RFC 9110 §9.1).
    pub method: Box<str>,
    /// The one host that it is for.
    pub host: Name,
    /// The port beside the host, where one stands there.
    pub port: Option<u16>,
    /// What is asked of the gate.
    pub asks: Asks,
    /// Bytes of the head; what follows is the body, and for CONNECT what goes through the tunnel.
    pub head_len: usize,
    /// Whether the client takes another answer on the same connection (RFC 9112 §9.3).
    pub keep_alive: bool,
}

/// What a request asks of the gate.
#[derive(Clone, PartialEq, Eq)]
pub enum Asks {
    /// A tunnel to host and port.
    Tunnel,
    /// To pass it on.
    Forward {
        /// The head as it goes on: origin-form, `Connection: close`, without what is meant for one hop.
        head: Vec<u8>,
        /// Bytes of the body, from `Content-Length`.
        body: u64,
    },
}

impl fmt::Debug for Request {
    /// Without the lines: they may carry credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, host, port, head_len, .. } = self;
        write!(f, "Request({method} {}, port {port:?}, {head_len} bytes)", host.as_str())
    }
}

/// Reads a connection's bytes until they hold the head of one request.
///
/// It keeps no bytes, only how far it has looked, so that the work over all calls together is linear in the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Inspector {
    role: Role,
    seen: usize,
}

impl Inspector {
    /// An inspector that has seen nothing yet.
    pub fn new(role: Role) -> Self {
        Self { role, seen: 0 }
    }

    /// Looks at `bytes`: everything received so far, so always the last call's bytes with more behind them.
    ///
    /// # Errors
    /// [`Refusal`] as soon as it is certain, whatever would follow. It is final.
    pub fn inspect(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        match head::end(bytes, &mut self.seen)? {
            None => Ok(Progress::Need { at_least: bytes.len() + 1 }),
            Some(head) => meaning::of(head, self.role).map(Progress::Done),
        }
    }
}
