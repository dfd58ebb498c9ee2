//! One connection: sends its requests one after the other, and counts the answers.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use sekisho_benches::http::{self, Head, Way};
use sekisho_benches::net;
use sekisho_benches::poll::{self, EventFlags};
use sekisho_benches::slots::Key;
use sekisho_benches::wire::{ALERT, HEADER, Request};

use crate::plan::Work;
use crate::worker::Tools;

/// Calls that one connection may make before the thread's others have their turn.
const TURN: u32 = 16;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    number: u64,
    step: u64,
    request: Request,
    stage: Stage,
    /// What has come of the head of an answer in HTTP, while one is waited for.
    head: Option<Head>,
    /// Of the request, hello or header included.
    sent: u64,
    /// Of the answer, a head not included.
    received: u64,
    /// When the request was begun; the first, before the connection was.
    begun: Instant,
    watches_writable: bool,
    /// Whether the other side has sent its last byte.
    ended: bool,
    moved: bool,
    quiet: u32,
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A proxy is asked for a tunnel.
    Tunnel,
    /// The server is reached, and asked for bytes.
    Requests,
}

/// How far it came without ending.
pub(crate) enum Progress {
    /// The socket will tell.
    Waits,
    /// It could go on, after others.
    HadItsTurn,
}

/// How it ended.
pub(crate) enum End {
    Served,
    Refused,
    /// Something came that should not, or did not come.
    Unlike(&'static str),
    Broken(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Connection {
    /// Connects, and sends the first request if the connection is there at once, as it is on one machine.
    pub(crate) fn begin(number: u64, key: Key, tools: &mut Tools<'_>) -> Result<Self, End> {
        let begun = Instant::now();
        let to = in_turn(&tools.settings.to, number).ok_or(End::Unlike("no address"))?;
        let request = tools.settings.plan.request(number, 0).ok_or(End::Served)?;
        let socket = net::connect(*to)?;
        let mut connection = Self {
            socket,
            number,
            step: 0,
            request,
            stage: if tools.settings.way == Way::Connect { Stage::Tunnel } else { Stage::Requests },
            head: (tools.settings.way != Way::Tls).then(Head::default),
            sent: 0,
            received: 0,
            begun,
            watches_writable: false,
            ended: false,
            moved: true,
            quiet: 0,
        };
        connection.watches_writable = connection.send(tools)? != Moved::Whole;
        tools.poll.add(&connection.socket, key.token(false), connection.watches_writable)?;
        Ok(connection)
    }

    /// Does what can be done now. `flags` are an event's.
    pub(crate) fn advance(&mut self, key: Key, flags: EventFlags, tools: &mut Tools<'_>) -> Result<Progress, End> {
        self.moved = true;
        self.ended |= poll::ended(flags);
        let mut received = if poll::readable(flags) { Moved::Some } else { Moved::AllNow };
        for _ in 0..TURN {
            if received != Moved::Some {
                break;
            }
            received = self.receive(tools)?;
        }
        if received == Moved::Whole {
            self.answered(tools)?;
        }
        let sent = self.send(tools)?;
        if sent == Moved::AllNow && !self.watches_writable {
            self.watches_writable = true;
            tools.poll.add_writable(&self.socket, key.token(false))?;
        }
        let turned = received == Moved::Some || sent == Moved::Some;
        Ok(if turned { Progress::HadItsTurn } else { Progress::Waits })
    }

    /// One more look at a connection that does not move: how many there were.
    pub(crate) fn quiet_sweeps(&mut self) -> u32 {
        self.quiet = if self.moved { 0 } else { self.quiet + 1 };
        self.moved = false;
        self.quiet
    }

    /// Sends what is left of the request, or as much as the socket takes.
    fn send(&mut self, tools: &mut Tools<'_>) -> io::Result<Moved> {
        for _ in 0..TURN {
            let head = self.opening(tools);
            let left = (head + self.up()).saturating_sub(self.sent);
            if left == 0 {
                return Ok(Moved::Whole);
            }
            let bytes = match self.sent.checked_sub(head) {
                Some(offset) => tools.pattern.at(offset, left),
                None => from(self.filled(tools), self.sent, left),
            };
            let wanted = bytes.len();
            let Some(sent) = net::send(&self.socket, bytes)? else { return Ok(Moved::AllNow) };
            self.sent += sent as u64;
            tools.tally.bytes_up += sent as u64;
            if sent < wanted {
                return Ok(Moved::AllNow);
            }
        }
        Ok(Moved::Some)
    }

    /// Bytes of what opens the request: of the hello, the GET, a header; of what asks for a tunnel.
    fn opening(&self, tools: &Tools<'_>) -> u64 {
        let (tunnel, get) = tools.lengths;
        let bytes = match tools.settings.way {
            _ if self.stage == Stage::Tunnel => tunnel,
            _ if self.step > 0 => HEADER,
            Way::Http => get,
            Way::Tls | Way::Connect => tools.hello.length(),
        };
        bytes as u64
    }

    /// Bytes that follow it.
    fn up(&self) -> u64 {
        if self.stage == Stage::Tunnel { 0 } else { self.request.up }
    }

    /// What opens the request, and perhaps more.
    fn filled<'t>(&self, tools: &'t mut Tools<'_>) -> &'t [u8] {
        let name = in_turn(&tools.settings.names, self.number).map_or(&[][..], Vec::as_slice);
        match tools.settings.way {
            _ if self.stage == Stage::Tunnel => http::ask_for_tunnel(&mut tools.text, name),
            _ if self.step > 0 => {
                if let Some(header) = tools.request.first_chunk_mut() {
                    *header = self.request.header();
                }
                return &tools.request;
            }
            Way::Http => http::get(&mut tools.text, name, self.request, self.number),
            Way::Tls | Way::Connect => return tools.hello.fill(name, &self.request.random(self.number)),
        }
        &tools.text
    }

    fn receive(&mut self, tools: &mut Tools<'_>) -> Result<Moved, End> {
        let looks = tools.settings.verify || self.received == 0;
        let scratch = tools.scratch.as_mut_slice();
        let room = scratch.len();
        let count = if looks { net::receive(&self.socket, scratch) } else { net::discard(&self.socket, scratch) }?;
        let mut count = match count {
            None => return Ok(Moved::AllNow),
            Some(0) => return Err(End::Unlike("closed early")),
            Some(count) => count,
        };
        tools.tally.bytes_down += count as u64;
        // What comes from now on, the end included, is a new event.
        let more = if count < room && !self.ended { Moved::AllNow } else { Moved::Some };
        if looks {
            let mut bytes = scratch.get(..count).unwrap_or_default();
            let refused = match &mut self.head {
                Some(head) => {
                    let taken = head.take(bytes).map_err(|_| End::Unlike("a head without an end"))?;
                    let Some(taken) = taken else { return Ok(more) };
                    bytes = bytes.get(taken..).unwrap_or_default();
                    head.status() == Some(403)
                }
                None => self.received == 0 && bytes.first() == Some(&ALERT),
            };
            if refused {
                if tools.settings.plan.work == Work::Refused {
                    tools.tally.took(self.begun.elapsed());
                }
                return Err(End::Refused);
            }
            if let Some(head) = self.head.take() {
                self.judge(&head, bytes)?;
                count = bytes.len();
            }
            if tools.settings.verify && !tools.pattern.matches(self.received, bytes) {
                return Err(End::Unlike("other bytes than were sent"));
            }
        }
        self.received += count as u64;
        if self.received > self.request.down {
            return Err(End::Unlike("more bytes than were asked for"));
        }
        Ok(if self.received == self.request.down { Moved::Whole } else { more })
    }

    /// Whether this is the head that was waited for; `behind` came with it. A tunnel that stands is used from now on.
    fn judge(&mut self, head: &Head, behind: &[u8]) -> Result<(), End> {
        if head.status() != Some(200) {
            return Err(End::Unlike("another status than 200"));
        }
        if self.stage == Stage::Requests {
            let asked = head.content_length() == Some(self.request.down);
            return if asked { Ok(()) } else { Err(End::Unlike("another length than was asked for")) };
        }
        if !behind.is_empty() {
            return Err(End::Unlike("bytes before the hello"));
        }
        (self.stage, self.sent) = (Stage::Requests, 0);
        Ok(())
    }

    /// Counts the answer, and makes the next request the one to send.
    fn answered(&mut self, tools: &mut Tools<'_>) -> Result<(), End> {
        if self.sent < self.opening(tools) + self.up() {
            return Err(End::Unlike("answered before all was asked"));
        }
        let now = Instant::now();
        tools.tally.requests += 1;
        if tools.settings.plan.timed(self.step) {
            tools.tally.took(now.duration_since(self.begun));
        }
        self.step += 1;
        self.request = tools.settings.plan.request(self.number, self.step).ok_or(End::Served)?;
        (self.sent, self.received, self.begun) = (0, 0, now);
        Ok(())
    }
}

/// What one call, or one turn of them, did to a request or an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// It is done.
    Whole,
    /// More may go on at once.
    Some,
    /// An event will tell when more can.
    AllNow,
}

fn in_turn<T>(all: &[T], number: u64) -> Option<&T> {
    all.get(usize::try_from(number % (all.len() as u64).max(1)).ok()?)
}

fn from(bytes: &[u8], offset: u64, most: u64) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let bytes = bytes.get(start..).unwrap_or_default();
    bytes.get(..usize::try_from(most).unwrap_or(usize::MAX)).unwrap_or(bytes)
}
