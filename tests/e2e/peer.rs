//! Clients and a server of our own, for what real programs cannot be made to do: thousands of connections at once, ends
//! and resets at a chosen byte, readers that stop.
//!
//! The gate relays whatever follows the hello, so after a true ClientHello these speak a language of one byte: what the
//! server is to do with this connection.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use lab::gate::{Options, UPSTREAM};
use lab::netns::Netns;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A host that one rule, `relay`, lists, and an address that a client dials for it.
pub(crate) const HOST: &str = "relay.example";
pub(crate) const TO: &str = "198.18.1.7:443";

/// A gate that lets [`HOST`] through, with more lines of its configuration.
pub(crate) fn options(settings: &str) -> Options {
    let mut options =
        Options::policy(&format!("version: 1\nrules:\n  - name: relay\n    {UPSTREAM}\n    hosts: [{HOST}]\n"));
    settings.clone_into(&mut options.settings);
    options
}

/// What the server does with a connection after its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Sends back whatever comes, until the client's end; then ends too.
    Echo,
    /// Reads to the client's end and remembers its digest; sends so many bytes of [`pattern`] meanwhile, then ends.
    Exchange(u64),
    /// As [`Task::Exchange`], but begins to send only when the client has ended.
    Answer(u64),
    /// Reads nothing for so many milliseconds, then as [`Task::Exchange`] of nothing.
    Stall(u64),
    /// Asks for a second hello.
    Retry,
    /// Resets the connection.
    Reset,
}

impl Task {
    /// As it goes on the wire, behind the hello.
    pub(crate) fn bytes(self) -> [u8; 9] {
        let (code, number) = match self {
            Self::Echo => (b'E', 0),
            Self::Exchange(bytes) => (b'X', bytes),
            Self::Answer(bytes) => (b'A', bytes),
            Self::Stall(millis) => (b'S', millis),
            Self::Retry => (b'H', 0),
            Self::Reset => (b'R', 0),
        };
        let mut all = [code; 9];
        all[1..].copy_from_slice(&number.to_be_bytes());
        all
    }

    fn read(bytes: [u8; 9]) -> Result<Self> {
        let [code, number @ ..] = bytes;
        let number = u64::from_be_bytes(number);
        Ok(match code {
            b'E' => Self::Echo,
            b'X' => Self::Exchange(number),
            b'A' => Self::Answer(number),
            b'S' => Self::Stall(number),
            b'H' => Self::Retry,
            b'R' => Self::Reset,
            other => bail!("no task: {other}"),
        })
    }
}

/// What the server saw of one connection that it read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes after the hello and the task.
    pub(crate) bytes: u64,
    /// Their SHA-256.
    pub(crate) digest: [u8; 32],
}

/// A server on port 443 of every address on the servers' side; stopped on drop.
#[derive(Debug)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    resets: AtomicU64,
    received: Mutex<Vec<Received>>,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// Fails when port 443 is taken on the servers' side.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        raise_descriptors()?;
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, bound) = std::sync::mpsc::channel();
        let inner = Arc::clone(&shared);
        let thread = lab.servers.spawn(move || -> Result<()> {
            runtime()?.block_on(async {
                let socket = tokio::net::TcpSocket::new_v6()?;
                socket.set_reuseaddr(true)?;
                socket.bind("[::]:443".parse()?)?;
                let listener = socket.listen(8192).context("port 443 of the servers is taken");
                let _ = ready.send(listener.is_ok());
                tokio::select! {
                    end = accept(listener?, inner) => end,
                    _ = stopped => Ok(()),
                }
            })
        });
        ensure!(bound.recv_timeout(Duration::from_secs(10)).unwrap_or(false), "the server cannot listen on port 443");
        let thread =
            std::thread::spawn(move || thread.join().map_err(|_| anyhow::anyhow!("the server panicked"))??);
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that ended by the other side's reset.
    pub(crate) fn resets(&self) -> u64 {
        self.shared.resets.load(Ordering::Relaxed)
    }

    /// What was read to its end so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received().clone()
    }
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            if let Err(error) = attend(stream, &shared).await
                && error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
            {
                shared.resets.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

async fn attend(mut stream: TcpStream, shared: &Shared) -> Result<()> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut hello).await?;
    let mut task = [0; 9];
    stream.read_exact(&mut task).await?;
    match Task::read(task)? {
        Task::Echo => {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
            write.shutdown().await?;
        }
        Task::Exchange(bytes) => {
            let (mut read, mut write) = stream.split();
            let (received, ()) = tokio::try_join!(digest(&mut read), send(&mut write, bytes))?;
            shared.received().push(received);
        }
        Task::Answer(bytes) => {
            let (mut read, mut write) = stream.split();
            let received = digest(&mut read).await?;
            shared.received().push(received);
            send(&mut write, bytes).await?;
        }
        Task::Stall(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            let (mut read, mut write) = stream.split();
            let received = digest(&mut read).await?;
            shared.received().push(received);
            write.shutdown().await?;
        }
        Task::Retry => {
            stream.write_all(&hello_retry()).await?;
            digest(&mut stream).await?;
        }
        Task::Reset => reset(stream)?,
    }
    Ok(())
}

/// Sends so many bytes of the pattern, then the end.
///
/// # Errors
/// Fails when the connection breaks.
pub(crate) async fn send(write: &mut (impl AsyncWriteExt + Unpin), bytes: u64) -> Result<()> {
    let mut block = Vec::with_capacity(64 * 1024);
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(64 * 1024);
        block.clear();
        block.extend((at..at + length).map(pattern));
        write.write_all(&block).await?;
        at += length;
    }
    write.shutdown().await?;
    Ok(())
}

