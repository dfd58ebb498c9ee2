//! The PROXY protocol's header, versions 1 and 2: who the client is behind a balancer, told ahead of everything else.
//!
//! Source: the PROXY protocol specification of HAProxy's authors (`proxy-protocol.txt`); sections below are its own.
//!
//! Whether a sender is to be believed is not judged here: only whether these bytes are a header, and have one reading.
//! [`inspect`] looks at everything received so far; it keeps nothing, and its work for each look is bounded by
//! [`MAX_HEADER`], however the bytes are cut.

use std::net::SocketAddr;

mod refusal;
mod v1;
mod v2;
mod write;

pub use refusal::{Fault, Refusal};
pub use write::write;

/// The longest header that is read, type-length-values included. The format allows 65,551 bytes; what balancers send
/// is a few hundred, and each connection that has not said what it wants would hold it.
pub const MAX_HEADER: usize = 16 * 1024;

/// How far the bytes have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The header is not whole, and nothing is wrong yet.
    Need {
        /// Below this total it cannot be whole: always more than there is now.
        at_least: usize,
    },
    /// The header is whole.
    Done(Header),
}

/// A whole header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its bytes; what follows them is the client's own.
    pub len: usize,
    /// Whom it speaks of.
    pub about: About,
    /// The id of the VPC endpoint that the client came through, which AWS's network load balancers add (type 0xEA,
    /// subtype 1): `vpce-` and then letters, digits and hyphens.
    pub vpce: Option<Box<str>>,
}

/// Whom a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The sender itself, such as a balancer's health check (§2.2, command `LOCAL`).
    Sender,
    /// Somebody of whom it does not say who (`UNKNOWN`, §2.1; `UNSPEC`, §2.2): the connection's own addresses count.
    Unknown,
    /// A client and what it dialled.
    Client {
        /// Who it is.
        source: SocketAddr,
        /// What it dialled.
        destination: SocketAddr,
    },
}

/// Looks at `bytes`: everything received so far on a connection that must begin with a header.
///
/// # Errors
/// [`Refusal`] as soon as it is certain, whatever would follow. It is final.
pub fn inspect(bytes: &[u8]) -> Result<Progress, Refusal> {
    if begins(bytes, v1::SIGNATURE) {
        return v1::read(bytes);
    }
    if begins(bytes, v2::SIGNATURE) {
        return v2::read(bytes);
    }
    let beginning = |signature: &[u8]| signature.starts_with(bytes);
    match (beginning(v1::SIGNATURE), beginning(v2::SIGNATURE)) {
        (true, _) => Ok(Progress::Need { at_least: v1::SIGNATURE.len() }),
        (_, true) => Ok(Progress::Need { at_least: v2::SIGNATURE.len() }),
        _ => Err(Refusal::Missing),
    }
}

fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.starts_with(signature)
}
