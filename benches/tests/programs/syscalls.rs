//! The floor's system calls are those of `floor.syscalls`, and no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{FLOOR, Server, load_well};

const CONNECTIONS: u64 = 20;
/// Waits come together where the other side was quick.
const WAIT: &str = "epoll_pwait";

#[test]
fn of_a_connection_are_those_that_are_listed() {
    for via in ["copy", "splice"] {
        let mut calls = counted(via);
        let mut listed: BTreeMap<_, _> = listed().map(|(call, count)| (call, count * CONNECTIONS)).collect();
        let (waits, most) = (calls.remove(WAIT).unwrap(), listed.remove(WAIT).unwrap());
        assert_eq!(calls, listed, "{via}: {CONNECTIONS} connections");
        assert!((1..=most).contains(&waits), "{via}: {waits} waits, not {most} at most");
    }
}

/// `floor.syscalls`, read.
fn listed() -> impl Iterator<Item = (String, u64)> {
    let text = include_str!("../../floor.syscalls");
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|fields| !fields.is_empty());
    fields.map(|fields| (fields[0].to_owned(), fields[1].parse().unwrap()))
}

/// The calls of so many connections, one after the other.
fn counted(via: &str) -> BTreeMap<String, u64> {
    let origin = Server::origin();
    let trace = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("floor.{via}.strace"));
    let _ = fs::remove_file(&trace);
    // With -D the floor is our child, as if nobody looked, and the tracer is its own.
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-o"]).arg(&trace).args([FLOOR, "--bind", "127.0.0.1:0", "--via", via, "--to"]);
    let has_strace = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    assert!(has_strace, "there is no strace: run `cargo xtask setup`");
    let floor = Server::start(command.arg(origin.address.to_string()));
    let figures = load_well(floor.address, &format!("--work new --count {CONNECTIONS}"));
    assert_eq!(figures.connections, CONNECTIONS);
    let all_closed = |trace: &Path| calls(trace).get("close").copied() >= Some(2 * CONNECTIONS);
    wait_until("the last connection was closed", || all_closed(&trace));
    drop(floor);
    wait_until("the tracer has ended", || fs::read_to_string(&trace).is_ok_and(|text| text.contains("+++ killed by")));
    calls(&trace)
}

/// Calls from the first `accept4` on, by name.
fn calls(trace: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    let mut calls = BTreeMap::new();
    // `<process id> <call>(…`, and what is no call has no such form: `<... read resumed>`, `+++ exited`.
    let names =
        text.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('(')).map(|(name, _)| name);
    for name in names.skip_while(|name| *name != "accept4") {
        let is_call = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        // Debug builds look at a descriptor before they close it.
        if is_call && !(cfg!(debug_assertions) && name == "fcntl") {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
