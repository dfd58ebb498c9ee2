//! Sockets that are handed over to a gate: as systemd does it by a program of our own, which can do it wrong as well
//! (`systemd-socket-activate` makes no transparent sockets), and by systemd itself.

use std::path::Path;

use crate::cgroup::Cgroup;
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

/// systemd's own service manager, which opens what a socket unit says and starts the gate at the first connection.
pub fn by_systemd(group: &Cgroup, unit: &Path) -> Vec<String> {
    let script = place::workspace().join("tests/src/systemd.sh");
    let [script, unit] = [script.as_path(), unit].map(|path| path.display().to_string());
    vec!["unshare".to_owned(), "--mount".to_owned(), "sh".to_owned(), script, group.name(), unit]
}

fn activator(sockets: &[&str], options: &[String]) -> Vec<String> {
    let script = place::workspace().join("tests/src/activator.py");
    let sockets = sockets.iter().map(|socket| (*socket).to_owned());
    let words = ["python3".to_owned(), script.display().to_string()].into_iter().chain(options.iter().cloned());
    words.chain(sockets).chain(["--".to_owned()]).collect()
}
