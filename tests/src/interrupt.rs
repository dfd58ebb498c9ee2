//! Ctrl-C: the labs of this process go before it does.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{cgroup, netns, place};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on SIGINT, SIGTERM and SIGHUP (unless it is ignored: nohup) remove this process's labs, and then end it.
pub fn remove_labs_on_signal() {
    let mut ends = vec![SIGINT, SIGTERM];
    if !ignored(SIGHUP) {
        ends.push(SIGHUP);
    }
    if let Ok(mut signals) = Signals::new(ends) {
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                INTERRUPTED.store(true, Ordering::SeqCst);
                netns::remove_own();
                cgroup::remove_own();
                place::remove_own_directories();
                std::process::exit(128 + signal);
            }
        });
    }
}

/// Does not return when a signal is ending this process. A program that fails because its lab is being taken away
/// calls this before it complains.
pub fn await_interruption() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(100));
    }
}

fn ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
