//! What a gate's processes have used so far, as the kernel counts it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::cgroup::Cgroup;
use serde::{Deserialize, Serialize};

/// The processes of one gate, the dead ones included as far as can be.
pub(crate) enum Processes {
    /// Where the kernel has control groups of the second version.
    Group(Cgroup),
    /// Elsewhere: a process and its descendants by /proc, in units of 10 ms.
    Tree(u32),
}

/// CPU time and context switches, of all threads together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Seconds in user mode.
    pub(crate) user: f64,
    /// Seconds in the kernel.
    pub(crate) system: f64,
    /// Context switches because a thread had nothing to do.
    pub(crate) voluntary: u64,
    /// Context switches because another thread was to run.
    pub(crate) involuntary: u64,
}

impl Usage {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
            voluntary: self.voluntary + other.voluntary,
            involuntary: self.involuntary + other.involuntary,
        }
    }

    /// What was used since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

impl Processes {
    /// Those that live.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Self::Group(group) => group.pids(),
            Self::Tree(root) => tree(*root),
        }
    }

    /// What they have used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let pids = self.pids();
        let (user, system) = match self {
            Self::Group(group) => group.cpu_time()?,
            Self::Tree(_) => pids.iter().map(|pid| ticks(*pid)).fold((Duration::ZERO, Duration::ZERO), |sum, one| {
                let (user, system) = one.unwrap_or_default();
                (sum.0 + user, sum.1 + system)
            }),
        };
        let switches = pids.iter().flat_map(|pid| thread_statuses(*pid)).map(|status| {
            (number(&status, "voluntary_ctxt_switches:"), number(&status, "nonvoluntary_ctxt_switches:"))
        });
        let (voluntary, involuntary) = switches.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Ok(Usage { user: user.as_secs_f64(), system: system.as_secs_f64(), voluntary, involuntary })
    }

    /// Their memory in KiB: PSS, in which a page that several have counts once.
    pub(crate) fn memory(&self) -> Result<u64> {
        let pids = self.pids();
        let each = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok());
        let sum = each.map(|text| number(&text, "Pss:")).sum();
        (sum > 0).then_some(sum).context("no process has memory: has the gate ended?")
    }
}

/// User and system time of a process and of the children that it has waited for.
fn ticks(pid: u32) -> Option<(Duration, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    // utime, stime, cutime, cstime: a tick of these is 10 ms on every architecture that Linux is still used on.
    let ticks: Vec<u64> =
        fields.split_ascii_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = ticks.try_into().ok()?;
    let time = |ticks| Duration::from_millis(10 * ticks);
    Some((time(user + children_user), time(system + children_system)))
}

/// `status` of each thread.
pub(crate) fn thread_statuses(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok()).collect()
}

/// The number in the line that begins so, or 0.
fn number(text: &str, field: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn tree(root: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<_> = all.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        let children: Vec<_> =
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}
