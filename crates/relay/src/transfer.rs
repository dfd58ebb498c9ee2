//! Carries bytes both ways until both sides have finished, one of them breaks, or the worker ends it.
//!
//! A connection that carries nothing owns no buffer and no pipe: reads go into the worker's one scratch buffer and are
//! written straight out, and only what the other side would not take is kept. A direction that has carried
//! [`SPLICE_FROM`] bytes moves on through a pipe of the worker's pool, so that bulk data never enters this process.
//!
//! - The end of one side's data is passed on once everything before it has been delivered, and the other direction
//!   goes on.
//! - A reset on either side resets the other at once, whatever is still held.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::features::Features;
use crate::listen::keep_alive;
use crate::live::{Live, Way};
use crate::outcome::ClosedBy;

mod direction;
mod pipe;
#[cfg(test)]
mod tests;

use direction::{Broken, Direction};
pub(crate) use pipe::{Pipes, probe};

/// A direction is spliced once it has carried so much: below it, taking a pipe costs more than it saves.
const SPLICE_FROM: u64 = 64 * 1024;

/// The worker's things that a transfer borrows while bytes move.
#[derive(Debug)]
pub(crate) struct Tools {
    /// One read's worth, shared by every connection of the thread.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Pipes to splice through.
    pub(crate) pipes: Pipes,
    /// Bytes delivered, up and down, that the metrics do not show yet.
    pub(crate) delivered: Cell<(u64, u64)>,
}

impl Tools {
    /// A scratch buffer of 64 KiB and a pool of at most `pipes` pipes.
    pub(crate) fn new(pipes: usize, features: Arc<Features>) -> Self {
        let scratch = RefCell::new(vec![0; 64 * 1024].into());
        Self { scratch, pipes: Pipes::new(pipes, features), delivered: Cell::default() }
    }

    /// Counts bytes that a side has taken.
    pub(crate) fn delivered(&self, way: Way, bytes: u64) {
        let (up, down) = self.delivered.get();
        self.delivered.set(match way {
            Way::Up => (up + bytes, down),
            Way::Down => (up, down + bytes),
        });
    }
}

/// A client, its upstream, and what is on its way between them. Dropping it closes both sockets and resets neither.
///
/// Every quiet connection consists of one of these, and little else: it is small, and what only some need is boxed.
#[derive(Debug)]
pub(crate) struct Transfer {
    client: TcpStream,
    upstream: TcpStream,
    flow: Flow,
}

/// Both directions.
#[derive(Debug)]
struct Flow {
    up: Direction,
    down: Direction,
}

/// What a transfer has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has ended, and this is who ended it.
    Ended(ClosedBy),
    /// It goes on, but a side is not read from just now and would break unheard: [`Transfer::watched`] hears it.
    Deaf,
}

impl Transfer {
    /// Begins with `up` and `down`: the bytes that the client and its upstream have sent already.
    pub(crate) fn new(
        client: TcpStream,
        upstream: TcpStream,
        up: Vec<u8>,
        down: Vec<u8>,
        live: &Live,
        tools: &Tools,
    ) -> Self {
        let up = Direction::begun(Way::Up, up, &upstream, live, tools);
        let down = Direction::begun(Way::Down, down, &client, live, tools);
        Self { client, upstream, flow: Flow { up, down } }
    }

    /// Moves what can be moved. `live` has the bytes of each way, also after a failure.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, live: &Live, tools: &Tools) -> Poll<Step> {
        match self.flow.poll(cx, &self.client, &self.upstream, live, tools) {
            Poll::Ready(by) => Poll::Ready(Step::Ended(by)),
            Poll::Pending if self.flow.up.listens() && self.flow.down.listens() => Poll::Pending,
            Poll::Pending => Poll::Ready(Step::Deaf),
        }
    }

    /// Goes on to the end, and hears of the breaking of sides that are not read from. Who ended it.
    pub(crate) async fn watched(self, live: &Live, tools: &Tools) -> ClosedBy {
        let Self { client, upstream, mut flow } = self;
        let mut client_breaks = pin!(client.ready(Interest::ERROR));
        let mut upstream_breaks = pin!(upstream.ready(Interest::ERROR));
        poll_fn(|cx| {
            if let Poll::Ready(by) = flow.poll(cx, &client, &upstream, live, tools) {
                return Poll::Ready(by);
            }
            let broken = if !flow.up.listens() && client_breaks.as_mut().poll(cx).is_ready() {
                ClosedBy::ClientReset
            } else if !flow.down.listens() && upstream_breaks.as_mut().poll(cx).is_ready() {
                ClosedBy::UpstreamReset
            } else {
                return Poll::Pending;
            };
            Poll::Ready(break_both(&client, &upstream, broken, live))
        })
        .await
    }
}

