//! The server: answers each request with as many bytes as it asks for. It knows no TLS; see `wire.rs`. What begins as a
//! GET it answers in HTTP, once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::{iter, mem};

use anyhow::{Result, ensure};
use clap::Parser;
use sekisho_benches::http::{self, End};
use sekisho_benches::net;
use sekisho_benches::poll::{self, Event, EventFlags, LISTENER, Poll};
use sekisho_benches::slots::{Key, Slots};
use sekisho_benches::wire::{CHUNK, HEADER, OPENING, Pattern, Request};

/// Calls that one connection may make before the thread's others have their turn.
const TURN: u32 = 16;

/// Answers load's requests, for ever.
#[derive(Debug, Parser)]
#[command(name = "origin")]
struct Arguments {
    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, value_delimiter = ',', required = true, value_name = "IP:PORT")]
    bind: Vec<SocketAddr>,
    /// Threads, each with a listening socket of its own for each address
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// Look at every byte that comes, and close with a reset where one is not what was sent
    #[arg(long)]
    verify: bool,
}

fn main() -> Result<()> {
    let Arguments { bind, threads, verify } = Arguments::parse();
    ensure!(threads > 0, "--threads must be at least 1");
    net::raise_descriptor_limit();
    let mut listeners: Vec<Vec<OwnedFd>> = iter::repeat_with(Vec::new).take(threads).collect();
    for address in bind {
        let (address, sockets) = net::listen(address, threads)?;
        listeners.iter_mut().zip(sockets).for_each(|(thread, socket)| thread.push(socket));
        println!("listening {address}");
    }
    let parts = listeners.into_iter().map(|listeners| (listeners, verify)).collect();
    Ok(net::run_threads(parts, |(listeners, verify)| Worker::new(listeners, verify)?.run())?)
}

/// One thread.
struct Worker {
    poll: Poll,
    listeners: Vec<OwnedFd>,
    connections: Slots<Connection>,
    again: Vec<Key>,
    tools: Tools,
}

struct Tools {
    pattern: Pattern,
    scratch: Vec<u8>,
    /// The head of an answer, and the start of the pattern behind it.
    answer: Vec<u8>,
    verify: bool,
}

impl Worker {
    fn new(listeners: Vec<OwnedFd>, verify: bool) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (index, listener) in (0..).zip(&listeners) {
            poll.add_listener(listener, LISTENER - index)?;
        }
        let tools = Tools { pattern: Pattern::default(), scratch: vec![0; CHUNK], answer: Vec::new(), verify };
        Ok(Self { poll, listeners, connections: Slots::default(), again: Vec::new(), tools })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Poll::events();
        let mut turns = Vec::new();
        loop {
            let timeout = if self.again.is_empty() { None } else { Some(Duration::ZERO) };
            self.poll.wait(&mut events, timeout)?;
            for event in &events {
                self.ready(event)?;
            }
            mem::swap(&mut turns, &mut self.again);
            for key in turns.drain(..) {
                self.advance(key, EventFlags::empty());
            }
        }
    }

    fn ready(&mut self, event: &Event) -> io::Result<()> {
        let token = event.data.u64();
        let listener = usize::try_from(LISTENER - token).ok().and_then(|index| self.listeners.get(index));
        let Some(listener) = listener else {
            self.advance(Key::of_token(token).0, event.flags);
            return Ok(());
        };
        if let Some(socket) = net::accept(listener)? {
            let poll = &self.poll;
            self.connections.insert(|key| {
                poll.add(&socket, key.token(false), false)?;
                Ok::<_, io::Error>(Connection::new(socket))
            })?;
        }
        Ok(())
    }

    fn advance(&mut self, key: Key, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.advance(flags, &mut self.tools) {
            Ok(Next::Wait) => {}
            Ok(Next::HadItsTurn) => self.again.push(key),
            Ok(Next::WaitWritable) => {
                // The socket is watched already, and there is no other way for this to fail.
                let _ = self.poll.add_writable(&connection.socket, key.token(false));
            }
            Ok(Next::Close) => drop(self.connections.remove(key)),
            Err(_) => {
                if let Some(connection) = self.connections.remove(key) {
                    net::reset_on_close(&connection.socket);
                }
            }
        }
    }
}

struct Connection {
    socket: OwnedFd,
    /// The start of a request: of a hello, later a header.
    head: [u8; OPENING],
    head_length: usize,
    had: usize,
    rest: Rest,
    manner: Manner,
    request: Request,
    /// Of the request's bytes.
    received: u64,
    /// Of the answer's.
    sent: u64,
    readable: bool,
    ended: bool,
    watches_writable: bool,
}

/// How answers are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Bytes, and then the next request.
    Bytes,
    /// A head, bytes, and the end.
    Http,
}

/// What is still to come of a request's start and says nothing.
enum Rest {
    /// So many bytes of a hello.
    Hello(u64),
    /// Headers, to the empty line.
    Headers(End),
}

impl Rest {
    /// How many of these bytes belong to it.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Hello(left) => {
                let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= skipped as u64;
                skipped
            }
            Self::Headers(end) => match end.find(bytes) {
                None => bytes.len(),
                Some(skipped) => {
                    *self = Self::Hello(0);
                    skipped
                }
            },
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Hello(0))
    }
}

