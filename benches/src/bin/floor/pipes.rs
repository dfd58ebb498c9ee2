//! Pipes to splice through.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe should hold, and the most that is moved by one call.
const CAPACITY: usize = 1024 * 1024;

/// A pipe, nonblocking.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A new one. Where the kernel gives no more large ones, it is a small one.
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self { read, write })
    }

    /// From a socket into the pipe, which must be empty, so that `None` says that there is nothing to read.
    pub(crate) fn fill(&self, source: &OwnedFd) -> io::Result<Option<usize>> {
        moved(splice(source, None, &self.write, None, CAPACITY, FLAGS))
    }

    /// From the pipe into a socket.
    pub(crate) fn drain(&self, sink: &OwnedFd, most: usize) -> io::Result<Option<usize>> {
        moved(splice(&self.read, None, sink, None, most, FLAGS))
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

fn moved(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
