//! A client's side of an opening: what it has sent and nobody has taken yet, and how long it may still take to say what
//! it wants.
//!
//! One budget bounds the sum of the time spent waiting for it, however many things it has to say; while the gate itself
//! resolves and dials, that clock stands still.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::reason::Reason;
use crate::stop::Stop;
use crate::transfer::{Tools, drained};

/// What a client sends while its connection opens. No byte is lost: what one stage has not taken the next one finds.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    left: Duration,
}

/// What is being waited for, in the words of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    /// The most bytes that it can have.
    pub(crate) most: usize,
    pub(crate) closed: &'static str,
    pub(crate) broken: &'static str,
    pub(crate) late: &'static str,
}

impl Awaited {
    /// Anything at all, from a client that may ask again.
    pub(crate) const NEXT: Self = Self {
        most: sekisho_peek::http::MAX_HEAD,
        closed: "closed before another request",
        broken: "reset before another request",
        late: "no other request",
    };
}

/// Why reading ended without finding anything.
enum Unread {
    Closed,
    Broken,
    Stopped(Stop),
}

impl Reader {
    /// Nothing read, and so much patience in all.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { bytes: Vec::new(), left: patience }
    }

    /// What was read and not taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes the first `count` bytes away.
    pub(crate) fn skip(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }

    /// Takes all that was read.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Patience as at first: the client may begin anew.
    pub(crate) fn renew(&mut self, patience: Duration) {
        self.left = patience;
    }

    /// Waits for something else of the client's, such as that it takes an answer, on the same patience. `None` when that is
    /// used up.
    pub(crate) async fn patiently<F: Future>(&mut self, waiting: F) -> Option<F::Output> {
        patiently(&mut self.left, waiting).await
    }

    /// Reads until `look`, which is shown everything that is here after every read, has found something or refused it.
    ///
    /// Not cancellation safe in the sense that matters nowhere here: dropped, it loses nothing of what it has read.
    pub(crate) async fn until<T>(
        &mut self,
        stream: &TcpStream,
        tools: &Tools,
        awaited: &Awaited,
        mut look: impl FnMut(&[u8]) -> Result<Option<T>, Stop>,
    ) -> Result<T, Stop> {
        if !self.bytes.is_empty()
            && let Some(found) = look(&self.bytes)?
        {
            return Ok(found);
        }
        let reading = read_until(&mut self.bytes, stream, tools, awaited.most, look);
        let read = patiently(&mut self.left, reading).await;
        match read {
            Some(Ok(found)) => Ok(found),
            Some(Err(Unread::Stopped(stop))) => Err(stop),
            Some(Err(Unread::Closed)) => Err(Stop::new(Reason::ClientClosed, awaited.closed)),
            Some(Err(Unread::Broken)) => Err(Stop::new(Reason::ClientClosed, awaited.broken)),
            None => Err(Stop::new(Reason::HelloTimeout, awaited.late)),
        }
    }
}

async fn patiently<F: Future>(left: &mut Duration, waiting: F) -> Option<F::Output> {
    let begun = Instant::now();
    let waited = timeout_at((begun + *left).into(), waiting).await;
    *left = left.saturating_sub(begun.elapsed());
    waited.ok()
}

async fn read_until<T>(
    bytes: &mut Vec<u8>,
    stream: &TcpStream,
    tools: &Tools,
    most: usize,
    mut look: impl FnMut(&[u8]) -> Result<Option<T>, Stop>,
) -> Result<T, Unread> {
    loop {
        stream.readable().await.map_err(|_| Unread::Broken)?;
        let mut scratch = tools.scratch.borrow_mut();
        // One byte over the cap is enough to know that it is passed.
        let room = scratch.len().min((most + 1).saturating_sub(bytes.len()).max(1));
        let read = match stream.try_read(scratch.get_mut(..room).unwrap_or_default()) {
            Ok(0) => return Err(Unread::Closed),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => continue,
            Err(_) => return Err(Unread::Broken),
        };
        bytes.extend_from_slice(scratch.get(..read).unwrap_or_default());
        drop(scratch);
        if read < room {
            drained(stream);
        }
        // Every time, although it may need more than there is: what is already wrong waits for nothing.
        if let Some(found) = look(bytes).map_err(Unread::Stopped)? {
            return Ok(found);
        }
    }
}
