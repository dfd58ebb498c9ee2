//! Tells a server whom a connection is made for, where its listener says that the server wants to know.

use rustix::net::SendFlags;
use sekisho_peek::proxy;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::outcome::Outcome;

/// Sends the PROXY header, which comes before everything else: the client, and what it dialled or, where that is not
/// known, the address that was dialled for it. Answers whether the server has been told.
///
/// It is no byte of the client's, so it is not counted as one. It waits in the kernel for the client's first bytes and
/// travels with them.
pub(crate) fn announce(upstream: &TcpStream, outcome: &Outcome) -> bool {
    let Some(dialled) = outcome.original_dst.as_ref().or(outcome.upstream.as_ref()) else { return false };
    let header = proxy::write(outcome.client.socket(), dialled.socket());
    let flags = SendFlags::NOSIGNAL | SendFlags::MORE;
    // A new socket's buffer takes so few bytes at once. One that does not is of no use any more: half a header was sent.
    upstream
        .try_io(Interest::WRITABLE, || Ok(rustix::net::send(upstream, &header, flags)?))
        .is_ok_and(|sent| sent == header.len())
}
