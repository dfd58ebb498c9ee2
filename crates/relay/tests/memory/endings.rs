//! Connections of every ending by the thousand, through the program itself: nothing of them is left.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::alone;
use crate::place::{BULK, HOST, NOBODY, Place, UNLISTED, hello, order};

/// Connections of each ending that is quick, in each round.
const QUICK: usize = 600;
/// Of each that the gate's own clock brings about, all of them waiting at a time.
const SLOW: usize = 100;
/// Rounds: the first shows what a gate keeps for good, such as pools; the others must not add to it.
const ROUNDS: usize = 3;
/// What memory may grow by after the first round, in KiB: less than 60 bytes for each connection. It grew by 24.
const GROWTH: u64 = 512;

struct Gate {
    place: Place,
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Gate {
    fn start() -> Self {
        let limits = "limits: { connections_per_client: 10000 }\ntimeouts: { hello: 1s, idle: 2s, half_closed: 2s }";
        let place = Place::new(limits, true);
        let said = place.directory.path().join("err");
        let child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .current_dir(place.directory.path())
            .arg("run")
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let said = loop {
            let said = fs::read_to_string(&said).unwrap();
            if said.contains("sekisho serves") {
                break said;
            }
            assert!(Instant::now() < deadline, "{said}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let after = |mark| said.split(mark).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        Self { address: after(" address="), admin: after(" admin="), place, child }
    }

    fn connect(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    }

    /// Open sockets and pipes.
    fn descriptors(&self) -> (usize, usize) {
        let links = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let names: Vec<_> = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok()).collect();
        let count = |kind: &str| names.iter().filter(|name| name.to_string_lossy().starts_with(kind)).count();
        (count("socket:"), count("pipe:"))
    }

    fn pss_kib(&self) -> u64 {
        let all = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = all.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What the metric says is open.
    fn active(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("sekisho_connections_active{listener=\"front\"} "));
        line.unwrap().to_owned()
    }

    /// Waits until `what` holds.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}, active {}", self.descriptors(), self.active());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is read until the end, or until the connection breaks.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn answer(stream: &mut TcpStream) {
    stream.read_exact(&mut [0]).unwrap();
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Endings that the two sides bring about, or the gate at once.
fn quick(gate: &Gate) {
    let answered = || {
        let mut stream = gate.connect(&hello(HOST, order::ANSWER));
        answer(&mut stream);
        stream
    };
    for _ in 0..QUICK {
        drop(answered());
        reset(answered());
        assert!(rest(&mut gate.connect(&hello(HOST, order::CLOSE))).is_empty());
        assert!(rest(&mut gate.connect(&hello(HOST, order::RESET))).is_empty());
        let mut finished = gate.connect(&hello(HOST, order::WAIT));
        finished.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut finished), b"x");
        assert_eq!(rest(&mut gate.connect(&hello(UNLISTED, order::ANSWER))).first(), Some(&0x15), "an alert");
        assert_eq!(rest(&mut gate.connect(&hello(NOBODY, order::ANSWER))).first(), Some(&0x15), "an alert");
        drop(gate.connect(b"\x16\x03"));
    }
    // Through pipes, to the end and cut off in the middle.
    assert_eq!(rest(&mut gate.connect(&hello(HOST, order::BULK))).len(), BULK);
    for _ in 0..10 {
        let mut stream = gate.connect(&hello(HOST, order::BULK));
        stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
        reset(stream);
    }
}

/// Endings that the gate's clock brings about: silent clients, quiet and half-closed connections, a policy that changes.
fn slow(gate: &Gate) {
    let several = |order| (0..SLOW).map(|_| gate.connect(&hello(HOST, order))).collect::<Vec<_>>();
    let silent: Vec<_> = (0..SLOW).map(|_| gate.connect(b"")).collect();
    let quiet = several(order::ANSWER);
    // These clients see the server's end, and do not close for their part.
    let mut half_closed = several(order::FINISH);
    for stream in &mut half_closed {
        assert!(rest(stream).is_empty());
    }
    silent.into_iter().chain(quiet).for_each(|mut stream| drop(rest(&mut stream)));
    gate.until("half-closed ones are left", |gate| gate.active() == "0");
    drop(half_closed);

    let mut revoked = several(order::ANSWER);
    revoked.iter_mut().for_each(answer);
    gate.place.allow(&["other.example"]);
    for stream in &mut revoked {
        rest(stream);
    }
    gate.place.allow(&[HOST, NOBODY]);
    // The policy of before is in force again once its host is served.
    gate.until("the old policy", |gate| {
        let mut stream = gate.connect(&hello(HOST, order::ANSWER));
        let mut first = [0];
        stream.read_exact(&mut first).is_ok() && first == *b"x"
    });
}

#[test]
fn after_thousands_of_every_ending_no_descriptor_no_connection_and_no_memory_is_left() {
    let _alone = alone();
    let gate = Gate::start();
    // Once every thread has what it begins with, and the name is known.
    answer(&mut gate.connect(&hello(HOST, order::ANSWER)));
    gate.until("the first one is left", |gate| gate.active() == "0");
    std::thread::sleep(Duration::from_secs(1));
    let (sockets, pipes) = gate.descriptors();
    let mut first = None;
    for round in 0..ROUNDS {
        quick(&gate);
        slow(&gate);
        gate.until("connections are left", |gate| gate.active() == "0");
        gate.until("sockets are left", |gate| gate.descriptors().0 <= sockets);
        // Each of the two workers keeps up to eight idle pipes, of two ends.
        assert!(gate.descriptors().1 <= pipes + 2 * 8 * 2, "pipes are left: {:?}", gate.descriptors());
        // What was freed goes back to the system within a second or two.
        std::thread::sleep(Duration::from_secs(3));
        let pss = gate.pss_kib();
        eprintln!("after round {round}: {pss} KiB, {:?}", gate.descriptors());
        let before = *first.get_or_insert(pss);
        assert!(pss <= before + GROWTH, "memory grows: {before} KiB after one round, {pss} after {}", round + 1);
    }
}
