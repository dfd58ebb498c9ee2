//! Reads from a client until its `ClientHello` is whole, and loses none of the bytes.

use std::future::poll_fn;
use std::io;

use sekisho_peek::tls::{ClientHello, Inspector, Progress, Refusal};
use tokio::net::TcpStream;

use crate::transfer::{Tools, drained};

/// A hello and everything that was read with it: what goes upstream first, unchanged.
#[derive(Debug)]
pub(crate) struct Sniffed {
    /// What the client asks for.
    pub(crate) hello: ClientHello,
    /// Every byte that the client has sent so far.
    pub(crate) bytes: Vec<u8>,
}

/// Why there is no hello.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The bytes are no acceptable hello.
    Refused(Refusal),
    /// The client finished before its hello was whole.
    Closed,
    /// The client's connection broke.
    Broken,
}

/// Reads the hello. Bound it in time from outside; dropping the future loses only what a connection that is closed
/// anyway had sent.
pub(crate) async fn sniff(
    stream: &TcpStream,
    limits: &sekisho_peek::tls::Limits,
    tools: &Tools,
) -> Result<Sniffed, Unread> {
    let mut inspector = Inspector::new(*limits);
    let mut bytes = Vec::new();
    loop {
        poll_fn(|cx| stream.poll_read_ready(cx)).await.map_err(|_| Unread::Broken)?;
        let mut scratch = tools.scratch.borrow_mut();
        // One byte over the cap is enough to know that it is passed.
        let room = scratch.len().min((limits.raw + 1).saturating_sub(bytes.len()).max(1));
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
        // Every time, although it may need more than there is: a hello that is already wrong waits for nothing.
        if let Progress::Done(hello) = inspector.inspect(&bytes).map_err(Unread::Refused)? {
            return Ok(Sniffed { hello, bytes });
        }
    }
}
