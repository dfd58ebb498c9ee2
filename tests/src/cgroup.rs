//! A control group: what a program and all its children cost, the dead ones included, and their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// What every group is called, before the pid of the process that made it.
const PREFIX: &str = "sekisho-";

/// A group of the second version's hierarchy, which counts CPU time whether a controller is enabled or not; removed, with
/// every process in it, on drop.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group `sekisho-<pid>-<suffix>`.
    ///
    /// # Errors
    /// Fails where no such hierarchy is mounted, or may not be written to.
    pub fn create(suffix: &str) -> Result<Self> {
        let path = mount().context("no cgroup2 is mounted")?.join(format!("{PREFIX}{}-{suffix}", std::process::id()));
        remove(&path);
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }

    /// The same command, which will be of the group from before it is run: all of it counts.
    pub fn around(&self, command: &Command) -> Command {
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.path.join("cgroup.procs"));
        inside.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        inside
    }

    /// CPU time in user and in kernel mode, of all that ever were in the group.
    ///
    /// # Errors
    /// Fails when the group is gone.
    pub fn cpu_time(&self) -> Result<(Duration, Duration)> {
        let text = fs::read_to_string(self.path.join("cpu.stat"))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.map(Duration::from_micros).with_context(|| format!("cpu.stat has no {name}"))
        };
        Ok((field("user_usec ")?, field("system_usec ")?))
    }

    /// What it is called, at the top of its hierarchy.
    pub fn name(&self) -> String {
        name(&self.path)
    }

    /// The processes that are in the group now, and in those that were made in it.
    pub fn pids(&self) -> Vec<u32> {
        pids(&self.path)
    }

    /// Kills all of them, and waits until they are gone.
    ///
    /// # Errors
    /// Fails when one is still there after five seconds.
    pub fn kill(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !kill(&self.path) {
            if Instant::now() >= deadline {
                bail!("processes {:?} do not end", self.pids());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes every group that this process made, with the processes in it: for a signal handler.
pub fn remove_own() {
    let own = format!("{PREFIX}{}-", std::process::id());
    all().iter().filter(|path| name(path).starts_with(&own)).for_each(|path| remove(path));
}

/// Removes what processes that are gone left behind.
pub fn remove_leftovers() {
    for path in all() {
        let name = name(&path);
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            remove(&path);
        }
    }
}

fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let of_version_two = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    };
    mounts.lines().find_map(of_version_two)
}

fn all() -> Vec<PathBuf> {
    let Some(mount) = mount() else { return Vec::new() };
    let entries = fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| name(path).starts_with(PREFIX)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn pids(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok());
    own.chain(within(group).iter().flat_map(|group| pids(group))).collect()
}

/// The groups directly in it.
fn within(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Whether nobody is left to be killed.
fn kill(group: &Path) -> bool {
    let left = pids(group);
    for pid in left.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::KILL);
    }
    left.is_empty()
}

fn remove(group: &Path) {
    for _ in 0..200 {
        if kill(group) && remove_empty(group) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether it is gone, and what was in it.
fn remove_empty(group: &Path) -> bool {
    within(group).iter().all(|group| remove_empty(group)) && (!group.exists() || fs::remove_dir(group).is_ok())
}
