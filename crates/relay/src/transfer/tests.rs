use std::os::fd::AsFd;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

use super::*;
use crate::outcome::Outcome;

mod ends;

/// A client and a server with a transfer between them.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    live: Rc<Live>,
    tools: Rc<Tools>,
    ended: JoinHandle<ClosedBy>,
}

async fn pair(first: &[u8]) -> Pair {
    pair_with(first, Rc::new(Tools::new(4, Arc::default()))).await
}

async fn pair_with(first: &[u8], tools: Rc<Tools>) -> Pair {
    pair_of(connected().await, connected().await, first, tools)
}

fn pair_of(
    (client, near): (TcpStream, TcpStream),
    (far, server): (TcpStream, TcpStream),
    first: &[u8],
    tools: Rc<Tools>,
) -> Pair {
    let live = Rc::new(Live::new(Outcome::new(1, 0, ([127, 0, 0, 1], 1).into())));
    live.relaying();
    let ended = spawn_local({
        let (first, live, tools) = (first.to_vec(), Rc::clone(&live), Rc::clone(&tools));
        async move {
            let mut transfer = Transfer::new(near, far, first, Vec::new(), &live, &tools);
            match poll_fn(|cx| transfer.poll(cx, &live, &tools)).await {
                Step::Ended(by) => by,
                Step::Deaf => transfer.watched(&live, &tools).await,
            }
        }
    });
    Pair { client, server, live, tools, ended }
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let (one, other) = (one.unwrap(), other.unwrap().0);
    // Small, so that a reader that stops is felt soon.
    for stream in [&one, &other] {
        SockRef::from(stream).set_recv_buffer_size(64 * 1024).unwrap();
    }
    (one, other)
}

/// Bytes in which every shift and every loss shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i ^ (i >> 8) ^ (i >> 16)) & 0xff).unwrap()).collect()
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { tokio::time::timeout(Duration::from_secs(60), test).await.unwrap() })
}

const BULK: usize = 20 * 1024 * 1024;

