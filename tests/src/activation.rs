//! Sockets that are handed over to a gate as systemd does it, by a program of our own: what runs as process 1 in a test is
//! no systemd, and `systemd-socket-activate` makes no transparent sockets.

use crate::place;

/// The command line of an activator, for [`Options::activator`](crate::gate::Options::activator): it opens these sockets in
/// this order and becomes the gate. Each is `NAME=ADDRESS:PORT` with `,transparent` or `,reuseport` behind it; an IPv6
/// wildcard takes IPv4 as well, unless `,only` is.
pub fn handing_over(sockets: &[&str]) -> Vec<String> {
    activator(sockets, &[])
}

/// The same by a program that stays, keeps the sockets, and starts the gate so many times, one after the other, as a
/// service manager does: each gate is its child.
pub fn restarting(sockets: &[&str], runs: u32) -> Vec<String> {
    activator(sockets, &[format!("--runs={runs}")])
}

fn activator(sockets: &[&str], options: &[String]) -> Vec<String> {
    let script = place::workspace().join("tests/src/activator.py");
    let sockets = sockets.iter().map(|socket| (*socket).to_owned());
    let words = ["python3".to_owned(), script.display().to_string()].into_iter().chain(options.iter().cloned());
    words.chain(sockets).chain(["--".to_owned()]).collect()
}
