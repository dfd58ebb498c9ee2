//! Listening sockets that whoever started this process has opened and handed over (`sd_listen_fds(3)`): each is its
//! listener's by name.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::listen::prepare;
use crate::settings::{Destination, Listener};

/// The names, in the order of the sockets, with colons between.
const NAMES: &str = "LISTEN_FDNAMES";
/// What a socket is called where nobody has named it.
const UNNAMED: &str = "unknown";

/// For each worker, its sockets of one listener.
pub(crate) type Row = Vec<Vec<TcpListener>>;

/// What was handed over and no listener has taken yet.
#[derive(Debug, Default)]
pub struct Handed {
    sockets: Vec<(String, TcpListener)>,
}

/// What is wrong with what was handed over, or was not.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// Fewer or more names than sockets.
    #[error("{sockets} sockets are handed over (LISTEN_FDS) with {names} names (LISTEN_FDNAMES); each needs one")]
    Names {
        /// How many sockets.
        sockets: usize,
        /// How many names.
        names: usize,
    },
    /// Something else than a listening TCP socket.
    #[error(
        "what is handed over as `{name}` is no TCP socket that listens; in its socket unit write ListenStream= with a port \
         or address:port, and no Accept="
    )]
    NotListening {
        /// Its name.
        name: String,
        /// What it is instead, where it is no TCP socket at all.
        source: Option<io::Error>,
    },
    /// Nobody's.
    #[error(
        "a socket is handed over by the name `{name}`, which no listener has ({listeners}); make FileDescriptorName= of its \
         socket unit a listener's `name`"
    )]
    Nobodys {
        /// Its name.
        name: String,
        /// The listeners' names.
        listeners: String,
    },
    /// A listener takes a socket from a supervisor, and got none.
    #[error(
        "listener `{listener}` has `socket: handed_over`, and no socket is handed over by that name; start the socket unit \
         whose FileDescriptorName= is `{listener}`, or remove the line, and the gate binds {bind} itself"
    )]
    Missing {
        /// Its name.
        listener: String,
        /// Its address.
        bind: SocketAddr,
    },
    /// It listens elsewhere than its listener says.
    #[error(
        "the socket handed over as `{name}` listens on {at}, and its listener says `bind: \"{bind}\"`; make them agree"
    )]
    Elsewhere {
        /// Its name.
        name: String,
        /// Where it listens.
        at: SocketAddr,
        /// Where its listener says.
        bind: SocketAddr,
    },
    /// It takes other families than its listener says.
    #[error(
        "the socket handed over as `{name}` takes {takes}, and its listener says `ipv6_only: {ipv6_only}`; make it \
         `ipv6_only: {}`, or write BindIPv6Only={} in its socket unit", !ipv6_only, if *ipv6_only { "ipv6-only" } else { "both" }
    )]
    Families {
        /// Its name.
        name: String,
        /// What it takes.
        takes: &'static str,
        /// What its listener says, or leaves at that.
        ipv6_only: bool,
    },
    /// TPROXY brings nothing to it.
    #[error(
        "the socket handed over as `{name}` is not transparent, so TPROXY brings nothing to it; write Transparent=yes in its \
         socket unit"
    )]
    NotTransparent {
        /// Its name.
        name: String,
    },
    /// The kernel said no.
    #[error("cannot use the socket handed over as `{name}`")]
    Refused {
        /// Its name.
        name: String,
        /// What it said.
        source: io::Error,
    },
}

