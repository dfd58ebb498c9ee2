//! One thread: keeps its share of connections open, and begins the next when one has ended.

use std::mem;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use sekisho_benches::figures::Tally;
use sekisho_benches::hello::Template;
use sekisho_benches::http;
use sekisho_benches::poll::{Event, EventFlags, Poll};
use sekisho_benches::slots::{Key, Slots};
use sekisho_benches::wire::{CHUNK, HEADER, Pattern, Request};

use crate::connection::{Connection, End, Progress};
use crate::plan::Work;
use crate::settings::{Settings, Until};

/// How often connections are looked over for those that do not move.
const SWEEP: Duration = Duration::from_secs(1);
/// After a connection that could not even be begun.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Worker<'s> {
    connections: Slots<Connection>,
    open: u64,
    most: u64,
    next: u64,
    again: Vec<Key>,
    held: Vec<OwnedFd>,
    begun: Instant,
    tools: Tools<'s>,
}

/// What a thread's connections have in common.
pub(crate) struct Tools<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) poll: Poll,
    pub(crate) hello: Template,
    pub(crate) pattern: Pattern,
    /// A header, and the start of the pattern behind it.
    pub(crate) request: Vec<u8>,
    /// A request in HTTP.
    pub(crate) text: Vec<u8>,
    /// Bytes of a request for a tunnel, and of a GET.
    pub(crate) lengths: (usize, usize),
    pub(crate) scratch: Vec<u8>,
    pub(crate) tally: Tally,
}

impl<'s> Worker<'s> {
    pub(crate) fn new(settings: &'s Settings, thread: u64, begun: Instant) -> Result<Self> {
        let pattern = Pattern::default();
        let request = [&[0; HEADER], pattern.at(0, 4096)].concat();
        let (mut text, mut get) = (Vec::new(), Vec::new());
        let name = settings.names.first().map_or(&[][..], Vec::as_slice);
        http::ask_for_tunnel(&mut text, name);
        http::get(&mut get, name, Request { up: 0, down: 0 }, 0);
        let lengths = (text.len(), get.len());
        Ok(Self {
            connections: Slots::default(),
            open: 0,
            most: settings.share(settings.concurrency, thread),
            next: thread,
            again: Vec::new(),
            held: Vec::new(),
            begun,
            tools: Tools {
                settings,
                poll: Poll::new()?,
                hello: settings.hello.clone(),
                pattern,
                request,
                text,
                lengths,
                scratch: vec![0; CHUNK],
                tally: Tally::new()?,
            },
        })
    }

    /// Until all is done; then the counts, and the connections that `idle` leaves open.
    pub(crate) fn run(mut self) -> Result<(Tally, Vec<OwnedFd>)> {
        let mut events = Poll::events();
        let mut turns = Vec::new();
        let mut swept = Instant::now();
        loop {
            let paused = self.fill();
            if self.open == 0 && !paused {
                return Ok((self.tools.tally, self.held));
            }
            let timeout = match (paused, self.again.is_empty()) {
                (_, false) => Duration::ZERO,
                (true, true) => PAUSE,
                (false, true) => SWEEP,
            };
            self.tools.poll.wait(&mut events, Some(timeout))?;
            for event in &events {
                self.ready(event);
            }
            mem::swap(&mut turns, &mut self.again);
            for key in turns.drain(..) {
                self.advance(key, EventFlags::IN);
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
            }
        }
    }

    /// Begins connections until there are enough; true when one failed at once, and more should wait.
    fn fill(&mut self) -> bool {
        while self.open < self.most && self.more() {
            let number = self.next;
            self.next += self.tools.settings.threads;
            self.tools.tally.connections += 1;
            let Self { connections, tools, .. } = self;
            match connections.insert(|key| Connection::begin(number, key, tools)) {
                Ok(_) => self.open += 1,
                Err(end) => {
                    self.count(end);
                    return self.more();
                }
            }
        }
        false
    }

    fn more(&self) -> bool {
        match self.tools.settings.until {
            Until::Count(count) => self.next < count,
            Until::Time(time) => self.begun.elapsed() < time,
        }
    }

    fn ready(&mut self, event: &Event) {
        let (key, _) = Key::of_token(event.data.u64());
        self.advance(key, event.flags);
    }

    fn advance(&mut self, key: Key, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.advance(key, flags, &mut self.tools) {
            Ok(Progress::Waits) => {}
            Ok(Progress::HadItsTurn) => self.again.push(key),
            Err(end) => self.end(key, end),
        }
    }

    fn end(&mut self, key: Key, end: End) {
        let connection = self.connections.remove(key);
        self.open -= 1;
        let served = matches!(end, End::Served);
        self.count(end);
        if served && self.tools.settings.plan.work == Work::Idle {
            self.held.extend(connection.map(|connection| connection.socket));
        }
    }

    fn count(&mut self, end: End) {
        let tally = &mut self.tools.tally;
        match end {
            End::Served if self.tools.settings.plan.work == Work::Refused => tally.failed("served, not refused"),
            End::Served => {}
            End::Refused => tally.refused += 1,
            End::Unlike(why) => tally.failed(why),
            End::Broken(error) => tally.failed(&error.to_string()),
        }
    }

    /// Gives connections up that have not moved for as long as patience lasts.
    fn sweep(&mut self) {
        let patience = self.tools.settings.patience;
        let stuck: Vec<Key> = self
            .connections
            .iter_mut()
            .filter_map(|(key, connection)| (connection.quiet_sweeps() > patience).then_some(key))
            .collect();
        for key in stuck {
            self.end(key, End::Unlike("nothing moved"));
        }
    }
}
