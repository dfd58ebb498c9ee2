//! One HTTP request and its answer: the client says what it has announced and no more, the server answers to its end.

use std::future::pending;
use std::net::Shutdown;
use std::{cmp, io};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::live::{Live, Way};
use crate::outcome::ClosedBy;
use crate::transfer::{Tools, drained, reset_on_close, send_all};

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
    rest: u64,
    live: &Live,
    tools: &Tools,
) -> Result<(), ClosedBy> {
    send_all(upstream, first, Way::Up, live, tools).await.map_err(|_| ClosedBy::UpstreamReset)?;
    // Side by side: a server may answer while it is still being told, and neither way waits for the other.
    tokio::select! {
        biased;
        ended = answer(client, upstream, live, tools) => ended,
        broken = say_rest(client, upstream, rest, live, tools) => Err(broken),
    }
}

/// Relays the answer to its end.
async fn answer(client: &TcpStream, upstream: &TcpStream, live: &Live, tools: &Tools) -> Result<(), ClosedBy> {
    let mut status = None;
    loop {
        upstream.readable().await.map_err(|_| ClosedBy::UpstreamReset)?;
        let Some(bytes) = read(upstream, u64::MAX, tools).map_err(|_| ClosedBy::UpstreamReset)? else { continue };
        if bytes.is_empty() {
            return Ok(());
        }
        // An answer of its own comes behind those that only say to go on (RFC 9110 §15.2).
        if status.is_none_or(|status| status < 200)
            && let Some(said) = status_of(&bytes)
        {
            status = Some(said);
            live.outcome.borrow_mut().more().status = status;
        }
        send_all(client, &bytes, Way::Down, live, tools).await.map_err(|_| ClosedBy::ClientReset)?;
    }
}

/// Sends what the client has announced and still has to say, then waits for its side to break. Whose side did.
async fn say_rest(client: &TcpStream, upstream: &TcpStream, mut rest: u64, live: &Live, tools: &Tools) -> ClosedBy {
    while rest > 0 {
        if client.readable().await.is_err() {
            return ClosedBy::ClientReset;
        }
        match read(client, rest, tools) {
            Ok(None) => {}
            // Half a body is no request.
            Ok(Some(bytes)) if bytes.is_empty() => return ClosedBy::Client,
            Ok(Some(bytes)) => {
                rest = rest.saturating_sub(bytes.len() as u64);
                if send_all(upstream, &bytes, Way::Up, live, tools).await.is_err() {
                    return ClosedBy::UpstreamReset;
                }
            }
            Err(_) => return ClosedBy::ClientReset,
        }
    }
    // It may have left, or only finished: either way the server does not have all the time that there is.
    match client.ready(Interest::READABLE | Interest::ERROR).await {
        Ok(ready) if ready.is_error() => return ClosedBy::ClientReset,
        Ok(ready) if ready.is_read_closed() => live.half_closed(),
        // Bytes that nobody reads.
        Ok(_) => {}
        Err(_) => return ClosedBy::ClientReset,
    }
    match client.ready(Interest::ERROR).await {
        Ok(_) => ClosedBy::ClientReset,
        Err(_) => pending().await,
    }
}

/// The status with which an answer begins (RFC 9112 §4), where it stands in its first bytes.
fn status_of(bytes: &[u8]) -> Option<u16> {
    let (version, rest) = bytes.split_at_checked(9)?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let one = version.starts_with(b"HTTP/1.") && version.ends_with(b" ");
    std::str::from_utf8(digits).ok().filter(|_| one)?.parse().ok()
}

/// What there is to read, at most `most` bytes; empty at the end of data. `None` when it was a false alarm.
fn read(source: &TcpStream, most: u64, tools: &Tools) -> io::Result<Option<Vec<u8>>> {
    let mut scratch = tools.scratch.borrow_mut();
    let most = cmp::min(scratch.len(), usize::try_from(most).unwrap_or(usize::MAX));
    match source.try_read(scratch.get_mut(..most).unwrap_or_default()) {
        Ok(count) => {
            if (1..most).contains(&count) {
                drained(source);
            }
            Ok(Some(scratch.get(..count).unwrap_or_default().to_vec()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_where_an_answer_begins_with_one() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 301"), Some(301));
        for other in ["", "HTTP/1.1 20", "HTTP/1.1 2x0 ", "HTTP/2.0 200 ", "HTTP/1.11200 ", "<html> 200 OK"] {
            assert_eq!(status_of(other.as_bytes()), None, "{other}");
        }
    }
}
