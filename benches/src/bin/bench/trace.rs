//! System calls counted by strace, which slows everything: never while something is timed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::process::Process;
use rustix::process::Signal;

use crate::usage::thread_statuses;

/// strace, attached to all threads of some processes.
pub(crate) struct Trace {
    process: Process,
    file: PathBuf,
}

impl Trace {
    /// Attaches it.
    pub(crate) fn start(pids: &[u32], directory: &Path) -> Result<Self> {
        let file = directory.join("strace.counts");
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-o"]).arg(&file);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let mut process = Process::start("strace", directory, &mut command)?;
        let attached = |pid: &u32| thread_statuses(*pid).iter().all(|status| !status.contains("TracerPid:\t0\n"));
        process.wait_ready(Duration::from_secs(10), || pids.iter().all(attached))?;
        // The last thread is stopped a moment after it says who traces it.
        thread::sleep(Duration::from_millis(100));
        Ok(Self { process, file })
    }

    /// Detaches it; how often each call was made.
    pub(crate) fn end(mut self) -> Result<BTreeMap<String, u64>> {
        self.process.signal(Signal::INT)?;
        self.process.wait(Duration::from_secs(10))?;
        let text = fs::read_to_string(&self.file).context("strace wrote nothing")?;
        Ok(text.lines().filter_map(count).collect())
    }
}

/// `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn count(line: &str) -> Option<(String, u64)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    let name = fields.last()?;
    let calls = fields.get(3)?.parse().ok()?;
    (*name != "total" && fields.first()?.parse::<f64>().is_ok()).then(|| ((*name).to_owned(), calls))
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn calls_are_read_with_and_without_errors_and_the_total_is_not() {
        assert_eq!(
            count(" 33.12    0.012345           3      4096       512 epoll_wait"),
            Some(("epoll_wait".to_owned(), 4096))
        );
        assert_eq!(count(" 12.00    0.000345           3       100           close"), Some(("close".to_owned(), 100)));
        assert_eq!(count("100.00    0.0365                   14000       600 total"), None);
        assert_eq!(count("------ ----------- ----------- --------- --------- ----------------"), None);
        assert_eq!(count("% time     seconds  usecs/call     calls    errors syscall"), None);
    }
}