#[test]
fn the_first_bytes_go_first_and_an_end_is_passed_on_behind_everything() {
    run(async {
        let mut pair = pair(b"hello ").await;
        let sent = pattern(BULK);
        let (client, server) = (&mut pair.client, &mut pair.server);
        let upload = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let receive = async {
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(upload, receive);
        assert!(received.starts_with(b"hello "));
        assert!(received[6..] == sent[..]);
        assert!(!pair.ended.is_finished(), "the other direction goes on");

        // And now as much the other way, on the connection that is half closed.
        let (client, server) = (&mut pair.client, &mut pair.server);
        let download = async {
            server.write_all(&sent).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let receive = async {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(download, receive);
        assert!(received == sent);
        assert_eq!(pair.ended.await.unwrap(), ClosedBy::Client);
        assert_eq!(pair.live.bytes(), (BULK as u64 + 6, BULK as u64));
        assert_eq!(pair.tools.pipes.taken(), 0);
    });
}

#[test]
fn the_upstreams_end_reaches_the_client_first() {
    run(async {
        let mut pair = pair(b"").await;
        pair.server.write_all(b"bye").await.unwrap();
        pair.server.shutdown().await.unwrap();
        let mut received = Vec::new();
        pair.client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"bye");
        drop(pair.client);
        assert_eq!(pair.ended.await.unwrap(), ClosedBy::Upstream);
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    run(async {
        for from_client in [true, false] {
            let mut pair = pair(b"").await;
            pair.client.write_all(b"x").await.unwrap();
            pair.server.read_exact(&mut [0]).await.unwrap();
            let (breaks, other, expected) = if from_client {
                (pair.client, &mut pair.server, ClosedBy::ClientReset)
            } else {
                (pair.server, &mut pair.client, ClosedBy::UpstreamReset)
            };
            reset_on_close(&breaks);
            drop(breaks);
            let error = other.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(pair.ended.await.unwrap(), expected);
        }
    });
}

#[test]
fn a_reader_that_stops_stops_the_sender_and_loses_nothing() {
    run(async {
        let pair = pair(b"").await;
        let sent = pattern(BULK);
        let (mut client, mut server) = (pair.client, pair.server);
        let upload = spawn_local({
            let sent = sent.clone();
            async move {
                client.write_all(&sent).await.unwrap();
                client
            }
        });
        // Nobody reads: what the sender gets rid of is what the kernel's buffers and one pipe hold.
        let mut before = u64::MAX;
        while pair.live.bytes().0 != before {
            before = pair.live.bytes().0;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(before < BULK as u64 && !upload.is_finished());
        let mut received = vec![0; sent.len()];
        server.read_exact(&mut received).await.unwrap();
        assert!(received == sent);
        drop((upload.await.unwrap(), server));
        pair.ended.await.unwrap();
        assert_eq!(pair.tools.pipes.taken(), 0);
    });
}

#[test]
fn a_stalled_connection_that_breaks_gives_its_pipe_back() {
    run(async {
        let mut pair = pair(b"").await;
        let sent = pattern(BULK);
        let stalled = tokio::time::timeout(Duration::from_secs(1), pair.client.write_all(&sent)).await;
        assert!(stalled.is_err() && pair.tools.pipes.taken() == 1);
        pair.live.order_end(ClosedBy::Idle);
        assert_eq!(pair.ended.await.unwrap(), ClosedBy::Idle);
        assert_eq!(pair.tools.pipes.taken(), 0);
        let mut rest = Vec::new();
        assert_eq!(pair.server.read_to_end(&mut rest).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_connection_that_lasts_gets_keepalives() {
    run(async {
        let (far, server) = connected().await;
        let upstream = socket2::Socket::from(far.as_fd().try_clone_to_owned().unwrap());
        let pair = pair_of(connected().await, (far, server), b"", Rc::new(Tools::new(0, Arc::default())));
        yield_now().await;
        assert!(!upstream.keepalive().unwrap(), "no call for it where a connection may be short");
        pair.live.order_lasting();
        yield_now().await;
        assert!(upstream.keepalive().unwrap());
        assert_eq!(upstream.tcp_keepalive_time().unwrap(), Duration::from_secs(110));
    });
}

#[test]
fn one_that_is_not_a_transfer_yet_gets_them_too() {
    run(async {
        let (upstream, _server) = connected().await;
        let live = Live::new(Outcome::new(1, 0, ([192, 0, 2, 1], 1).into()));
        let kept = || SockRef::from(&upstream).keepalive().unwrap();
        let (waiting, later) = tokio::join!(
            tokio::time::timeout(
                Duration::from_secs(1),
                unless_ordered_while(&live, &upstream, std::future::pending::<()>())
            ),
            async {
                yield_now().await;
                assert!(!kept());
                live.order_lasting();
            }
        );
        assert!(waiting.is_err() && kept());
        let () = later;
    });
}

#[test]
fn an_idle_connection_owns_no_pipe() {
    run(async {
        let mut pair = pair(b"").await;
        let sent = pattern(1024 * 1024);
        for _ in 0..4 {
            let mut received = vec![0; sent.len()];
            let (written, read) = tokio::join!(pair.client.write_all(&sent), pair.server.read_exact(&mut received));
            written.unwrap();
            read.unwrap();
            assert!(received == sent);
            yield_now().await;
            assert_eq!(pair.tools.pipes.taken(), 0);
        }
    });
}

#[test]
fn without_pipes_everything_is_copied() {
    run(async {
        let mut pair = pair(b"").await;
        pair.tools.pipes.disable();
        let sent = pattern(1024 * 1024);
        let mut received = vec![0; sent.len()];
        let (written, read) = tokio::join!(pair.client.write_all(&sent), pair.server.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent);
    });
}

#[test]
fn a_goodbye_survives_bytes_that_nobody_read() {
    run(async {
        let (mut client, near) = connected().await;
        client.write_all(&pattern(100_000)).await.unwrap();
        let tools = Tools::new(0, Arc::default());
        let goodbye = say_goodbye(&near, b"no", Duration::from_secs(1), &tools);
        let reading = async {
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            client.shutdown().await.unwrap();
            received
        };
        let ((), received) = tokio::join!(goodbye, reading);
        assert_eq!(received, b"no");
    });
}
