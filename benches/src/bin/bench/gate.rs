//! One gate while it runs: its files written, its processes counted, all of them ended.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::cgroup::Cgroup;
use lab::gate::UID;
use lab::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use sekisho_benches::http::Way;

use crate::lab::Lab;
use crate::peers::Peer;
use crate::usage::{Processes, Usage};

/// The descriptors of each process.
const DESCRIPTORS: u32 = 20_000;

/// What is not the same for every start of a gate.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Threads or processes that serve.
    pub(crate) threads: usize,
    /// How clients come.
    pub(crate) way: Way,
    /// The text of sekisho's policy, if not the usual one.
    pub(crate) policy: Option<String>,
}

/// A running gate, or none for `direct`; ended on drop.
pub(crate) struct Gate {
    running: Vec<(Process, Processes)>,
    /// Where its files are.
    pub(crate) directory: PathBuf,
}

impl Gate {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(lab: &mut Lab, peer: &Peer, setting: &Setting) -> Result<Self> {
        lab.redirect(peer.is_gate())?;
        let directory = lab.directory.join(&peer.id);
        let _ = fs::remove_dir_all(&directory);
        let mut gate = Self { running: Vec::new(), directory };
        if peer.is_gate() {
            gate.launch(lab, peer, setting)?;
        }
        Ok(gate)
    }

    fn launch(&mut self, lab: &Lab, peer: &Peer, setting: &Setting) -> Result<()> {
        fs::create_dir(&self.directory)?;
        write_files(lab, peer, &self.directory, setting)?;
        let mut peer = peer.clone();
        if let Some(program) = peer.program_mut() {
            *program = lab::reachable(program.clone(), &lab.directory)?;
        }
        for (number, line) in peer.command(&self.directory, setting.threads).iter().enumerate() {
            let name = format!("{}-{number}", peer.id);
            let script = format!(
                "{}exec prlimit --nofile={DESCRIPTORS} setpriv --reuid {UID} --regid {UID} --clear-groups --no-new-privs \
                 --inh-caps=-all --bounding-set=-all {line}",
                peer.prepare()
            );
            let mut command = lab.gate.cmd("sh");
            command.args(["-c", &script]).current_dir(&self.directory);
            let group = Cgroup::create(&name).ok();
            if let Some(group) = &group {
                command = group.around(&command);
            }
            let process = Process::start(&name, &lab.directory, &mut command)?;
            let processes = group.map_or_else(|| Processes::Tree(process.pid()), Processes::Group);
            self.running.push((process, processes));
        }
        let count = self.running.len();
        for (process, _) in &mut self.running {
            process.wait_ready(Duration::from_secs(30), || lab.listeners() >= count)?;
        }
        Ok(())
    }

    /// Its processes, by what was started.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Processes> {
        self.running.iter().map(|(_, processes)| processes)
    }

    /// What all of them have used.
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.processes().try_fold(Usage::default(), |sum, processes| Ok(sum.and(processes.usage()?)))
    }

    /// The memory of all of them, in KiB.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.processes().map(Processes::memory).sum()
    }

    /// The first and the last that it said: what went wrong, and what became of it.
    pub(crate) fn words(&self) -> String {
        let all = self.running.iter().map(|(process, _)| process.stderr() + &process.stdout()).collect::<String>();
        let lines: Vec<_> = all.lines().collect();
        let (first, last) = (lines.iter().take(2), lines.iter().skip(2.max(lines.len().saturating_sub(2))));
        first.chain(last).copied().collect::<Vec<_>>().join("\n")
    }

    /// Fails when one of its processes has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (process, _) in &mut self.running {
            if !process.is_running() {
                bail!("the gate has ended");
            }
        }
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        for (_, processes) in &self.running {
            match processes {
                Processes::Group(group) => {
                    if let Err(error) = group.kill() {
                        eprintln!("error: {error:#}");
                    }
                }
                Processes::Tree(_) => {
                    for pid in processes.pids().into_iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
}

/// The gate's files from `benches/peers/`, filled in, and owned by the gate's user.
fn write_files(lab: &Lab, peer: &Peer, directory: &Path, setting: &Setting) -> Result<()> {
    let names = fs::read_to_string(lab.names(true))?;
    for file in peer.files() {
        let peers = lab::workspace().join("benches/peers");
        let path = match setting.way {
            Way::Tls => peers.join(file),
            Way::Connect => peers.join("connect").join(file),
            Way::Http => peers.join("http").join(file),
        };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let fixed = [
            ("%threads%", setting.threads.to_string()),
            ("%names%", lab.names(true).display().to_string()),
            ("%dir%", directory.display().to_string()),
        ];
        fs::write(directory.join(file), filled(&text, &fixed, &names))?;
    }
    if let Some(policy) = &setting.policy {
        fs::write(directory.join("policy.yaml"), policy)?;
    }
    if peer.wants_certificate() {
        let authority = lab::certs::Authority::new(directory)?;
        authority.issue("cert", &["gate.test"])?;
    }
    for entry in fs::read_dir(directory)? {
        chown(entry?.path(), Some(UID), Some(UID))?;
    }
    chown(directory, Some(UID), Some(UID)).context("cannot give the gate its directory")
}

/// A file with these words filled in, and each line about a name once for each name.
fn filled(text: &str, fixed: &[(&str, String)], names: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let comment = line.trim_start().starts_with('#');
        if !comment && (line.contains("%name%") || line.contains("%name_re%")) {
            lines.extend(
                names.lines().map(|name| line.replace("%name%", name).replace("%name_re%", &name.replace('.', "\\."))),
            );
        } else {
            lines.push(fixed.iter().fold(line.to_owned(), |line, (word, value)| line.replace(word, value)));
        }
    }
    lines.join("\n") + "\n"
}
