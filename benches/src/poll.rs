//! epoll, edge-triggered.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData};
use rustix::io::Errno;

pub use rustix::event::epoll::{Event, EventFlags};

/// The token of a listening socket. No connection has it.
pub const LISTENER: u64 = u64::MAX;
/// Events of one wait, at most.
const EVENTS: usize = 256;

/// One thread's epoll.
#[derive(Debug)]
pub struct Poll(OwnedFd);

impl Poll {
    /// A new one.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Room for the events of one wait.
    pub fn events() -> Vec<Event> {
        Vec::with_capacity(EVENTS)
    }

    /// Watches a listening socket. Not edge-triggered: so one `accept` for each wait is enough, and none is made that
    /// finds nobody (which costs the kernel a socket made and thrown away).
    pub fn add_listener(&self, socket: &OwnedFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Watches a connection's socket for being readable, its end, and being writable too if so asked.
    pub fn add(&self, socket: impl AsFd, token: u64, writable: bool) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(token), interest(writable))?)
    }

    /// Watches a socket that is watched already for being writable too.
    pub fn add_writable(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.0, socket, EventData::new_u64(token), interest(true))?)
    }

    /// Waits for events, for ever where there is no `timeout`; `events` has them then, and only them.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(&self.0, spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn interest(writable: bool) -> EventFlags {
    let always = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
    if writable { always | EventFlags::OUT } else { always }
}

/// Whether a read is worth trying: for data, the end, or to learn the error.
pub fn readable(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
}

/// Whether a write is.
pub fn writable(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR)
}

/// Whether the other side has sent its last byte: reads are then worth trying until one says so.
pub fn ended(flags: EventFlags) -> bool {
    flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
}
