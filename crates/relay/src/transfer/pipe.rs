//! Pipes to splice through, pooled for each worker.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::features::Features;

/// What a pipe should hold. The kernel gives an unprivileged user less once `fs.pipe-user-pages-soft` is used up.
const CAPACITY: usize = 1024 * 1024;
/// Pipes that wait for the next direction; more than that are closed.
const IDLE: usize = 8;

/// A pipe, nonblocking at both ends.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    /// A pipe, and what it holds: less than [`CAPACITY`] is slower and as right.
    fn new() -> io::Result<(Self, usize)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let holds = rustix::pipe::fcntl_setpipe_size(&write, CAPACITY);
        let holds = holds.or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        Ok((Self { read, write }, holds))
    }

    /// Moves bytes from `source` into the pipe; 0 is the end of the source's data.
    pub(super) fn fill_from(&self, source: impl AsFd) -> io::Result<usize> {
        splice(source, &self.write, CAPACITY)
    }

    /// Moves up to `length` bytes out of the pipe.
    pub(super) fn drain_into(&self, sink: impl AsFd, length: usize) -> io::Result<usize> {
        splice(&self.read, sink, length)
    }
}

fn splice(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    Ok(rustix::pipe::splice(from, None, to, None, length, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

/// Whether splicing itself is refused, by a kernel without it, a socket that cannot, or a filter of system calls: copying is
/// slower and as right.
pub(super) fn refused(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

/// Tries a pipe, and to splice into it from a socket that has nothing.
pub(crate) fn probe(features: &Features) {
    let made = Pipe::new();
    features.pipe_holds(made.as_ref().map_or(0, |(_, holds)| *holds));
    if let Ok((pipe, _)) = made
        && let Ok((socket, _peer)) = UnixStream::pair()
        && socket.set_nonblocking(true).is_ok()
        && pipe.fill_from(&socket).is_err_and(|error| refused(&error))
    {
        features.splice_refused();
    }
}

/// A worker's pipes: taken while bytes move, given back empty, and never more than `most` at a time, so that stalled
/// connections cannot use up the user's quota.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: RefCell<Vec<Pipe>>,
    taken: Rc<Cell<usize>>,
    most: Cell<usize>,
    features: Arc<Features>,
}

/// A pipe that is in use. Dropped with bytes in it, it is closed; empty, it can be given back.
#[derive(Debug)]
pub(super) struct Lease {
    pipe: Pipe,
    _taken: Taken,
}

#[derive(Debug)]
struct Taken(Rc<Cell<usize>>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl std::ops::Deref for Lease {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        &self.pipe
    }
}

impl Pipes {
    pub(super) fn new(most: usize, features: Arc<Features>) -> Self {
        let most = if features.splice() { most } else { 0 };
        Self { idle: RefCell::default(), taken: Rc::default(), most: Cell::new(most), features }
    }

    /// An empty pipe, if one is to be had.
    pub(super) fn take(&self) -> Option<Lease> {
        if self.taken.get() >= self.most.get() {
            return None;
        }
        let idle = self.idle.borrow_mut().pop();
        let pipe = idle.or_else(|| self.make())?;
        self.taken.set(self.taken.get() + 1);
        Some(Lease { pipe, _taken: Taken(Rc::clone(&self.taken)) })
    }

    fn make(&self) -> Option<Pipe> {
        let made = Pipe::new().ok();
        self.features.pipe_holds(made.as_ref().map_or(0, |(_, holds)| *holds));
        made.map(|(pipe, _)| pipe)
    }

    /// Takes back a pipe that is empty.
    pub(super) fn give_back(&self, lease: Lease) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE {
            idle.push(lease.pipe);
        }
    }

    /// Splicing does not work here: no pipe is given out any more.
    pub(super) fn disable(&self) {
        self.most.set(0);
        self.features.splice_refused();
    }

    /// Pipes that hold bytes or are about to.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }
}
