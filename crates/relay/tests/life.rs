//! A node's life, from outside: what it says, serves and tells systemd, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running node with one listener, named `front`, that takes anybody's connections; killed on drop.
struct Node {
    directory: tempfile::TempDir,
    child: Child,
}

impl Node {
    fn start(more: &str, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "listeners:\n  - {{ name: front, bind: \"127.0.0.1:0\", destination: none }}\npolicy: policy.yaml\n\
             admin: {{ bind: \"127.0.0.1:0\" }}\ndns: {{ servers: [127.0.0.1] }}\nthreads: 2\n{more}"
        );
        let policy = "version: 1\nrules:\n  - { name: a, owner: o, ticket: t, hosts: [a.example] }\n";
        fs::write(directory.path().join("sekisho.yaml"), config).unwrap();
        fs::write(directory.path().join("policy.yaml"), policy).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sekisho"))
            .current_dir(directory.path())
            .arg("run")
            .envs(environment.iter().copied())
            .stdout(File::create(directory.path().join("out")).unwrap())
            .stderr(File::create(directory.path().join("err")).unwrap())
            .spawn()
            .unwrap();
        let node = Self { directory, child };
        node.wait_for("sekisho serves");
        node
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    fn wait_for(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.read("err").contains(words) {
            assert!(Instant::now() < deadline, "{}", self.read("err"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address that the operator's log has behind a mark.
    fn address(&self, mark: &str) -> SocketAddr {
        let said = self.read("err");
        said.split(mark).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// One request to the admin endpoint: the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address(" admin=")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end; answers the exit code.
    fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "still there: {}", self.read("err"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_says_what_it_is_and_ends_cleanly() {
    let mut node = Node::start("shutdown: { lame_duck: 0s, drain: 1s }\n", &[]);
    assert!(node.ask("GET /healthz").starts_with("HTTP/1.1 200 "));
    assert!(node.ask("GET /readyz").ends_with("ready\n"));
    assert!(node.ask("GET /metrics").contains("sekisho_build_info{version="));
    assert!(node.ask("GET /status").contains("front at 127.0.0.1:"));
    assert!(node.ask("GET /status.json").contains("\"stage\":\"serving\""));
    assert!(node.ask("GET /policy").starts_with("HTTP/1.1 404 "));
    let post = node.ask("DELETE /readyz");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"), "{post}");

    // A client that is refused leaves its record, on stdout where no file is named.
    let mut client = TcpStream::connect(node.address(" address=")).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = client.read(&mut [0]);
    node.signal(Signal::TERM);
    assert_eq!(node.ends_within(Duration::from_secs(10)), Some(0), "{}", node.read("err"));
    let log = node.read("out");
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<_> = events.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(named, ["start", "close", "stop"], "{log}");
    assert_eq!(events[1]["reason"], "not_tls");
}

#[test]
fn connections_that_say_nothing_do_not_make_a_node_seem_not_ready() {
    let node = Node::start("", &[]);
    let admin = node.address(" admin=");
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(admin).unwrap()).collect();
    for _ in 0..10 {
        let begun = Instant::now();
        assert!(node.ask("GET /readyz").starts_with("HTTP/1.1 200 "));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?} beside {} silent ones", begun.elapsed(), silent.len());
    }
}

#[test]
fn systemd_is_told_of_every_stage() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let next = |words: &str| loop {
        let text = told();
        if !text.contains("WATCHDOG=1") {
            assert!(text.contains(words), "{words} was to come, not {text}");
            return text;
        }
    };
    let path = path.to_str().unwrap();
    let mut node = Node::start(
        "shutdown: { lame_duck: 3s, drain: 1s }\n",
        &[("NOTIFY_SOCKET", path), ("WATCHDOG_USEC", "2000000")],
    );
    let ready = next("READY=1");
    assert!(ready.contains("STATUS=policy ") && ready.contains(", 1 rules"), "{ready}");
    while !told().contains("WATCHDOG=1") {}
    node.signal(Signal::HUP);
    assert!(next("RELOADING=1").contains("MONOTONIC_USEC="));
    next("READY=1");
    node.signal(Signal::TERM);
    next("STOPPING=1");
    // Reloading still works in the lame duck, and does not make the node seem ready again.
    node.signal(Signal::HUP);
    assert_eq!(node.ends_within(Duration::from_secs(20)), Some(0));
    assert_eq!(node.read("err").matches("policy loaded").count(), 2, "{}", node.read("err"));
    socket.set_nonblocking(true).unwrap();
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        assert!(text.contains("WATCHDOG=1"), "{text}");
    }
}

#[test]
fn a_flood_of_connections_does_not_keep_a_node_from_ending() {
    let mut node = Node::start(
        "access_log: off\nlimits: { connections_per_client: 100 }\nshutdown: { lame_duck: 0s, drain: 1s }\n",
        &[],
    );
    let to = node.address(" address=");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Refused once the node no longer listens.
                    let _ = TcpStream::connect(to);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        node.signal(Signal::TERM);
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| node.ends_within(Duration::from_secs(6))));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(code.unwrap(), Some(0));
    });
}