impl Flow {
    /// Moves what can be moved, until it has ended: then both sockets are reset where one of them broke.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &TcpStream,
        upstream: &TcpStream,
        live: &Live,
        tools: &Tools,
    ) -> Poll<ClosedBy> {
        if let Poll::Ready(order) = live.poll_order(cx) {
            reset(client, upstream);
            return Poll::Ready(order);
        }
        keep_if_lasting(live, upstream);
        let Self { up, down } = self;
        let polled_up = up.poll(cx, client, upstream, live, tools, down.ended());
        let polled_down = down.poll(cx, upstream, client, live, tools, up.ended());
        let broken = match (polled_up, polled_down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(live.first_end().unwrap_or(ClosedBy::Client));
            }
            (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => ClosedBy::ClientReset,
            (Poll::Ready(Err(Broken::Sink)), _) | (_, Poll::Ready(Err(Broken::Source))) => ClosedBy::UpstreamReset,
            _ => return Poll::Pending,
        };
        Poll::Ready(break_both(client, upstream, broken, live))
    }
}

/// Gives the upstream's socket what only long connections need, once this is one. (The client's has it from its listener.)
fn keep_if_lasting(live: &Live, upstream: &TcpStream) {
    if live.takes_lasting() {
        // Without it a peer that vanished is found by the idle timeout only.
        let _ = keep_alive(&SockRef::from(upstream));
    }
}

/// One side broke, so the other is reset too. Who ended the transfer: whoever had finished first, if anybody had.
fn break_both(client: &TcpStream, upstream: &TcpStream, broken: ClosedBy, live: &Live) -> ClosedBy {
    reset(client, upstream);
    live.note_end(broken);
    live.first_end().unwrap_or(broken)
}

/// Makes the close of both sockets a reset.
fn reset(client: &TcpStream, upstream: &TcpStream) {
    for stream in [client, upstream] {
        reset_on_close(stream);
    }
}

/// Makes the close of `stream` a reset: the peer learns that the connection broke, and nothing lingers.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // It fails only on a socket that is no socket; then there is nobody to tell either.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Writes all of `bytes`, and counts them. A sink that is new takes them at once.
///
/// # Errors
/// When the sink is broken.
pub(crate) async fn send_all(
    sink: &TcpStream,
    mut bytes: &[u8],
    way: Way,
    live: &Live,
    tools: &Tools,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match sink.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                live.carried(way, count as u64);
                tools.delivered(way, count as u64);
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sink.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sends `last`, then the end of data, then reads and drops what the peer still sends until it ends too, for at most
/// `patience`: closing with unread bytes would become a reset, which can destroy what was sent last.
pub(crate) async fn say_goodbye(stream: &TcpStream, last: &[u8], patience: Duration, tools: &Tools) {
    // A fresh socket's send buffer takes the few bytes at once, and the end that follows travels in their packet. A peer
    // that is gone needs no goodbye.
    let sent = stream
        .try_io(Interest::WRITABLE, || Ok(rustix::net::send(stream, last, SendFlags::NOSIGNAL | SendFlags::MORE)?));
    if sent.is_ok() && shutdown_write(stream).is_ok() {
        hear_out(stream, patience, tools).await;
    }
}

/// Reads on from a peer that was told the end, until it ends too or patience does. Bytes that nobody has read would make the
/// close a reset, and a reset may overtake what was sent last.
pub(crate) async fn hear_out(stream: &TcpStream, patience: Duration, tools: &Tools) {
    let drained = poll_fn(|cx| {
        loop {
            if ready!(stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let mut scratch = tools.scratch.borrow_mut();
            match stream.try_read(&mut scratch) {
                Ok(0) => return Poll::Ready(()),
                Ok(read) if read < scratch.len() => drained(stream),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    });
    let _ = tokio::time::timeout(patience, drained).await;
}

fn shutdown_write(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Tells the runtime that `source` has nothing more just now, after a read that did not fill its buffer. Whatever
/// arrives later raises a new edge-triggered event, so a second read that would only say "would block" is spared.
pub(crate) fn drained(source: &TcpStream) {
    let nothing: io::Result<()> = source.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    debug_assert!(nothing.is_err());
}

/// Polls `future` beside the worker's order to end: `Err` is the order.
pub(crate) async fn unless_ordered<F: Future>(live: &Live, future: F) -> Result<F::Output, ClosedBy> {
    let mut future = pin!(future);
    poll_fn(|cx: &mut Context<'_>| match live.poll_order(cx) {
        Poll::Ready(order) => Poll::Ready(Err(order)),
        Poll::Pending => future.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// The same while `future` talks to `upstream`.
pub(crate) async fn unless_ordered_while<F: Future>(
    live: &Live,
    upstream: &TcpStream,
    future: F,
) -> Result<F::Output, ClosedBy> {
    let mut future = pin!(future);
    let future = poll_fn(|cx| {
        keep_if_lasting(live, upstream);
        future.as_mut().poll(cx)
    });
    unless_ordered(live, future).await
}