impl Handed {
    /// What the environment tells of, for this process alone. Later there is nothing to be told of any more.
    ///
    /// # Errors
    /// [`HandedError`] where it is not what a listener can use.
    pub fn from_environment() -> Result<Self, HandedError> {
        let mut given = ListenFd::from_env();
        let names = std::env::var(NAMES).ok();
        let names: Vec<_> = match &names {
            Some(names) if given.len() > 0 => names.split(':').collect(),
            _ => vec![UNNAMED; given.len()],
        };
        if names.len() != given.len() {
            return Err(HandedError::Names { sockets: given.len(), names: names.len() });
        }
        let take = |(index, name): (usize, &str)| {
            let not = |source| HandedError::NotListening { name: name.to_owned(), source };
            // From here on the descriptor is closed on exec, too.
            let socket = given.take_tcp_listener(index).map_err(|error| not(Some(error)))?.ok_or(not(None))?;
            let listens = SockRef::from(&socket).is_listener().unwrap_or_default();
            if listens { Ok((name.to_owned(), socket)) } else { Err(not(None)) }
        };
        Ok(Self { sockets: names.into_iter().enumerate().map(take).collect::<Result<_, _>>()? })
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Takes the sockets of a listener's name, dealt out to so many workers. `None` where there is none.
    pub(crate) fn take(&mut self, listener: &Listener, workers: usize) -> Result<Option<Row>, HandedError> {
        let (own, others) =
            std::mem::take(&mut self.sockets).into_iter().partition(|(name, _)| **name == *listener.name);
        self.sockets = others;
        let own: Vec<(String, TcpListener)> = own;
        if own.is_empty() && listener.handed_over {
            return Err(HandedError::Missing { listener: listener.name.to_string(), bind: listener.bind });
        }
        let sockets =
            own.into_iter().map(|(name, socket)| fits(name, socket, listener)).collect::<Result<Vec<_>, _>>()?;
        if sockets.is_empty() {
            return Ok(None);
        }
        let refused = |source| HandedError::Refused { name: listener.name.to_string(), source };
        deal(&sockets, workers).map(Some).map_err(refused)
    }

    /// That nothing is left which no listener has taken: clients of such a socket would wait for ever.
    pub(crate) fn all_taken(self, listeners: &[Listener]) -> Result<(), HandedError> {
        let Some((name, _)) = self.sockets.into_iter().next() else { return Ok(()) };
        let listeners: Vec<_> = listeners.iter().map(|listener| format!("`{}`", listener.name)).collect();
        Err(HandedError::Nobodys { name, listeners: listeners.join(", ") })
    }
}

/// A socket as its listener wants it, with the options that its connections inherit.
fn fits(name: String, socket: TcpListener, listener: &Listener) -> Result<TcpListener, HandedError> {
    let look = || -> io::Result<_> {
        let options = SockRef::from(&socket);
        prepare(&options)?;
        let at = socket.local_addr()?;
        let transparent = if at.is_ipv4() { options.ip_transparent_v4()? } else { options.ip_transparent_v6()? };
        let dual_stack = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !options.only_v6()?;
        Ok((at, transparent, dual_stack))
    };
    let (at, transparent, dual_stack) = match look() {
        Ok(seen) => seen,
        Err(source) => return Err(HandedError::Refused { name, source }),
    };
    let bind = listener.bind;
    if at.ip() != bind.ip() || ![at.port(), 0].contains(&bind.port()) {
        return Err(HandedError::Elsewhere { name, at, bind });
    }
    if dual_stack != listener.dual_stack {
        let takes = if dual_stack { "IPv4 as well" } else { "IPv6 only" };
        return Err(HandedError::Families { name, takes, ipv6_only: !listener.dual_stack });
    }
    if listener.destination == Destination::Tproxy && !transparent {
        return Err(HandedError::NotTransparent { name });
    }
    Ok(socket)
}

/// Every worker has a socket, and every socket a worker: one for each where there are as many, else some are shared, or
/// some workers have more.
fn deal(sockets: &[TcpListener], workers: usize) -> io::Result<Row> {
    let workers = workers.max(1);
    let mut row: Row = (0..workers).map(|_| Vec::new()).collect();
    for (turn, socket) in sockets.iter().cycle().take(workers.max(sockets.len())).enumerate() {
        if let Some(worker) = row.get_mut(turn % workers) {
            worker.push(socket.try_clone()?);
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests;
