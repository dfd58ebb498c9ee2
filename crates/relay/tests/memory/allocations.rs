//! How often connections and bytes make the gate allocate. The gate runs in this process, beside a client and a server
//! that allocate nothing while it is counted.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use stats_alloc::Region;

use crate::place::{BULK, HOST, Place, UNLISTED, hello, order};
use crate::{ALLOCATOR, alone};

/// Connections over which is counted.
const COUNT: usize = 500;
/// Allocations of a connection that is served: 19 when this was written.
const SERVED: usize = 22;
/// Of one that is refused: 14.
const REFUSED: usize = 17;
/// A bulk transfer may need one in so many mebibytes; it needed one in all.
const BULK_EACH: usize = 8;

/// Starts a gate in this process; it runs until the tests have ended.
fn start(place: &Place) -> SocketAddr {
    let config = place.directory.path().join("sekisho.yaml");
    // A port of the system's choice, given back just before the gate takes it.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(&config).unwrap().replacen("127.0.0.1:0", &port.to_string(), 1);
    fs::write(&config, text).unwrap();
    std::thread::spawn(move || sekisho::app::run(Path::new(&config), || ()).unwrap());
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(port).is_err() {
        assert!(Instant::now() < deadline, "the gate does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    port
}

/// Sends `bytes` on a new connection and reads until its end, or until `enough`. How many bytes came.
fn exchange(gate: SocketAddr, bytes: &[u8], enough: usize) -> usize {
    let mut buffer = [0; 1 << 14];
    let mut stream = TcpStream::connect(gate).unwrap();
    stream.write_all(bytes).unwrap();
    let mut received = 0;
    while received < enough {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    received
}

/// Allocations, and bytes that are still held, of each run of `work`.
fn count(work: impl Fn()) -> (usize, isize) {
    // Twice before it counts: names are resolved, pools filled, tables grown.
    (0..2 * COUNT).for_each(|_| work());
    // What the writer of the log and the tick free: before the count as behind it, or what was under way then would count.
    let settle = || std::thread::sleep(Duration::from_secs(2));
    settle();
    // A buffer of the process that grows once is nobody's; what a connection keeps is kept in every round.
    let rounds = (0..3).map(|_| {
        let region = Region::new(ALLOCATOR);
        (0..COUNT).for_each(|_| work());
        settle();
        let change = region.change();
        let kept = change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed();
        (change.allocations / COUNT, kept / COUNT.cast_signed())
    });
    rounds.reduce(|one, other| (one.0.max(other.0), one.1.min(other.1))).unwrap()
}

#[test]
fn a_connection_and_its_bytes_allocate_little_and_keep_nothing() {
    let _alone = alone();
    let place = Place::new("limits: { connections_per_client: 10000 }", false);
    let gate = start(&place);

    let answered = hello(HOST, order::ANSWER);
    let (allocations, kept) = count(|| assert_eq!(exchange(gate, &answered, 1), 1));
    eprintln!("a served connection allocates {allocations} times and keeps {kept} bytes");
    assert!(allocations <= SERVED, "a served connection allocates {allocations} times");
    assert!(kept < 16, "a served connection leaves {kept} bytes");

    let unlisted = hello(UNLISTED, order::ANSWER);
    let (allocations, kept) = count(|| assert_eq!(exchange(gate, &unlisted, usize::MAX), 7));
    eprintln!("a refused connection allocates {allocations} times and keeps {kept} bytes");
    assert!(allocations <= REFUSED, "a refused connection allocates {allocations} times");
    assert!(kept < 16, "a refused connection leaves {kept} bytes");

    let bulk = hello(HOST, order::BULK);
    let transfer = || assert_eq!(exchange(gate, &bulk, BULK), BULK);
    transfer();
    let region = Region::new(ALLOCATOR);
    transfer();
    let allocations = region.change().allocations;
    eprintln!("{} MiB in one connection allocate {allocations} times", BULK >> 20);
    assert!(allocations <= SERVED + (BULK >> 20) / BULK_EACH, "{allocations} for {} MiB", BULK >> 20);
}
