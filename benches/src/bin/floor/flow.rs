//! One direction of a connection.

use std::os::fd::OwnedFd;
use std::{io, mem};

use rustix::net::{Shutdown, shutdown};
use sekisho_benches::net;
use sekisho_benches::poll::{self, EventFlags};

use crate::pipes::Pipe;

/// Bytes that a direction copies before it splices.
const SPLICE_FROM: u64 = 64 * 1024;
/// Where less than this came at once, copying would have been cheaper: a pipe is filled, drained, and found to be dry.
const WORTH_A_PIPE: u64 = 16 * 1024;
const SCRATCH: usize = 64 * 1024;
/// Reads that one direction may make before the thread's other connections have their turn.
const TURN: u32 = 16;

/// What a thread's connections have in common.
pub(crate) struct Tools {
    scratch: Vec<u8>,
    splices: bool,
    /// Empty, for whoever needs one next.
    pipes: Vec<Pipe>,
}

impl Tools {
    pub(crate) fn new(splices: bool) -> Self {
        Self { scratch: vec![0; SCRATCH], splices, pipes: Vec::new() }
    }
}

/// A socket, and what is known of it since its last event.
pub(crate) struct End {
    pub(crate) socket: OwnedFd,
    readable: bool,
    writable: bool,
    ended: bool,
}

impl End {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, readable: false, writable: false, ended: false }
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, flags: EventFlags) {
        self.readable |= poll::readable(flags);
        self.writable |= poll::writable(flags);
        self.ended |= poll::ended(flags);
    }
}

/// From one socket to the other.
#[derive(Default)]
pub(crate) struct Flow {
    /// Since it began to copy.
    carried: u64,
    /// Spliced since the source was last dry.
    burst: u64,
    held: Held,
    stage: Stage,
}

/// What was read and the sink has not taken yet.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    Piped(Pipe, usize),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The source has ended, and everything is delivered.
    SourceEnded,
    /// The sink has heard of it.
    Ended,
}

impl Flow {
    /// Moves what can be moved; true when there may be more at once.
    pub(crate) fn advance(&mut self, source: &mut End, sink: &mut End, tools: &mut Tools) -> io::Result<bool> {
        for _ in 0..TURN {
            if !self.flush(sink, tools)? || !source.readable || !sink.writable || self.stage != Stage::Open {
                return Ok(false);
            }
            let more = if tools.splices && self.carried >= SPLICE_FROM {
                self.splice(source, tools)?
            } else {
                self.copy(source, sink, tools)?
            };
            if !more {
                self.stage = Stage::SourceEnded;
            }
        }
        Ok(true)
    }

    /// Whether nothing more will come, and nothing is held.
    pub(crate) fn source_ended(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Tells the sink of the source's end, once.
    pub(crate) fn pass_end_on(&mut self, sink: &End) -> io::Result<()> {
        if self.stage == Stage::SourceEnded {
            self.stage = Stage::Ended;
            shutdown(&sink.socket, Shutdown::Write)?;
        }
        Ok(())
    }

    /// Writes what is held; false while some of it is left.
    fn flush(&mut self, sink: &mut End, tools: &mut Tools) -> io::Result<bool> {
        loop {
            if matches!(self.held, Held::Nothing) {
                return Ok(true);
            }
            if !sink.writable {
                return Ok(false);
            }
            let written = match &self.held {
                Held::Nothing => return Ok(true),
                Held::Bytes(bytes) => net::send(&sink.socket, bytes)?,
                Held::Piped(pipe, length) => pipe.drain(&sink.socket, *length)?,
            };
            match written {
                None => sink.writable = false,
                Some(count) => self.written(count, tools),
            }
        }
    }

    fn written(&mut self, count: usize, tools: &mut Tools) {
        self.held = match mem::take(&mut self.held) {
            Held::Bytes(mut bytes) if count < bytes.len() => {
                bytes.drain(..count);
                Held::Bytes(bytes)
            }
            Held::Piped(pipe, length) if count < length => Held::Piped(pipe, length - count),
            Held::Piped(pipe, _) => {
                tools.pipes.push(pipe);
                Held::Nothing
            }
            Held::Bytes(_) | Held::Nothing => Held::Nothing,
        };
    }

    /// Reads once and writes it straight out; false at the end.
    fn copy(&mut self, source: &mut End, sink: &mut End, tools: &mut Tools) -> io::Result<bool> {
        let scratch = tools.scratch.as_mut_slice();
        let read = net::receive(&source.socket, scratch)?;
        // A short read has taken all: what comes from now on is a new event.
        source.readable = read == Some(scratch.len()) || (read.is_some() && source.ended);
        let bytes = match read {
            None => return Ok(true),
            Some(0) => return Ok(false),
            Some(count) => scratch.get(..count).unwrap_or_default(),
        };
        self.carried += bytes.len() as u64;
        let written = net::send(&sink.socket, bytes)?.unwrap_or(0);
        if written < bytes.len() {
            sink.writable = false;
            self.held = Held::Bytes(bytes.get(written..).unwrap_or_default().to_vec());
        }
        Ok(true)
    }

    /// Fills a pipe; false at the end.
    fn splice(&mut self, source: &mut End, tools: &mut Tools) -> io::Result<bool> {
        let pipe = match tools.pipes.pop() {
            Some(pipe) => pipe,
            None => Pipe::new()?,
        };
        let filled = pipe.fill(&source.socket)?;
        source.readable = filled.is_some();
        if let Some(count @ 1..) = filled {
            self.burst += count as u64;
            self.held = Held::Piped(pipe, count);
            return Ok(true);
        }
        tools.pipes.push(pipe);
        if mem::take(&mut self.burst) < WORTH_A_PIPE {
            self.carried = 0;
        }
        Ok(filled.is_none())
    }
}
