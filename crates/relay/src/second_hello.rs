//! Relays behind a hello until it is certain that no other name follows it: most often until the server's first bytes.
//!
//! A server may ask for a second hello (RFC 8446 §4.1.4). [`Watch`] says what of the client's bytes may pass meanwhile.

use std::io;

use sekisho_peek::tls::retry::{Changed, Watch};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::consume_budget;

use crate::live::{Live, Way};
use crate::outcome::ClosedBy;
use crate::transfer::{Tools, drained, send_all};

/// What is read of a side at a time: a server's first flight, mostly.
const READ: usize = 16 * 1024;

/// What was read and not passed on when nothing needed to be watched any more.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// From the client.
    pub(crate) up: Vec<u8>,
    /// From the server.
    pub(crate) down: Vec<u8>,
}

/// Why it never came so far.
#[derive(Debug)]
pub(crate) enum Unsettled {
    /// The client said what must not pass; in the words of the log.
    Changed(&'static str),
    /// A side broke.
    Broken(ClosedBy),
}

impl From<Changed> for Unsettled {
    fn from(changed: Changed) -> Self {
        Self::Changed(changed.detail())
    }
}

/// Sends the hello, `first`, and relays. `back` is what the client has sent behind it already.
pub(crate) async fn settle(
    client: &TcpStream,
    upstream: &TcpStream,
    first: &[u8],
    mut watch: Watch,
    mut back: Vec<u8>,
    live: &Live,
    tools: &Tools,
) -> Result<Settled, Unsettled> {
    let client_broke = |_| Unsettled::Broken(ClosedBy::ClientReset);
    let upstream_broke = |_| Unsettled::Broken(ClosedBy::UpstreamReset);
    send_all(upstream, first, Way::Up, live, tools).await.map_err(upstream_broke)?;
    loop {
        // Readiness alone never ends a turn, and two fast sides would keep the worker from all its other connections.
        consume_budget().await;
        let pass = watch.client(&back)?;
        if watch.is_settled() {
            return Ok(Settled { up: back, down: Vec::new() });
        }
        let rest = back.split_off(pass.min(back.len()));
        let pass = std::mem::replace(&mut back, rest);
        send_all(upstream, &pass, Way::Up, live, tools).await.map_err(upstream_broke)?;

        // While it is the server that must speak, nothing more is read of the client.
        let listens = back.is_empty() || watch.wants_more(&back);
        tokio::select! {
            biased;
            ready = upstream.readable() => {
                ready.map_err(upstream_broke)?;
                let Some(bytes) = read(upstream, tools).map_err(upstream_broke)? else { continue };
                if bytes.is_empty() {
                    watch.server_ended();
                } else {
                    watch.server(&bytes)?;
                }
                if watch.is_settled() {
                    return Ok(Settled { up: back, down: bytes });
                }
                send_all(client, &bytes, Way::Down, live, tools).await.map_err(client_broke)?;
            }
            ready = client.readable(), if listens => {
                ready.map_err(client_broke)?;
                let Some(bytes) = read(client, tools).map_err(client_broke)? else { continue };
                if bytes.is_empty() {
                    // What it has begun to say never becomes whole. Where it has begun nothing, nothing follows.
                    return if back.is_empty() { Ok(Settled::default()) } else { Err(Changed::Ended.into()) };
                }
                back.extend_from_slice(&bytes);
            }
            _ = client.ready(Interest::ERROR), if !listens => return Err(Unsettled::Broken(ClosedBy::ClientReset)),
        }
    }
}

/// What there is to read; empty at the end of data, which a later read finds again. `None` when it was a false alarm.
fn read(source: &TcpStream, tools: &Tools) -> io::Result<Option<Vec<u8>>> {
    let mut scratch = tools.scratch.borrow_mut();
    match source.try_read(scratch.get_mut(..READ).unwrap_or_default()) {
        Ok(count) => {
            if (1..READ).contains(&count) {
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
    use std::pin::pin;
    use std::sync::Arc;

    use futures_util::poll;
    use sekisho_name::Name;
    use sekisho_peek::tls::Limits;

    use super::*;
    use crate::outcome::Outcome;
    use crate::testing::{fill, last_of_a_turn, pair};

    #[tokio::test]
    async fn a_client_that_talks_on_does_not_keep_the_worker_from_its_other_connections() {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let tools = Tools::new(4, Arc::default());
        let live = Live::new(Outcome::new(1, 0, ([127, 0, 0, 1], 1).into()));
        let watch = Watch::new(Name::parse("a.example").unwrap(), false, Limits::default());
        // No record of TLS: whatever follows it passes while the server is silent.
        let mut settling = pin!(settle(&near, &far, b"hello", watch, b"GET / HTTP/1.1".to_vec(), &live, &tools));
        assert!(poll!(settling.as_mut()).is_pending());
        let (before, _) = live.bytes();
        let waiting = fill(&client, 8 * READ);
        last_of_a_turn(3).await;
        assert!(poll!(settling).is_pending());
        let up = live.bytes().0 - before;
        assert!((1..=3 * READ as u64).contains(&up), "{up} of {waiting}");
        drop(server);
    }
}
