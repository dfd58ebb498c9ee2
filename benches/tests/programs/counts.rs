//! What load prints is what was asked for, to the byte: straight, and through both kinds of floor.

use std::net::SocketAddr;

use crate::program::{LARGE, SMALL, Server, Started, load_well};

/// The three ways to the server.
fn each_way(test: impl Fn(SocketAddr)) {
    let origin = Server::origin();
    test(origin.address);
    for via in ["copy", "splice"] {
        test(Server::floor(via, origin.address).address);
    }
}

#[test]
fn new_connections() {
    each_way(|to| {
        let figures = load_well(to, "--work new --count 301 --concurrency 17 --threads 2");
        assert_eq!((figures.connections, figures.requests), (301, 301));
        assert_eq!((figures.bytes_up, figures.bytes_down), (301 * LARGE, 301 * 64));
        assert!(figures.latency_us.p50 > 0.0 && figures.latency_us.p999 >= figures.latency_us.p50);
    });
}

#[test]
fn new_connections_with_a_small_hello_for_a_time() {
    each_way(|to| {
        let figures = load_well(to, "--work new --hello small --seconds 0.2 --answer 1000");
        assert!(figures.connections > 0 && figures.seconds >= 0.2, "{figures:?}");
        assert_eq!((figures.bytes_up, figures.bytes_down), (figures.connections * SMALL, figures.connections * 1000));
    });
}

#[test]
fn round_trips() {
    each_way(|to| {
        let figures = load_well(to, "--work round-trips --rounds 50 --concurrency 3");
        assert_eq!((figures.connections, figures.requests), (3, 3 * 51));
        assert_eq!((figures.bytes_up, figures.bytes_down), (3 * (LARGE + 50 * 100), 3 * 51 * 100));
    });
}

#[test]
fn bulk_down() {
    each_way(|to| {
        let figures = load_well(to, "--work bulk-down --bytes 9000001 --concurrency 3");
        assert_eq!((figures.bytes_up, figures.bytes_down), (3 * LARGE, 3 * 9_000_001));
    });
}

#[test]
fn bulk_up() {
    each_way(|to| {
        let figures = load_well(to, "--work bulk-up --bytes 9000001 --concurrency 3");
        assert_eq!((figures.bytes_up, figures.bytes_down), (3 * (LARGE + 9_000_001), 3 * 2));
    });
}

/// Of which each connection gets nine small objects, three middle ones and a large one, and puts two small ones and a large
/// one; one in eight gets a very large one too.
#[test]
fn a_mix() {
    each_way(|to| {
        const KIB: u64 = 1024;
        let figures = load_well(to, "--work mix --count 9 --concurrency 4 --threads 2");
        let got = 9 * 8 * KIB + 3 * 64 * KIB + KIB * KIB;
        let put = 2 * 16 * KIB + 256 * KIB;
        let requests = 9 * 16 + 2;
        assert_eq!(figures.requests, 9 + requests);
        assert_eq!(figures.bytes_up, 9 * (LARGE + put) + 700 * requests);
        assert_eq!(figures.bytes_down, 9 * (4 * KIB + 300 + got) + 2 * 8 * KIB * KIB + 400 * requests);
    });
}

#[test]
fn idle_connections_wait_for_a_line() {
    each_way(|to| {
        let mut load = Started::new(to, "--work idle --concurrency 50 --threads 2");
        assert_eq!(load.line(), "ready\n");
        load.say_go();
        let run = load.end();
        assert_eq!((run.figures.connections, run.figures.failed), (50, 0));
        assert_eq!((run.figures.bytes_up, run.figures.bytes_down), (50 * LARGE, 50));
        assert!(run.status.success());
    });
}
