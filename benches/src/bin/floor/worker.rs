//! One thread's connections.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::{io, mem};

use rustix::net::sockopt;
use sekisho_benches::net;
use sekisho_benches::poll::{Event, LISTENER, Poll};
use sekisho_benches::slots::{Key, Slots};

use crate::flow::{End, Flow, Tools};
use crate::{To, Via};

pub(crate) struct Worker {
    poll: Poll,
    listener: OwnedFd,
    port: u16,
    to: To,
    pairs: Slots<Pair>,
    again: Vec<Key>,
    tools: Tools,
}

/// A connection: its two sockets, and what goes from each to the other.
struct Pair {
    client: End,
    server: End,
    up: Flow,
    down: Flow,
}

enum Next {
    Wait,
    HadItsTurn,
    Close,
}

impl Worker {
    pub(crate) fn new(listener: OwnedFd, port: u16, via: Via, to: To) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.add_listener(&listener, LISTENER)?;
        let (pairs, again, tools) = (Slots::default(), Vec::new(), Tools::new(via == Via::Splice));
        Ok(Self { poll, listener, port, to, pairs, again, tools })
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
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
                self.advance(key);
            }
        }
    }

    fn ready(&mut self, event: &Event) -> io::Result<()> {
        let token = event.data.u64();
        if token == LISTENER {
            return self.accept();
        }
        let (key, second) = Key::of_token(token);
        if let Some(pair) = self.pairs.get_mut(key) {
            let end = if second { &mut pair.server } else { &mut pair.client };
            end.note(event.flags);
            self.advance(key);
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        if let Some(client) = net::accept(&self.listener)?
            && let Err(error) = self.open(client)
        {
            // The client learns by a reset that it was not to be.
            eprintln!("floor: {error}");
        }
        Ok(())
    }

    /// Dials, and watches both sockets, each once for its whole life.
    fn open(&mut self, client: OwnedFd) -> io::Result<()> {
        let opened = self.destination(&client).and_then(net::connect);
        let server = match opened {
            Ok(server) => server,
            Err(error) => {
                net::reset_on_close(&client);
                return Err(error);
            }
        };
        let poll = &self.poll;
        self.pairs.insert(|key| {
            poll.add(&client, key.token(false), true)?;
            poll.add(&server, key.token(true), true)?;
            let (client, server) = (End::new(client), End::new(server));
            Ok::<_, io::Error>(Pair { client, server, up: Flow::default(), down: Flow::default() })
        })?;
        Ok(())
    }

    fn destination(&self, client: &OwnedFd) -> io::Result<SocketAddr> {
        match self.to {
            To::Fixed(address) => Ok(address),
            To::Original => {
                let original = SocketAddr::V4(sockopt::ip_original_dst(client)?);
                // Not redirected: dialling it would lead here, and from here to here again.
                if original.port() == self.port {
                    return Err(io::Error::other(format!("{original} is this program's own address")));
                }
                Ok(original)
            }
        }
    }

    fn advance(&mut self, key: Key) {
        let Some(pair) = self.pairs.get_mut(key) else { return };
        match pair.advance(&mut self.tools) {
            Ok(Next::Wait) => {}
            Ok(Next::HadItsTurn) => self.again.push(key),
            Ok(Next::Close) => drop(self.pairs.remove(key)),
            Err(_) => {
                if let Some(Pair { client, server, .. }) = self.pairs.remove(key) {
                    net::reset_on_close(&client.socket);
                    net::reset_on_close(&server.socket);
                }
            }
        }
    }
}

impl Pair {
    fn advance(&mut self, tools: &mut Tools) -> io::Result<Next> {
        let up = self.up.advance(&mut self.client, &mut self.server, tools)?;
        let down = self.down.advance(&mut self.server, &mut self.client, tools)?;
        if self.up.source_ended() && self.down.source_ended() {
            return Ok(Next::Close);
        }
        // A shutdown is spared where the close that follows says the same.
        self.up.pass_end_on(&self.server)?;
        self.down.pass_end_on(&self.client)?;
        Ok(if up || down { Next::HadItsTurn } else { Next::Wait })
    }
}
