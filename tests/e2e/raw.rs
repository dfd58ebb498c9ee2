//! A client that sends chosen bytes, and tells exactly what came back and how the connection ended.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::netns::Netns;
use socket2::{Domain, SockRef, Socket, Type};

/// How long a client waits for the end of its connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection ended, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By the end of data.
    Finished,
    /// By a reset.
    Reset,
    /// It had not when the client's patience ended.
    Open,
}

/// What a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Everything that it received.
    pub(crate) bytes: Vec<u8>,
    /// How it ended.
    pub(crate) end: End,
    /// How long after it was connected.
    pub(crate) after: Duration,
}

/// Connects, lets `talk` send what it likes, and reads to the end. A gate that ends the connection while `talk` still
/// sends is no failure.
///
/// # Errors
/// Fails when the connection cannot be made, or breaks otherwise than by a reset.
pub(crate) fn converse(
    ns: &Netns,
    to: SocketAddr,
    talk: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send,
) -> Result<Seen> {
    converse_from(ns, None, to, talk)
}

/// The same from one of the namespace's addresses, if it matters which.
///
/// # Errors
/// As of [`converse`].
pub(crate) fn converse_from(
    ns: &Netns,
    from: Option<IpAddr>,
    to: SocketAddr,
    talk: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send,
) -> Result<Seen> {
    let begun = Instant::now();
    match connect(ns, from, to) {
        Ok(stream) => converse_on(stream, talk),
        // Accepted and reset before this side saw the first. (A port that nobody listens on refuses.)
        Err(error) if is_reset(&error) => Ok(Seen { bytes: Vec::new(), end: End::Reset, after: begun.elapsed() }),
        Err(error) => Err(error),
    }
}

fn is_reset(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// The same on a connection that is there already.
///
/// # Errors
/// Fails when it breaks otherwise than by a reset.
pub(crate) fn converse_on(mut stream: TcpStream, talk: impl FnOnce(&mut TcpStream) -> io::Result<()>) -> Result<Seen> {
    let begun = Instant::now();
    let told = ending(talk(&mut stream))?;
    let mut bytes = Vec::new();
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut block = [0; 4096];
    let end = loop {
        match stream.read(&mut block) {
            // The kernel tells of a reset once: whoever writes into it has been told.
            Ok(0) => break told.unwrap_or(End::Finished),
            Ok(count) => bytes.extend_from_slice(&block[..count]),
            Err(error) => break ending(Err(error))?.unwrap_or(End::Open),
        }
    };
    Ok(Seen { bytes, end, after: begun.elapsed() })
}

fn ending(result: io::Result<()>) -> Result<Option<End>> {
    match result {
        Ok(()) => Ok(None),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(Some(End::Reset)),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(Some(End::Open)),
            _ => Err(error).context("the client's connection broke"),
        },
    }
}

/// Connects, from one of the namespace's addresses if it matters which.
///
/// # Errors
/// Fails when the connection cannot be made.
pub(crate) fn connect(ns: &Netns, from: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream> {
    let connected = ns.enter(|| -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(stream)
    })?;
    connected.with_context(|| format!("cannot connect to {to}"))
}

/// Closes with a reset.
///
/// # Errors
/// Fails when the socket is none.
pub(crate) fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}
