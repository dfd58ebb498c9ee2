//! The other ways: CONNECT before the hello, and HTTP in place of it.

use std::io::Write;
use std::net::SocketAddr;

use crate::peer;
use crate::program::{LARGE, Run, SMALL, Server, Started, load, load_well};

/// Bytes of a request for a tunnel, of a GET, and of the head of an answer without its length's digits; a name has 37.
const CONNECT: u64 = "CONNECT :443 HTTP/1.1\r\nHost: :443\r\nUser-Agent: load\r\n\r\n".len() as u64 + 2 * 37;
const GET: u64 = "GET // HTTP/1.1\r\nHost: \r\nUser-Agent: load\r\nAccept: */*\r\nConnection: close\r\n\r\n".len()
    as u64
    + 32
    + 16
    + 37;
const ANSWER: u64 =
    "HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Length: \r\nConnection: close\r\n\r\n".len()
        as u64;

const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nVia: 1.1 some.proxy\r\n\r\n";

fn digits(length: u64) -> u64 {
    length.to_string().len() as u64
}

/// The server, and the same behind each kind of floor.
fn each_way(test: impl Fn(SocketAddr)) {
    let origin = Server::origin();
    test(origin.address);
    for via in ["copy", "splice"] {
        test(Server::floor(via, origin.address).address);
    }
}

#[test]
fn a_get_is_answered_to_the_byte() {
    each_way(|to| {
        for answer in [1, 64, 100_000] {
            let words = format!("--way http --work new --answer {answer} --count 101 --concurrency 7 --threads 2");
            let figures = load_well(to, &words);
            assert_eq!((figures.connections, figures.requests), (101, 101));
            let down = answer + ANSWER + digits(answer);
            assert_eq!((figures.bytes_up, figures.bytes_down), (101 * GET, 101 * down));
            assert!(figures.latency_us.p50 > 0.0);
        }
    });
}

#[test]
fn bulk_comes_over_http() {
    each_way(|to| {
        let figures = load_well(to, "--way http --work bulk-down --bytes 9000001 --concurrency 3");
        assert_eq!((figures.bytes_up, figures.bytes_down), (3 * GET, 3 * (9_000_001 + ANSWER + 7)));
    });
}

#[test]
fn a_tunnel_carries_every_work_to_the_byte() {
    let origin = Server::origin();
    let to = peer::proxy(origin.address, ESTABLISHED);
    let head = ESTABLISHED.len() as u64;
    let figures = load_well(to, "--way connect --work new --count 51 --concurrency 7 --threads 2");
    assert_eq!((figures.connections, figures.requests), (51, 51));
    assert_eq!((figures.bytes_up, figures.bytes_down), (51 * (CONNECT + LARGE), 51 * (head + 64)));
    let figures = load_well(to, "--way connect --work bulk-down --hello small --bytes 9000001 --concurrency 2");
    assert_eq!((figures.bytes_up, figures.bytes_down), (2 * (CONNECT + SMALL), 2 * (head + 9_000_001)));
    let figures = load_well(to, "--way connect --work bulk-up --bytes 9000001 --concurrency 2");
    assert_eq!((figures.bytes_up, figures.bytes_down), (2 * (CONNECT + LARGE + 9_000_001), 2 * (head + 2)));
    let figures = load_well(to, "--way connect --work round-trips --rounds 20 --concurrency 2");
    assert_eq!((figures.bytes_up, figures.bytes_down), (2 * (CONNECT + LARGE + 2000), 2 * (head + 2100)));
}

#[test]
fn idle_tunnels_wait_for_a_line() {
    let origin = Server::origin();
    let to = peer::proxy(origin.address, ESTABLISHED);
    let mut load = Started::new(to, "--way connect --work idle --concurrency 20 --threads 2");
    assert_eq!(load.line(), "ready\n");
    load.say_go();
    let run = load.end();
    assert_eq!((run.figures.connections, run.figures.failed), (20, 0), "{:?}", run.figures);
    assert_eq!(run.figures.bytes_down, 20 * (ESTABLISHED.len() as u64 + 1));
}

