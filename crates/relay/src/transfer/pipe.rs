//! Pipes to splice through, pooled for each worker.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags};

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
    fn new() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe is slower and as right.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, CAPACITY);
        Ok(Self { read, write })
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

/// A worker's pipes: taken while bytes move, given back empty, and never more than `most` at a time, so that stalled
/// connections cannot use up the user's quota.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: RefCell<Vec<Pipe>>,
    taken: Rc<Cell<usize>>,
    most: Cell<usize>,
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
    pub(super) fn new(most: usize) -> Self {
        Self { idle: RefCell::default(), taken: Rc::default(), most: Cell::new(most) }
    }

    /// An empty pipe, if one is to be had.
    pub(super) fn take(&self) -> Option<Lease> {
        if self.taken.get() >= self.most.get() {
            return None;
        }
        let pipe = self.idle.borrow_mut().pop().or_else(|| Pipe::new().ok())?;
        self.taken.set(self.taken.get() + 1);
        Some(Lease { pipe, _taken: Taken(Rc::clone(&self.taken)) })
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
    }

    /// Pipes that hold bytes or are about to.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }
}
