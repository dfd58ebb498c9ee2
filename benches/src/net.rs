//! Sockets, with as few system calls as they can have.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
/// Connections that may wait to be accepted; the kernel's `somaxconn` may say less.
const BACKLOG: i32 = 8192;
/// After an `accept` for which nothing was left.
const PAUSE: Duration = Duration::from_millis(10);

/// Listening sockets on one address, so many that share it. Where the port is 0, the kernel chooses one for all.
pub fn listen(address: SocketAddr, how_many: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut address = address;
    let mut sockets = Vec::with_capacity(how_many);
    for _ in 0..how_many {
        let socket = tcp(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
        address = SocketAddr::try_from(net::getsockname(&socket)?)?;
        sockets.push(socket);
    }
    Ok((address, sockets))
}

/// The next connection, if one is waiting.
///
/// # Errors
/// Only for what concerns the listener. A connection that died while it waited is passed over; where descriptors or
/// memory are used up this says so, and pauses rather than spin.
pub fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    match net::accept_with(listener, FLAGS) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => Ok(None),
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
            eprintln!("cannot accept: {error}");
            thread::sleep(PAUSE);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Lets this process have as many descriptors as it may, up to what thousands of connections need.
pub fn raise_descriptor_limit() {
    const ENOUGH: u64 = 20_000;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let may = maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if current.is_some_and(|current| current < may) {
        // Where this fails, there are as many as there were.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(may), maximum });
    }
}

/// Runs one thread for each of `parts`, until one of them fails.
///
/// # Errors
/// That failure.
pub fn run_threads<T: Send + 'static>(parts: Vec<T>, run: fn(T) -> io::Result<()>) -> io::Result<()> {
    let (sender, ended) = mpsc::channel();
    for part in parts {
        let sender = sender.clone();
        thread::spawn(move || sender.send(run(part)));
    }
    drop(sender);
    ended.iter().find(Result::is_err).unwrap_or(Ok(()))
}

/// A connection that may not be there yet: until then, sending would block.
pub fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = tcp(address)?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Sends what the socket takes; `None` when it takes nothing now.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    unless_later(net::send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Receives what there is, 0 at the end; `None` when there is nothing now.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    unless_later(net::recv(socket, buffer, RecvFlags::empty()).map(|(read, _)| read))
}

/// As [`receive`], but the bytes are counted and thrown away by the kernel, up to the buffer's length.
pub fn discard(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    unless_later(net::recv(socket, buffer, RecvFlags::TRUNC).map(|(_, count)| count))
}

fn unless_later(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the close of this socket a reset.
pub fn reset_on_close(socket: &OwnedFd) {
    // Where this fails the socket is as good as gone.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(net::socket_with(family, SocketType::STREAM, FLAGS, None)?)
}