/// Where each connection is answered so, once a head of HTTP has come.
fn answering(answer: &'static str) -> SocketAddr {
    peer::serve(move |mut stream| {
        peer::read_head(&mut stream);
        stream.write_all(answer.as_bytes()).unwrap();
        peer::read_slowly(&mut stream);
    })
}

fn all_failed(run: &Run, why: &str) {
    let figures = &run.figures;
    assert_eq!((figures.connections, figures.requests, figures.refused), (5, 0, 0), "{figures:?}");
    assert_eq!(figures.errors.get(why), Some(&5), "{figures:?}");
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn a_403_is_a_refusal() {
    let to = answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n");
    for way in ["http", "connect"] {
        for (work, exit) in [("refused", 0), ("new", 1)] {
            let run = load(to, &format!("--way {way} --work {work} --count 5"));
            assert_eq!((run.figures.refused, run.figures.failed), (5, 0), "{:?}", run.figures);
            assert_eq!(run.status.code(), Some(exit), "{way} {work}");
        }
    }
}

#[test]
fn what_is_not_the_answer_is_a_failure() {
    let why = "another status than 200";
    for answer in ["HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", "SSH-2.0 200 OK\r\n\r\n"] {
        for way in ["http", "connect"] {
            all_failed(&load(answering(answer), &format!("--way {way} --work new --count 5")), why);
        }
    }
    let early = "HTTP/1.1 200 OK\r\n\r\nearly";
    all_failed(&load(answering(early), "--way connect --work new --count 5"), "bytes before the hello");
    for length in ["Content-Length: 65", "Content-Length: 63", "Content-Length: many", "Other: 64"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{length}\r\n\r\n").leak();
        all_failed(&load(answering(answer), "--way http --work new --count 5"), "another length than was asked for");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nFiller: {}\r\n\r\n", "a".repeat(2000)).leak();
    all_failed(&load(answering(endless), "--way http --work new --count 5"), "a head without an end");
}

#[test]
fn an_end_in_the_head_or_in_the_answer_is_a_failure() {
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 64\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n"] {
        let to = peer::serve(move |mut stream| {
            peer::read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        all_failed(&load(to, "--way http --work new --count 5"), "closed early");
    }
}

#[test]
fn one_wrong_byte_or_one_too_many_behind_a_head_is_a_failure() {
    let origin = Server::origin();
    let behind = usize::try_from(ANSWER + digits(64)).unwrap();
    for at in [behind, behind + 63] {
        let to = peer::spoil(origin.address, false, at);
        all_failed(&load(to, "--way http --work new --count 5"), "other bytes than were sent");
    }
    let to = peer::serve(|mut stream| {
        peer::read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n").unwrap();
        stream.write_all(&peer::pattern(65)).unwrap();
        peer::read_slowly(&mut stream);
    });
    all_failed(&load(to, "--way http --work new --count 5"), "more bytes than were asked for");
}

#[test]
fn the_server_takes_no_get_that_is_not_of_ours() {
    let origin = Server::origin();
    let zeros = "0".repeat(32);
    for request in [
        "GET / HTTP/1.1\r\nHost: b.example\r\nUser-Agent: somebody\r\n\r\n".to_owned(),
        // It asks to send, which a GET cannot.
        format!("GET /{}1{} HTTP/1.1\r\nHost: b.example\r\n\r\n", "0".repeat(15), "0".repeat(16)),
        format!("GET /{zeros} HTTP/1.1\r\nHost: b.example\r\n\r\nbehind"),
    ] {
        let mut stream = peer::connect(origin.address);
        stream.write_all(request.as_bytes()).unwrap();
        let read = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset), "{request}");
    }
}

#[test]
fn a_get_in_single_bytes_is_answered() {
    use std::io::Read;

    let origin = Server::origin();
    let mut stream = peer::connect(origin.address);
    stream.set_nodelay(true).unwrap();
    let target = format!("{:032x}", 5);
    for byte in format!("GET /{target} HTTP/1.1\r\nHost: b.example\r\n\r\n").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(&peer::pattern(5)), "{answer:?}");
    assert_eq!(answer.len() as u64, ANSWER + 1 + 5);
}