/// Reads to the end.
///
/// # Errors
/// Fails when the connection breaks.
pub(crate) async fn digest(read: &mut (impl AsyncReadExt + Unpin)) -> Result<Received> {
    let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 64 * 1024]);
    loop {
        match read.read(&mut block).await? {
            0 => return Ok(Received { bytes, digest: hash.finalize().into() }),
            count => {
                hash.update(&block[..count]);
                bytes += u64::try_from(count)?;
            }
        }
    }
}

/// The byte at a place of what is sent: every shift and every loss shows in the digest.
fn pattern(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ (at >> 24)).to_le_bytes()[0]
}

/// What [`digest`] says of so many bytes of the pattern.
pub(crate) fn expected(bytes: u64) -> Received {
    let mut hash = Sha256::new();
    let block: Vec<u8> = (0..bytes).map(pattern).collect();
    hash.update(&block);
    Received { bytes, digest: hash.finalize().into() }
}

/// Closes with a reset.
///
/// # Errors
/// Fails when the socket is none.
pub(crate) fn reset(stream: TcpStream) -> Result<()> {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// A ClientHello for `host`: a true one, as short as they come. It offers no TLS 1.3, so no second hello can follow, and
/// what stands behind it need be no TLS.
pub(crate) fn hello(host: &str) -> Vec<u8> {
    hello_of(host, 3, &[])
}

/// The same with an ECH extension, whatever is in it.
pub(crate) fn hello_with_ech(host: &str) -> Vec<u8> {
    hello_of(host, 3, &[&[0xfe, 0x0d][..], &vector(2, &[0x5a; 40])].concat())
}

/// The same with TLS 1.3: a second hello may follow.
pub(crate) fn hello13(host: &str) -> Vec<u8> {
    hello_of(host, 4, &[])
}

fn hello_of(host: &str, minor: u8, more: &[u8]) -> Vec<u8> {
    hello_offering(host, &[0x0300 + u16::from(minor)], more)
}

/// The same with these versions, in this order.
pub(crate) fn hello_offering(host: &str, versions: &[u16], more: &[u8]) -> Vec<u8> {
    let name = [&[0][..], &vector(2, host.as_bytes())].concat();
    let sni = [&[0, 0][..], &vector(2, &vector(2, &name))].concat();
    let versions: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
    let versions = [&[0, 43][..], &vector(2, &vector(1, &versions))].concat();
    let extensions = vector(2, &[&sni[..], &versions, more].concat());
    let body = [&[3, 3][..], &[7; 32], &[0], &vector(2, &[0x13, 1]), &[1, 0], &extensions];
    handshake(1, &body.concat())
}

/// A server's HelloRetryRequest: the random is SHA-256 of that word (RFC 8446 §4.1.3).
pub(crate) fn hello_retry() -> Vec<u8> {
    let random = Sha256::digest(b"HelloRetryRequest");
    let extensions = [0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 24];
    handshake(2, &[&[3, 3][..], &random, &[0, 0x13, 1, 0], &vector(2, &extensions)].concat())
}

/// A message in one record.
fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[0x16, 3, 1][..], &vector(2, &message(kind, body))].concat()
}

/// A handshake message (RFC 8446 §4).
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector(3, body)].concat()
}

/// What stands behind its own length of so many bytes.
pub(crate) fn vector(length_bytes: usize, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u64).to_be_bytes();
    [&length[8 - length_bytes..], body].concat()
}

/// Dials `to`, says hello for `host`, and gives the server its task.
///
/// # Errors
/// Fails when the connection does.
pub(crate) async fn open(to: SocketAddr, host: &str, task: Task) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(&[hello(host), task.bytes().to_vec()].concat()).await?;
    Ok(stream)
}

/// One whole use of an echo: open, send, read it back, end, read the end.
///
/// # Errors
/// Fails when anything but that happens.
pub(crate) async fn echo_once(to: SocketAddr, host: &str, text: &[u8]) -> Result<()> {
    let mut stream = open(to, host, Task::Echo).await.context("cannot open")?;
    ping(&mut stream, text).await?;
    stream.shutdown().await?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.context("no clean end")?;
    ensure!(rest.is_empty(), "more came back than was sent");
    Ok(())
}

/// Sends `text` to an echo and reads it back.
///
/// # Errors
/// Fails when it does not come back.
pub(crate) async fn ping(stream: &mut TcpStream, text: &[u8]) -> Result<()> {
    stream.write_all(text).await.context("cannot send")?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await.context("nothing came back")?;
    ensure!(back == text, "something else came back");
    Ok(())
}

/// Runs clients inside a namespace, on one thread of their own, for at most `limit`.
///
/// # Errors
/// Fails when they do, or when they take longer.
pub(crate) fn clients<F>(ns: &Netns, limit: Duration, work: impl FnOnce() -> F + Send) -> Result<F::Output>
where
    F: Future,
    F::Output: Send,
{
    raise_descriptors()?;
    ns.enter(|| -> Result<F::Output> {
        runtime()?.block_on(async { tokio::time::timeout(limit, work()).await }).context("the clients took too long")
    })?
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Both ends of thousands of connections are in this process.
fn raise_descriptors() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .context("cannot raise the limit on open files")?;
    }
    Ok(())
}
