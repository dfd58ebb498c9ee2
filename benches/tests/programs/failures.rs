//! What goes wrong is counted as what it is.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::peer;
use crate::program::{Run, Server, Started, load};

const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 49];

/// As the gate does: the alert, the end, and then whatever the client still sends.
fn refusing() -> SocketAddr {
    peer::serve(|mut stream| {
        peer::read_hello(&mut stream);
        stream.write_all(&ALERT).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        peer::read_slowly(&mut stream);
    })
}

/// That all of them failed so, and load said by its exit that nothing worked.
fn all_failed(run: &Run, why: &str) {
    let figures = &run.figures;
    assert!(figures.connections > 0);
    assert_eq!((figures.failed, figures.refused), (figures.connections, 0), "{figures:?}");
    assert_eq!(figures.errors.get(why), Some(&figures.connections), "{figures:?}");
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn an_alert_is_a_refusal() {
    let to = refusing();
    for (work, exit) in [("refused", 0), ("new", 1)] {
        let run = load(to, &format!("--work {work} --count 20 --concurrency 4"));
        assert_eq!(
            (run.figures.connections, run.figures.refused, run.figures.failed),
            (20, 20, 0),
            "{:?}",
            run.figures
        );
        assert_eq!((run.figures.requests, run.figures.bytes_down), (0, 20 * 7));
        assert_eq!(run.status.code(), Some(exit), "{work}");
    }
}

#[test]
fn a_refusals_latency_is_that_of_its_alert() {
    let run = load(refusing(), "--work refused");
    assert!(run.figures.latency_us.p50 > 0.0, "{:?}", run.figures);
}

#[test]
fn being_served_is_a_failure_where_a_refusal_was_wanted() {
    all_failed(&load(Server::origin().address, "--work refused --count 5"), "served, not refused");
}

#[test]
fn a_close_before_the_answer_is_a_failure() {
    let to = peer::serve(|mut stream| peer::read_hello(&mut stream));
    all_failed(&load(to, "--work new --count 5"), "closed early");
}

#[test]
fn a_close_within_the_answer_is_a_failure() {
    let to = peer::serve(|mut stream| {
        peer::read_hello(&mut stream);
        stream.write_all(&peer::pattern(63)).unwrap();
    });
    all_failed(&load(to, "--work new --count 5"), "closed early");
}

#[test]
fn more_than_was_asked_for_is_a_failure() {
    let to = peer::serve(|mut stream| {
        peer::read_hello(&mut stream);
        stream.write_all(&peer::pattern(65)).unwrap();
        peer::read_slowly(&mut stream);
    });
    all_failed(&load(to, "--work new --count 5"), "more bytes than were asked for");
}

#[test]
fn nobody_there_is_a_failure() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    all_failed(&load(nobody, "--work new --count 5"), "Connection refused (os error 111)");
}

#[test]
fn silence_is_a_failure_after_some_time() {
    let to = peer::serve(|mut stream| drop(peer::read_slowly(&mut stream)));
    all_failed(&load(to, "--work new --count 2 --concurrency 2 --patience 1"), "nothing moved");
}

#[test]
fn one_wrong_byte_of_a_long_answer_is_a_failure() {
    let origin = Server::origin();
    for at in [0, 70, 2_999_999] {
        let to = peer::spoil(origin.address, false, at);
        all_failed(&load(to, "--work bulk-down --bytes 3000000"), "other bytes than were sent");
    }
}

#[test]
fn one_wrong_byte_of_a_long_request_is_noticed_by_the_server() {
    let origin = Server::origin();
    let to = peer::spoil(origin.address, true, 1_000_000);
    let run = load(to, "--work bulk-up --bytes 3000000");
    assert_eq!((run.figures.connections, run.figures.failed), (1, 1), "{:?}", run.figures);
}

#[test]
fn a_connection_that_is_closed_while_it_idles_is_a_failure() {
    let to = peer::serve(|mut stream| {
        peer::read_hello(&mut stream);
        stream.write_all(&peer::pattern(1)).unwrap();
    });
    let mut load = Started::new(to, "--work idle --concurrency 3");
    assert_eq!(load.line(), "ready\n");
    // The end is on its way already; what is left is the length of a loopback.
    thread::sleep(Duration::from_millis(100));
    load.say_go();
    let run = load.end();
    assert_eq!(run.figures.errors.get("closed while idle"), Some(&3), "{:?}", run.figures);
}

#[test]
fn those_that_fail_are_told_from_those_that_do_not() {
    let served = Arc::new(AtomicU64::new(0));
    let to = peer::serve(move |mut stream| {
        peer::read_hello(&mut stream);
        if !served.fetch_add(1, Ordering::Relaxed).is_multiple_of(4) {
            stream.write_all(&peer::pattern(64)).unwrap();
            peer::read_slowly(&mut stream);
        }
    });
    let run = load(to, "--work new --count 20");
    assert_eq!((run.figures.connections, run.figures.requests), (20, 15), "{:?}", run.figures);
    assert_eq!(run.figures.errors.get("closed early"), Some(&5), "{:?}", run.figures);
    assert_eq!(run.status.code(), Some(0));
}
