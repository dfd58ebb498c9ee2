//! One HTTP request and its answer: the client says what it has announced and no more, the server answers to its end.

use std::io;
use std::net::Shutdown;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::live::{Live, Way};
use crate::outcome::ClosedBy;
use crate::transfer::{Tools, drained, reset_on_close, send_all};

/// What is read at a time.
const READ: usize = 64 * 1024;

/// Sends `first`, the request as far as it is here, then `rest` bytes more of the client's, and relays the answer until
/// the server ends it. Who ended it; where a side broke, both are reset.
///
/// What the client sends behind its request is never read: it would be another request, of which nobody has decided.
pub(crate) async fn exchange(
    client: &TcpStream,
    upstream: &TcpStream,
    first: &[u8],
    rest: u64,
    live: &Live,
    tools: &Tools,
) -> ClosedBy {
    let ended = relay(client, upstream, first, rest, live, tools).await;
    if ended.is_ok() && SockRef::from(client).shutdown(Shutdown::Write).is_ok() {
        return ClosedBy::Upstream;
    }
    reset_on_close(client);
    reset_on_close(upstream);
    ended.err().unwrap_or(ClosedBy::ClientReset)
}

async fn relay(
    client: &TcpStream,
    upstream: &TcpStream,
    first: &[u8],
    mut rest: u64,
    live: &Live,
    tools: &Tools,
) -> Result<(), ClosedBy> {
    let client_broke = |_| ClosedBy::ClientReset;
    let upstream_broke = |_| ClosedBy::UpstreamReset;
    send_all(upstream, first, Way::Up, live, tools).await.map_err(upstream_broke)?;
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            biased;
            ready = upstream.readable() => {
                ready.map_err(upstream_broke)?;
                match read(upstream, READ, &mut buffer, tools).map_err(upstream_broke)? {
                    None => {}
                    Some(0) => return Ok(()),
                    Some(_) => send_all(client, &buffer, Way::Down, live, tools).await.map_err(client_broke)?,
                }
            }
            ready = client.readable(), if rest > 0 => {
                ready.map_err(client_broke)?;
                let most = usize::try_from(rest).unwrap_or(READ).min(READ);
                match read(client, most, &mut buffer, tools).map_err(client_broke)? {
                    None => continue,
                    // Half a body is no request.
                    Some(0) => return Err(ClosedBy::Client),
                    Some(count) => rest -= count as u64,
                }
                send_all(upstream, &buffer, Way::Up, live, tools).await.map_err(upstream_broke)?;
            }
            _ = client.ready(Interest::ERROR), if rest == 0 => return Err(ClosedBy::ClientReset),
        }
    }
}

/// Reads at most `most` bytes into `buffer`; `None` when it was a false alarm.
fn read(source: &TcpStream, most: usize, buffer: &mut Vec<u8>, tools: &Tools) -> io::Result<Option<usize>> {
    let mut scratch = tools.scratch.borrow_mut();
    let most = most.min(scratch.len());
    match source.try_read(scratch.get_mut(..most).unwrap_or_default()) {
        Ok(count) => {
            if (1..most).contains(&count) {
                drained(source);
            }
            buffer.clear();
            buffer.extend_from_slice(scratch.get(..count).unwrap_or_default());
            Ok(Some(count))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}
