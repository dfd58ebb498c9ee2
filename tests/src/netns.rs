//! One network namespace: created, entered, removed.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What every namespace of every lab is called, before the pid of the process that made it.
const PREFIX: &str = "sekisho-";

/// A named network namespace; removed, with every process still in it, on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Creates the namespace `sekisho-<pid>-<suffix>` with its loopback interface up.
    ///
    /// # Errors
    /// Fails without root, without iproute2, or where the kernel has no network namespaces.
    pub fn create(suffix: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{suffix}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name])).context("network namespaces need root and iproute2")?;
        let ns = Self { name };
        ns.run("ip", ["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside, with nothing on its standard input and with no proxy or AWS setting inherited.
    pub fn cmd(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        for (key, _) in std::env::vars_os() {
            let upper = key.to_string_lossy().to_ascii_uppercase();
            if upper.starts_with("AWS_") || upper.ends_with("_PROXY") {
                command.env_remove(key);
            }
        }
        command
    }

    /// Runs a program inside to its end and returns what it printed.
    ///
    /// # Errors
    /// Fails, quoting its output, when the program cannot start or does not exit 0.
    pub fn run<'a>(&self, program: &str, args: impl IntoIterator<Item = &'a str>) -> Result<String> {
        run(self.cmd(program).args(args))
    }

    /// Sets a sysctl inside, e.g. `set("net/ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    /// Fails where the kernel does not know the key.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.enter(|| fs::write(&path, value).with_context(|| format!("cannot set {key} to {value}")))?
    }

    /// Calls `work` on a thread inside, and waits for it. Sockets that it makes stay inside wherever they go afterwards;
    /// threads that it starts are inside too. Only the network is the namespace's: `/etc/resolv.conf` stays the host's.
    ///
    /// # Errors
    /// Fails when the namespace cannot be entered or `work` panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| -> Result<T> {
                    self.move_this_thread()?;
                    Ok(work())
                })
                .join()
                .map_err(|_| anyhow!("the thread inside {} panicked", self.name))?
        })
    }

    /// Starts a thread inside; see [`Netns::enter`].
    ///
    /// # Errors
    /// The handle yields an error when the namespace could not be entered.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<Result<T>> {
        let inside = Self { name: self.name.clone() };
        thread::spawn(move || {
            let inside = std::mem::ManuallyDrop::new(inside);
            inside.move_this_thread()?;
            Ok(work())
        })
    }

    /// Makes `/etc/resolv.conf` inside (for programs run by [`Netns::cmd`]) name these servers.
    ///
    /// # Errors
    /// Fails when `/etc/netns` cannot be written.
    pub fn use_dns(&self, servers: &[std::net::IpAddr]) -> Result<()> {
        let directory = self.etc();
        fs::create_dir_all(&directory)?;
        let servers: Vec<_> = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        let text = format!("options timeout:2 attempts:2\n{}", servers.concat());
        // In place: `ip netns exec` has bound this very file.
        fs::write(directory.join("resolv.conf"), text).context("cannot write /etc/netns/…/resolv.conf")
    }

    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    fn move_this_thread(&self) -> Result<()> {
        let file = fs::File::open(Path::new("/run/netns").join(&self.name))
            .with_context(|| format!("no namespace {}", self.name))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("cannot enter namespace {}", self.name))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes every namespace that this process made, with the processes in it: for a signal handler.
pub fn remove_own() {
    let own = format!("{PREFIX}{}-", std::process::id());
    all().iter().filter(|name| name.starts_with(&own)).for_each(|name| remove(name));
}

/// Removes what labs whose process is gone left behind (killed, or the machine's power failed).
pub fn remove_leftovers() {
    for name in all() {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            remove(&name);
        }
    }
}

fn all() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|n| n.starts_with(PREFIX)).collect()
}

fn remove(name: &str) {
    for line in run(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default().lines() {
        let pid =
            line.trim().parse().ok().filter(|pid| *pid != std::process::id().cast_signed()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = run(Command::new("ip").args(["netns", "del", name]));
    let _ = fs::remove_dir_all(Path::new("/etc/netns").join(name));
    // Only when empty: others may have settings of their own there.
    let _ = fs::remove_dir("/etc/netns");
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// Fails, quoting its output, when it cannot start or does not exit 0.
pub fn run(command: &mut Command) -> Result<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{} is not installed: run `cargo xtask setup`", command.get_program().to_string_lossy())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot start {command:?}")),
    };
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&said).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
