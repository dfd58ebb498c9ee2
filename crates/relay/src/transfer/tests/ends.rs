//! Ends that come at a bad time, and connections that are in each other's way.

use super::*;

/// Sends until nobody takes more.
async fn stall(stream: &mut TcpStream) {
    let sent = pattern(BULK);
    let stalled = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&sent)).await;
    assert!(stalled.is_err());
}

/// Closes with a reset.
fn reset_now(stream: TcpStream) {
    reset_on_close(&stream);
    drop(stream);
}

async fn is_reset(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let error = stream.read_to_end(&mut rest).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

/// Well before any deadline of a tick.
async fn soon(ended: JoinHandle<ClosedBy>) -> ClosedBy {
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("it ends at once").unwrap()
}

#[test]
fn a_reset_behind_bytes_that_nobody_takes_is_passed_on_at_once() {
    run(async {
        let mut pair = pair(b"").await;
        stall(&mut pair.client).await;
        reset_now(pair.client);
        assert_eq!(soon(pair.ended).await, ClosedBy::ClientReset);
        is_reset(&mut pair.server).await;
        assert_eq!(pair.tools.pipes.taken(), 0);
    });
    run(async {
        let mut pair = pair(b"").await;
        stall(&mut pair.server).await;
        reset_now(pair.server);
        assert_eq!(soon(pair.ended).await, ClosedBy::UpstreamReset);
        is_reset(&mut pair.client).await;
    });
}

#[test]
fn a_reset_after_an_end_is_passed_on_at_once() {
    run(async {
        let mut pair = pair(b"").await;
        pair.client.shutdown().await.unwrap();
        assert_eq!(pair.server.read(&mut [0]).await.unwrap(), 0);
        reset_now(pair.server);
        is_reset(&mut pair.client).await;
        assert_eq!(soon(pair.ended).await, ClosedBy::Client, "it finished first");
    });
    // From the side that had finished, while the other is quiet.
    run(async {
        let mut pair = pair(b"").await;
        pair.client.shutdown().await.unwrap();
        assert_eq!(pair.server.read(&mut [0]).await.unwrap(), 0);
        reset_now(pair.client);
        assert_eq!(soon(pair.ended).await, ClosedBy::Client);
        // The kernel's word for a reset that comes after an end.
        assert_eq!(pair.server.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn an_end_behind_bytes_that_nobody_takes_waits_for_them() {
    run(async {
        let mut pair = pair(b"").await;
        let sent = pattern(2 * 1024 * 1024);
        let upload = async {
            pair.client.write_all(&sent).await.unwrap();
            pair.client.shutdown().await.unwrap();
        };
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut received = Vec::new();
            pair.server.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(upload, late);
        assert!(received == sent);
        drop(pair.server);
        assert_eq!(soon(pair.ended).await, ClosedBy::Client);
    });
}

#[test]
fn a_pipe_that_small_pieces_fill_before_it_is_full_of_bytes_does_not_look_dry() {
    run(async {
        let mut pair = pair(b"").await;
        pair.client.set_nodelay(true).unwrap();
        let sent = pattern(1024 * 1024);
        let (client, server) = (&mut pair.client, &mut pair.server);
        let upload = async {
            // Past the point from which bytes are spliced; then each piece is a packet, and takes a place of the pipe.
            let (first, rest) = sent.split_at(256 * 1024);
            client.write_all(first).await.unwrap();
            for piece in rest.chunks(37) {
                client.write_all(piece).await.unwrap();
            }
            client.shutdown().await.unwrap();
        };
        let late = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(upload, late);
        assert!(received == sent);
        drop(pair.server);
        assert_eq!(soon(pair.ended).await, ClosedBy::Client);
        assert_eq!(pair.tools.pipes.taken(), 0);
    });
}

#[test]
fn a_half_closed_connection_ends_when_it_is_told_to() {
    run(async {
        let mut pair = pair(b"").await;
        pair.server.shutdown().await.unwrap();
        assert_eq!(pair.client.read(&mut [0]).await.unwrap(), 0);
        assert!(pair.live.tick().unwrap().half_closed);
        pair.live.order_end(ClosedBy::HalfClosed);
        assert_eq!(soon(pair.ended).await, ClosedBy::HalfClosed);
        is_reset(&mut pair.server).await;
    });
}

#[test]
fn a_connection_that_finds_no_pipe_copies() {
    run(async {
        let tools = Rc::new(Tools::new(1, Arc::default()));
        let mut stalled = pair_with(b"", Rc::clone(&tools)).await;
        stall(&mut stalled.client).await;
        assert_eq!(tools.pipes.taken(), 1);

        let mut other = pair_with(b"", Rc::clone(&tools)).await;
        let sent = pattern(BULK);
        let mut received = vec![0; sent.len()];
        let (written, read) = tokio::join!(other.client.write_all(&sent), other.server.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent);

        // And takes it over in the middle of its own data once it is free.
        drop(stalled.server);
        soon(stalled.ended).await;
        assert_eq!(tools.pipes.taken(), 0);
        let (written, read) = tokio::join!(other.client.write_all(&sent), other.server.read_exact(&mut received));
        written.unwrap();
        read.unwrap();
        assert!(received == sent);
    });
}

#[test]
fn bulk_leaves_the_thread_to_others_between_its_turns() {
    // The ends of the bulk connection are threads of their own, so that it never has to wait for this one.
    use std::io::{Read as _, Write as _};
    run(async {
        let bulk = pair(b"").await;
        let mut small = pair(b"").await;
        let blocking = |stream: TcpStream| {
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream
        };
        let (mut from, mut to) = (blocking(bulk.client), blocking(bulk.server));
        let sender = std::thread::spawn(move || {
            let chunk = vec![7; 1024 * 1024];
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_secs(1) {
                from.write_all(&chunk).unwrap();
            }
        });
        let receiver = std::thread::spawn(move || {
            let mut chunk = vec![0; 1024 * 1024];
            while to.read(&mut chunk).unwrap() > 0 {}
        });
        let mut exchanges = 0;
        while !sender.is_finished() {
            small.client.write_all(b"?").await.unwrap();
            small.server.read_exact(&mut [0]).await.unwrap();
            small.server.write_all(b"!").await.unwrap();
            small.client.read_exact(&mut [0]).await.unwrap();
            exchanges += 1;
        }
        assert_eq!(bulk.ended.await.unwrap(), ClosedBy::Client);
        sender.join().unwrap();
        receiver.join().unwrap();
        let carried = bulk.live.bytes().0;
        assert!(carried > 20 << 20 && exchanges > 50, "{exchanges} exchanges beside {carried} bytes");
    });
}