enum Next {
    Wait,
    WaitWritable,
    HadItsTurn,
    Close,
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            head: [0; OPENING],
            head_length: OPENING,
            had: 0,
            rest: Rest::Hello(0),
            manner: Manner::Bytes,
            request: Request { up: 0, down: 0 },
            received: 0,
            sent: 0,
            readable: false,
            ended: false,
            watches_writable: false,
        }
    }

    fn advance(&mut self, flags: EventFlags, tools: &mut Tools) -> io::Result<Next> {
        self.readable |= poll::readable(flags);
        self.ended |= poll::ended(flags);
        for _ in 0..TURN {
            if self.asked() {
                if !self.send(tools)? {
                    let watched = mem::replace(&mut self.watches_writable, true);
                    return Ok(if watched { Next::Wait } else { Next::WaitWritable });
                }
                if self.manner == Manner::Http && !self.asked() {
                    return Ok(Next::Close);
                }
                // Often there is nothing behind the answer yet; the rest of this turn costs no call then.
            } else if !self.readable {
                return Ok(Next::Wait);
            } else if !self.receive(tools)? {
                return Ok(Next::Close);
            }
        }
        Ok(Next::HadItsTurn)
    }

    /// Whether a whole request is there that is not answered yet.
    fn asked(&self) -> bool {
        self.had == self.head_length && self.rest.is_over() && self.received == self.request.up
    }

    /// Sends once; false when the socket takes no more now.
    fn send(&mut self, tools: &mut Tools) -> io::Result<bool> {
        let down = self.request.down;
        let head = if self.manner == Manner::Http { http::answer(&mut tools.answer, down) } else { 0 };
        let bytes = if let Some(offset) = self.sent.checked_sub(head) {
            tools.pattern.at(offset, down - offset)
        } else {
            tools.answer.extend_from_slice(tools.pattern.at(0, down));
            tools.answer.get(usize::try_from(self.sent).unwrap_or_default()..).unwrap_or_default()
        };
        let wanted = bytes.len();
        let sent = if wanted == 0 { 0 } else { net::send(&self.socket, bytes)?.unwrap_or(0) };
        self.sent += sent as u64;
        if self.sent == head + down {
            (self.had, self.head_length, self.received, self.sent) = (0, HEADER, 0, 0);
            return Ok(true);
        }
        Ok(sent == wanted)
    }

    /// Receives once; false at the end.
    fn receive(&mut self, tools: &mut Tools) -> io::Result<bool> {
        let to_come = self.request.up - self.received;
        let in_bulk = self.had == self.head_length && self.rest.is_over() && to_come >= CHUNK as u64;
        let scratch = tools.scratch.as_mut_slice();
        let received = if in_bulk && !tools.verify {
            net::discard(&self.socket, scratch)
        } else {
            net::receive(&self.socket, scratch)
        }?;
        // A short read has taken all: what comes from now on, the end included, is a new event.
        self.readable = received == Some(scratch.len()) || (received.is_some() && self.ended);
        match received {
            None => Ok(true),
            Some(0) => Ok(false),
            Some(count) if in_bulk && !tools.verify => {
                self.received += count as u64;
                Ok(true)
            }
            Some(count) => self.read(tools.scratch.get(..count).unwrap_or_default(), tools).map(|()| true),
        }
    }

    /// Takes what was received apart.
    ///
    /// # Errors
    /// When it is not what a client of ours sends, which never asks again before it has its answer.
    fn read(&mut self, mut bytes: &[u8], tools: &Tools) -> io::Result<()> {
        let unlike = || io::Error::from(io::ErrorKind::InvalidData);
        if self.had < self.head_length {
            let place = self.head.get_mut(self.had..self.head_length).unwrap_or_default();
            let (taken, rest) = bytes.split_at(place.len().min(bytes.len()));
            place.iter_mut().zip(taken).for_each(|(place, byte)| *place = *byte);
            self.had += taken.len();
            bytes = rest;
            if self.had < self.head_length {
                return Ok(());
            }
            (self.request, self.rest) = match self.head_length {
                OPENING => self.opening().ok_or_else(unlike)?,
                _ => (Request::from_header(*self.head.first_chunk().ok_or_else(unlike)?), Rest::Hello(0)),
            };
        }
        bytes = bytes.get(self.rest.skip(bytes)..).unwrap_or_default();
        let fits = bytes.len() as u64 <= self.request.up - self.received;
        if !fits || (tools.verify && !tools.pattern.matches(self.received, bytes)) {
            return Err(unlike());
        }
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// The first request, and what follows it. A GET has no bytes behind its head.
    fn opening(&mut self) -> Option<(Request, Rest)> {
        if let Some((request, hello)) = Request::from_opening(&self.head) {
            return Some((request, Rest::Hello(hello)));
        }
        self.manner = Manner::Http;
        let mut end = End::default();
        end.find(&self.head).is_none().then_some(())?;
        http::request_in(&self.head).filter(|request| request.up == 0).map(|request| (request, Rest::Headers(end)))
    }
}
