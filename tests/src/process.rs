//! A program that runs beside a test, and ends with it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running program with its output in two files; killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// A program's two files of output.
#[derive(Clone, Debug)]
pub struct Outputs([PathBuf; 2]);

impl Outputs {
    /// What it has written so far, standard output first.
    pub fn read(&self) -> String {
        self.0.iter().map(|file| read(file)).collect()
    }
}

fn read(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl Process {
    /// Starts `command`; its output goes to `<directory>/<name>.stdout` and `.stderr`.
    ///
    /// # Errors
    /// Fails when the files cannot be made or the program cannot start.
    pub fn start(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        Self::start_with(name, directory, command, Stdio::null())
    }

    /// The same for a program that reads what [`Process::say`] says: its input stays open until the end.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_listening(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        Self::start_with(name, directory, command, Stdio::piped())
    }

    fn start_with(name: &str, directory: &Path, command: &mut Command, stdin: Stdio) -> Result<Self> {
        let stdout = directory.join(format!("{name}.stdout"));
        let stderr = directory.join(format!("{name}.stderr"));
        let child = command
            .stdin(stdin)
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Where its output is, for a closure of [`Process::wait_ready`].
    pub fn outputs(&self) -> Outputs {
        Outputs([self.stdout.clone(), self.stderr.clone()])
    }

    /// Says something to a program that was started by [`Process::start_listening`].
    ///
    /// # Errors
    /// Fails when it does not listen, or has ended.
    pub fn say(&mut self, text: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().with_context(|| format!("{} does not listen", self.name))?;
        stdin.write_all(text.as_bytes()).with_context(|| format!("{} hears nothing", self.name))
    }

    /// Ends what it reads.
    pub fn hush(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Fails when the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("no such process")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Fails when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {limit:?}", self.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `ready` says yes; gives up when the process ends, or after `limit`.
    ///
    /// # Errors
    /// Fails then, with the last of what the process printed.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}):\n{}", self.name, self.last_words());
            }
            if Instant::now() >= deadline {
                bail!("{} is not ready after {limit:?}:\n{}", self.name, self.last_words());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// How many file descriptors it has open.
    ///
    /// # Errors
    /// Fails when the process is gone.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid())).context("the process is gone")?.count())
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// Fails when the process is gone.
    pub fn rss_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the process is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the process is a zombie")?;
        line.trim().trim_end_matches(" kB").trim().parse().context("VmRSS is no number")
    }

    /// The CPU time that it has used, in user and kernel mode.
    ///
    /// # Errors
    /// Fails when the process is gone.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).context("the process is gone")?;
        // Behind the program's name, which may have spaces: utime and stime are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').context("no process status")?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        // A tick of these fields is 10 ms on every architecture that Linux is still used on.
        Ok(Duration::from_millis(10 * ticks.sum::<Result<u64, _>>()?))
    }

    fn last_words(&self) -> String {
        let said = format!("{}{}", self.stdout(), self.stderr());
        let lines: Vec<_> = said.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
