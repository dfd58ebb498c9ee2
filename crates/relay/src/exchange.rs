//! One HTTP request and its answer: the client says what it has announced and no more, the server answers to its end.

use std::net::Shutdown;
use std::{cmp, io};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::consume_budget;

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
        // Readiness alone never ends a turn, and two fast sides would keep the worker from all its other connections.
        consume_budget().await;
        upstream.readable().await.map_err(|_| ClosedBy::UpstreamReset)?;
        let Some(answered) = pass(upstream, client, &mut status, live, tools)? else { continue };
        let Answered::Bytes { left } = answered else { return Ok(()) };
        send_all(client, &left, Way::Down, live, tools).await.map_err(|_| ClosedBy::ClientReset)?;
    }
}

/// What was read of an answer.
enum Answered {
    /// Its end.
    End,
    /// Bytes. `left` is what the client did not take at once.
    Bytes { left: Vec<u8> },
}

/// Reads what there is of the answer and hands the client what it takes at once: mostly all, and then nothing is copied.
/// `None` when it was a false alarm.
fn pass(
    upstream: &TcpStream,
    client: &TcpStream,
    status: &mut Option<u16>,
    live: &Live,
    tools: &Tools,
) -> Result<Option<Answered>, ClosedBy> {
    let mut scratch = tools.scratch.borrow_mut();
    let most = scratch.len();
    let count = match upstream.try_read(&mut scratch) {
        Ok(0) => return Ok(Some(Answered::End)),
        Ok(count) => count,
        Err(error) if is_later(&error) => return Ok(None),
        Err(_) => return Err(ClosedBy::UpstreamReset),
    };
    if count < most {
        drained(upstream);
    }
    let bytes = scratch.get(..count).unwrap_or_default();
    // An answer of its own comes behind those that only say to go on (RFC 9110 §15.2).
    if status.is_none_or(|status| status < 200)
        && let Some(said) = status_of(bytes)
    {
        *status = Some(said);
        live.outcome.borrow_mut().more().status = *status;
    }
    let taken = match client.try_write(bytes) {
        Ok(taken) => taken,
        Err(error) if is_later(&error) => 0,
        Err(_) => return Err(ClosedBy::ClientReset),
    };
    live.carried(Way::Down, taken as u64);
    tools.delivered(Way::Down, taken as u64);
    Ok(Some(Answered::Bytes { left: bytes.get(taken..).unwrap_or_default().to_vec() }))
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Sends what the client has announced and still has to say, then waits for its side to break. Whose side did.
async fn say_rest(client: &TcpStream, upstream: &TcpStream, mut rest: u64, live: &Live, tools: &Tools) -> ClosedBy {
    while rest > 0 {
        consume_budget().await;
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
    match client.peek(&mut [0]).await {
        Ok(0) => live.half_closed(),
        // Bytes that nobody reads.
        Ok(_) => {}
        Err(_) => return ClosedBy::ClientReset,
    }
    let _broken = client.ready(Interest::ERROR).await;
    ClosedBy::ClientReset
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
        Err(error) if is_later(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::outcome::Outcome;
    use crate::testing::{fill, last_of_a_turn, pair};

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (one, other) = (one.unwrap(), other.unwrap().0);
        // Small, so that a side that does not read is felt soon.
        for stream in [&one, &other] {
            SockRef::from(stream).set_recv_buffer_size(64 * 1024).unwrap();
            SockRef::from(stream).set_send_buffer_size(64 * 1024).unwrap();
        }
        (one, other)
    }

    /// Runs an exchange of `first` and `rest` more bytes between what `client` and `server` do.
    async fn exchanged<C: Future, S: Future>(
        rest: u64,
        client: impl FnOnce(TcpStream) -> C,
        server: impl FnOnce(TcpStream) -> S,
        live: &Live,
    ) -> (ClosedBy, C::Output, S::Output) {
        let ((client_end, near), (far, server_end)) = (connected().await, connected().await);
        let tools = Tools::new(4, Arc::default());
        live.relaying();
        let all = async {
            let ends = async {
                let by = exchange(&near, &far, b"head", rest, live, &tools).await;
                drop(far);
                by
            };
            tokio::join!(ends, client(client_end), server(server_end))
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("it hangs")
    }

    fn live() -> Live {
        Live::new(Outcome::new(1, 0, ([127, 0, 0, 1], 1).into()))
    }

    /// Both buffers of a way fill: each way must go on without the other.
    #[tokio::test]
    async fn a_server_that_answers_while_it_is_still_told_is_heard() {
        const BODY: u64 = 8 << 20;
        let live = live();
        let client = |mut client: TcpStream| async move {
            let (mut read, mut write) = client.split();
            let body = vec![b'x'; usize::try_from(BODY).unwrap()];
            let mut answer = Vec::new();
            let (sent, heard) = tokio::join!(write.write_all(&body), read.read_to_end(&mut answer));
            sent.unwrap();
            heard.unwrap();
            answer.len() as u64
        };
        let server = |mut server: TcpStream| async move {
            // As slow a server as there is: what it was told goes back before it reads on.
            let mut block = vec![0; 16 * 1024];
            let mut told = 0;
            while told < BODY + 4 {
                let count = server.read(&mut block).await.unwrap();
                server.write_all(&block[..count]).await.unwrap();
                told += count as u64;
            }
            told
        };
        let (by, answer, told) = exchanged(BODY, client, server, &live).await;
        assert_eq!((by, answer, told), (ClosedBy::Upstream, BODY + 4, BODY + 4));
        assert_eq!(live.bytes(), (BODY + 4, BODY + 4));
    }

    #[tokio::test]
    async fn a_client_that_has_finished_may_still_be_answered_but_not_waited_for_without_end() {
        let live = &live();
        let client = |mut client: TcpStream| async move {
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let server = |mut server: TcpStream| async move {
            server.read_exact(&mut [0; 4]).await.unwrap();
            // The tick finds it half closed, whose time is shorter than a quiet connection's.
            while !live.tick().unwrap().half_closed {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            server.write_all(b"HTTP/1.1 204 None\r\n\r\n").await.unwrap();
        };
        let (by, answer, ()) = exchanged(0, client, server, live).await;
        assert_eq!((by, &answer[..]), (ClosedBy::Upstream, &b"HTTP/1.1 204 None\r\n\r\n"[..]));
        assert_eq!(live.outcome.borrow().more.as_ref().and_then(|more| more.status), Some(204));
    }

    #[tokio::test]
    async fn what_follows_a_request_goes_nowhere() {
        let live = live();
        let client = |mut client: TcpStream| async move {
            client.write_all(b"bodyGET /more HTTP/1.1\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            answer
        };
        let server = |mut server: TcpStream| async move {
            let mut told = [0; 8];
            server.read_exact(&mut told).await.unwrap();
            // Nothing more comes, so far as anybody can wait for that.
            let more = tokio::time::timeout(Duration::from_millis(200), server.read_u8()).await;
            server.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            (told, more.is_err())
        };
        let (by, _, (told, quiet)) = exchanged(4, client, server, &live).await;
        assert_eq!((by, &told, quiet), (ClosedBy::Upstream, b"headbody", true));
        assert_eq!(live.bytes().0, 8);
    }

    #[tokio::test]
    async fn two_fast_sides_do_not_keep_the_worker_from_its_other_connections() {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        let tools = Tools::new(4, Arc::default());
        let live = live();
        live.relaying();
        let mut exchange = pin!(exchange(&near, &far, b"head", 0, &live, &tools));
        assert!(poll!(exchange.as_mut()).is_pending());
        let waiting = fill(&server, 8 * 64 * 1024);
        last_of_a_turn(3).await;
        assert!(poll!(exchange).is_pending());
        let (_, down) = live.bytes();
        // It had paid for the first piece before it began to wait.
        assert!((1..=4 * 64 * 1024).contains(&down) && down < waiting as u64, "{down} of {waiting}");
        drop(client);
    }

    #[test]
    fn a_status_is_read_where_an_answer_begins_with_one() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 301"), Some(301));
        for other in ["", "HTTP/1.1 20", "HTTP/1.1 2x0 ", "HTTP/2.0 200 ", "HTTP/1.11200 ", "<html> 200 OK"] {
            assert_eq!(status_of(other.as_bytes()), None, "{other}");
        }
    }
}
