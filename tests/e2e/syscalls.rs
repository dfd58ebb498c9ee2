//! What the gate asks of the kernel for one connection: a guard that is no matter of time. docs/performance.md says what
//! each call is for. What is counted are the calls of the worker's thread, as strace sees them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Redirect;
use lab::process::Process;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{self, HOST, Server, TO, Task};

/// Connections, one after the other, over which calls are counted.
const TIMES: u64 = 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Between two steps of a client.
const QUIET: Duration = Duration::from_millis(10);

/// A call, and how often at least and at most it is made.
type Band = (&'static str, u64, u64);

/// Of a connection that is served: hello, one round trip, the client's end.
const SERVED: &[Band] = &[
    // Its last one says that nobody waits any more.
    ("accept4", 1, 2),
    ("getsockopt", 1, 1),
    // The hello may come a moment after its connection, and each side's end a moment after the other's.
    ("recvfrom", 5, 6),
    ("socket", 1, 1),
    ("setsockopt", 2, 2),
    ("connect", 1, 1),
    ("epoll_ctl", 4, 4),
    ("sendto", 3, 3),
    ("shutdown", 1, 1),
    ("close", 2, 2),
    ("epoll_wait", 4, 10),
    // Wakes the log's writer.
    ("futex", 0, 1),
];

/// Of one that is refused: hello, alert, the client's end.
const REFUSED: &[Band] = &[
    ("accept4", 1, 2),
    ("getsockopt", 1, 1),
    ("recvfrom", 2, 3),
    ("epoll_ctl", 2, 2),
    ("sendto", 1, 1),
    ("shutdown", 1, 1),
    ("close", 1, 1),
    ("epoll_wait", 2, 6),
    ("futex", 0, 1),
];

/// Of a round trip of 100 bytes.
const ROUND_TRIP: &[Band] = &[("recvfrom", 2, 2), ("sendto", 2, 2), ("epoll_wait", 1, 3)];

/// Calls of the whole count that are nobody's: the tick of a second, memory that the allocator takes or gives back.
const NOISE: u64 = TIMES / 2;
/// Bytes that come together, or in two parts, on a machine that has much else to do.
const CHANCE: u64 = 2;

#[test]
fn a_connection_a_refusal_and_a_round_trip_cost_the_calls_that_are_listed() -> Result<()> {
    let lab = Lab::new("syscalls")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &peer::options("threads: 1"))?;
    let pid = gate.process().pid();
    let _redirect = Redirect::nftables(&lab)?;
    // Its name is resolved by the first.
    connections(&lab, HOST, 1, 1)?;

    let served = traced(&lab, pid, || connections(&lab, HOST, TIMES, 1))?;
    within("a connection", &served, SERVED)?;

    let refused = traced(&lab, pid, || connections(&lab, "elsewhere.example", TIMES, 0))?;
    within("a refusal", &refused, REFUSED)?;

    let mut trips = traced(&lab, pid, || connections(&lab, HOST, 1, TIMES))?;
    for (call, count) in traced(&lab, pid, || connections(&lab, HOST, 1, 0))? {
        trips.entry(call).and_modify(|all| *all = all.saturating_sub(count));
    }
    within("a round trip", &trips, ROUND_TRIP)
}

/// Opens connections to `host` one after the other, each for so many round trips of 100 bytes; without any, it is to be
/// refused, unless it is [`HOST`].
fn connections(lab: &Lab, host: &'static str, count: u64, round_trips: u64) -> Result<()> {
    peer::clients(&lab.client, LIMIT, || async {
        for _ in 0..count {
            let mut stream = peer::open(TO.parse()?, host, Task::Echo).await?;
            stream.set_nodelay(true)?;
            for _ in 0..round_trips {
                // All that came before has been relayed by then.
                tokio::time::sleep(QUIET).await;
                peer::ping(&mut stream, &[7; 100]).await?;
            }
            finish(stream).await?;
        }
        anyhow::Ok(())
    })?
}

/// Ends, and waits for the other side's end. What comes before is an alert, if anything.
async fn finish(mut stream: TcpStream) -> Result<()> {
    let mut alert = [0; 7];
    tokio::time::sleep(QUIET).await;
    stream.shutdown().await?;
    while stream.read(&mut alert).await? > 0 {}
    Ok(())
}

/// The calls of the worker's thread during `work`, by name.
fn traced(lab: &Lab, pid: u32, work: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, u64>> {
    let file = lab.directory().join("strace.out");
    let _ = fs::remove_file(&file);
    let mut command = Command::new("strace");
    command.args(["-f", "-o"]).arg(&file).args(["-p", &pid.to_string()]);
    let mut strace = Process::start("strace", lab.directory(), &mut command)?;
    // It says so once all threads are.
    strace.wait_ready(Duration::from_secs(20), || attached(&strace_words(lab.directory())))?;
    work()?;
    // The gate's last close of a connection comes a moment after the client has seen its end.
    std::thread::sleep(Duration::from_millis(200));
    strace.signal(Signal::INT)?;
    strace.wait(Duration::from_secs(20))?;
    Ok(calls(&fs::read_to_string(&file).context("strace wrote nothing")?))
}

fn strace_words(directory: &Path) -> String {
    fs::read_to_string(directory.join("strace.stderr")).unwrap_or_default()
}

fn attached(words: &str) -> bool {
    words.contains("attached with")
}

/// Calls by name, of the threads that accept.
fn calls(text: &str) -> BTreeMap<String, u64> {
    // `<thread> <call>(…`; what goes on elsewhere, or is no call, has another form: `<... read resumed>`, `+++ exited`.
    let made = text.lines().filter_map(|line| {
        let (thread, rest) = line.split_once(' ')?;
        let (call, _) = rest.trim_start().split_once('(')?;
        let is_call = call.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        is_call.then_some((thread, call))
    });
    let made: Vec<_> = made.collect();
    let workers: Vec<_> = made.iter().filter(|(_, call)| *call == "accept4").map(|(thread, _)| *thread).collect();
    let mut calls = BTreeMap::new();
    for (_, call) in made.iter().filter(|(thread, _)| workers.contains(thread)) {
        // Debug builds look at a descriptor before they use it.
        if !(cfg!(debug_assertions) && *call == "fcntl") {
            *calls.entry((*call).to_owned()).or_default() += 1;
        }
    }
    calls
}

/// Whether `calls` are [`TIMES`] times what `bands` lists, and nothing else.
fn within(what: &str, calls: &BTreeMap<String, u64>, bands: &[Band]) -> Result<()> {
    for &(call, least, most) in bands {
        let count = calls.get(call).copied().unwrap_or_default();
        // Waits and wakes are the tick's and the acceptor's too.
        let more = if ["epoll_wait", "futex", "accept4"].contains(&call) { NOISE } else { CHANCE };
        let expected = (least * TIMES).saturating_sub(CHANCE)..=most * TIMES + more;
        ensure!(expected.contains(&count), "{what}, {TIMES} times: {count} of {call}, not {expected:?}: {calls:?}");
    }
    let others = calls.iter().filter(|(call, _)| !bands.iter().any(|(listed, ..)| listed == call));
    let others: u64 = others.map(|(_, count)| count).sum();
    ensure!(others <= NOISE, "{what}, {TIMES} times: {others} calls that are not listed: {calls:?}");
    Ok(())
}
