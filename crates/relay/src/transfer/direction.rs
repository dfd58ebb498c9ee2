//! One direction of a transfer.

use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pipe::{self, Pipe};
use super::{SPLICE_FROM, Tools};
use crate::live::{Live, Way};

/// Bytes that one direction may move before the thread's other connections have their turn.
const TURN: usize = 1024 * 1024;

/// Which side of a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Source,
    Sink,
}

/// From one socket to the other: what was read and not yet written, and how far it has come.
#[derive(Debug)]
pub(super) struct Direction {
    way: Way,
    stage: Stage,
    carried: u64,
    held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The source may still send.
    Open,
    /// The source has finished; what is held must go out before the sink hears of it.
    Ending,
    /// The sink has heard of it.
    Ended,
}

/// What was read from the source and the sink has not taken yet.
#[derive(Debug)]
enum Held {
    Nothing,
    Bytes(Box<Unwritten>),
    Piped(Box<Pipe>),
}

/// The end of some bytes.
#[derive(Debug)]
struct Unwritten {
    bytes: Vec<u8>,
    written: usize,
}

impl Held {
    fn bytes(bytes: Vec<u8>, written: usize) -> Self {
        if written < bytes.len() { Self::Bytes(Box::new(Unwritten { bytes, written })) } else { Self::Nothing }
    }
}

impl Direction {
    pub(super) fn new(way: Way) -> Self {
        Self { way, stage: Stage::Open, carried: 0, held: Held::Nothing }
    }

    /// With bytes that were read from the source before. A sink that is new takes them at once.
    pub(super) fn begun(way: Way, first: Vec<u8>, sink: &TcpStream, live: &Live, tools: &Tools) -> Self {
        let mut direction = Self::new(way);
        // What an error means is seen when the rest is written.
        let written = if first.is_empty() { 0 } else { sink.try_write(&first).unwrap_or_default() };
        direction.count(written, live, tools);
        direction.held = Held::bytes(first, written);
        direction
    }

    /// Moves what can be moved. Ready once the source's end has been passed on, and ready again when polled again. With
    /// `last`, the other direction has ended and the close that follows passes this end on.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
        live: &Live,
        tools: &Tools,
        last: bool,
    ) -> Poll<Result<(), Broken>> {
        let before = self.carried;
        loop {
            ready!(self.poll_flush(cx, sink, live, tools))?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending if last => {
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Ending => {
                    SockRef::from(sink).shutdown(Shutdown::Write).map_err(|_| Broken::Sink)?;
                    self.stage = Stage::Ended;
                    live.half_closed();
                    return Poll::Ready(Ok(()));
                }
                Stage::Open => {}
            }
            if self.carried - before >= TURN as u64 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(source.poll_read_ready(cx)).map_err(|_| Broken::Source)?;
            let moved = if self.carried < SPLICE_FROM {
                self.copy(source, sink, live, tools)
            } else {
                match tools.pipes.take() {
                    Some(pipe) => self.splice(pipe, source, tools),
                    None => self.copy(source, sink, live, tools),
                }
            };
            match moved {
                Ok(true) => {}
                Ok(false) => {
                    self.stage = Stage::Ending;
                    live.note_end(self.way.source());
                }
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
    }

    /// Whether its source's end has been passed on.
    pub(super) fn ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether it waits for its source, whose breaking it then hears of.
    pub(super) fn listens(&self) -> bool {
        self.stage == Stage::Open && matches!(self.held, Held::Nothing)
    }

    /// Writes what is held. Pending while the sink does not take it.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        sink: &TcpStream,
        live: &Live,
        tools: &Tools,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let written = match &self.held {
                Held::Nothing => return Poll::Ready(Ok(())),
                Held::Bytes(rest) => sink.try_write(rest.bytes.get(rest.written..).unwrap_or_default()),
                Held::Piped(pipe) => sink.try_io(Interest::WRITABLE, || pipe.drain_into(sink)),
            };
            match written {
                Ok(0) => return Poll::Ready(Err(Broken::Sink)),
                Ok(count) => self.delivered(count, live, tools),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(sink.poll_write_ready(cx)).map_err(|_| Broken::Sink)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(Err(Broken::Sink)),
            }
        }
    }

    /// The sink took `count` bytes of what is held; a pipe goes back to its pool only once it is empty.
    fn delivered(&mut self, count: usize, live: &Live, tools: &Tools) {
        self.count(count, live, tools);
        match &mut self.held {
            Held::Nothing => {}
            Held::Bytes(rest) => {
                rest.written += count;
                if rest.written >= rest.bytes.len() {
                    self.held = Held::Nothing;
                }
            }
            Held::Piped(pipe) => {
                pipe.length = pipe.length.saturating_sub(count);
                if pipe.length == 0
                    && let Held::Piped(pipe) = std::mem::replace(&mut self.held, Held::Nothing)
                {
                    tools.pipes.give_back(pipe);
                }
            }
        }
    }

    /// Reads once into the scratch buffer and writes it straight out; keeps what the sink does not take.
    /// `Ok(false)` is the end of the source's data.
    fn copy(&mut self, source: &TcpStream, sink: &TcpStream, live: &Live, tools: &Tools) -> Result<bool, Broken> {
        let mut scratch = tools.scratch.borrow_mut();
        let read = match source.try_read(&mut scratch) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) => return retry(&error),
        };
        if read < scratch.len() {
            super::drained(source);
        }
        let bytes = scratch.get(..read).unwrap_or_default();
        let written = match sink.try_write(bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Broken::Sink),
        };
        self.count(written, live, tools);
        if let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            self.held = Held::bytes(rest.to_vec(), 0);
        }
        Ok(true)
    }

    /// Moves what the source has into `pipe`, which is empty: so "would block" can only mean that the source is dry,
    /// never that the pipe is full.
    fn splice(&mut self, mut pipe: Box<Pipe>, source: &TcpStream, tools: &Tools) -> Result<bool, Broken> {
        match source.try_io(Interest::READABLE, || pipe.fill_from(source)) {
            Ok(0) => {
                tools.pipes.give_back(pipe);
                Ok(false)
            }
            Ok(length) => {
                pipe.length = length;
                self.held = Held::Piped(pipe);
                Ok(true)
            }
            Err(error) => {
                tools.pipes.give_back(pipe);
                if pipe::refused(&error) {
                    tools.pipes.disable();
                    return Ok(true);
                }
                retry(&error)
            }
        }
    }

    fn count(&mut self, bytes: usize, live: &Live, tools: &Tools) {
        self.carried += bytes as u64;
        live.carried(self.way, bytes as u64);
        tools.delivered(self.way, bytes as u64);
    }
}

/// Whether a failed read only means "later".
fn retry(error: &io::Error) -> Result<bool, Broken> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(true),
        _ => Err(Broken::Source),
    }
}
