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
    /// Bytes in it. With none, it can be given back; with some, it is closed when it is dropped.
    pub(super) length: usize,
    /// There while it is taken.
    lease: Option<Rc<()>>,
}

impl Pipe {
    /// A pipe, and what it holds: less than [`CAPACITY`] is slower and as right.
    fn new() -> io::Result<(Self, usize)> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let holds = rustix::pipe::fcntl_setpipe_size(&write, CAPACITY);
        let holds = holds.or_else(|_| rustix::pipe::fcntl_getpipe_size(&write))?;
        Ok((Self { read, write, length: 0, lease: None }, holds))
    }

    /// Moves bytes from `source` into the pipe; 0 is the end of the source's data.
    pub(super) fn fill_from(&self, source: impl AsFd) -> io::Result<usize> {
        splice(source, &self.write, CAPACITY)
    }

    /// Moves bytes out of the pipe, as many as the sink takes.
    pub(super) fn drain_into(&self, sink: impl AsFd) -> io::Result<usize> {
        splice(&self.read, sink, self.length)
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
    /// Boxed once, as who holds one keeps them: a connection has no room for what few need.
    #[expect(clippy::vec_box, reason = "they come from boxes and go into boxes")]
    idle: RefCell<Vec<Box<Pipe>>>,
    /// Each pipe that is taken has a clone of it.
    lease: Rc<()>,
    most: Cell<usize>,
    features: Arc<Features>,
}

impl Pipes {
    pub(super) fn new(most: usize, features: Arc<Features>) -> Self {
        let most = if features.splice() { most } else { 0 };
        Self { idle: RefCell::default(), lease: Rc::default(), most: Cell::new(most), features }
    }

    /// An empty pipe, if one is to be had.
    pub(super) fn take(&self) -> Option<Box<Pipe>> {
        if self.taken() >= self.most.get() {
            return None;
        }
        let idle = self.idle.borrow_mut().pop();
        let mut pipe = idle.or_else(|| self.make().map(Box::new))?;
        pipe.lease = Some(Rc::clone(&self.lease));
        Some(pipe)
    }

    fn make(&self) -> Option<Pipe> {
        let made = Pipe::new().ok();
        self.features.pipe_holds(made.as_ref().map_or(0, |(_, holds)| *holds));
        made.map(|(pipe, _)| pipe)
    }

    /// Takes back a pipe that is empty.
    pub(super) fn give_back(&self, mut pipe: Box<Pipe>) {
        pipe.lease = None;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE {
            idle.push(pipe);
        }
    }

    /// Splicing does not work here: no pipe is given out any more.
    pub(super) fn disable(&self) {
        self.most.set(0);
        self.features.splice_refused();
    }

    /// Pipes that hold bytes or are about to.
    pub(super) fn taken(&self) -> usize {
        Rc::strong_count(&self.lease) - 1
    }
}
