//! What a run leaves: everything about it in one file, of which all tables and plots are made.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cell::Cell;
use crate::growth::Point;
use crate::micro::Micro;
use crate::options::{Options, cores};

/// `results.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) run: Run,
    /// The rows, in their order.
    pub(crate) gates: Vec<Gate>,
    pub(crate) cells: Vec<Cell>,
    #[serde(default)]
    pub(crate) growth: Vec<Point>,
    #[serde(default)]
    pub(crate) micro: Vec<Micro>,
}

/// Where and how it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    /// `YYYY-MM-DD`, UTC.
    pub(crate) date: String,
    /// The processor, as it calls itself.
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of each gate.
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    /// `full`, `quick` or `check`.
    pub(crate) scale: String,
    /// What was built, by git.
    pub(crate) commit: String,
}

/// A row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gate {
    pub(crate) id: String,
    pub(crate) version: String,
}

impl Run {
    /// This machine, now.
    pub(crate) fn here(options: &Options) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let processor = value(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
        let memory = value(&meminfo, "MemTotal").and_then(|kib| kib.trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            processor,
            cores: cores(),
            memory_mib: memory.unwrap_or(0) / 1024,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            threads: options.threads(),
            rounds: options.rounds(),
            scale: format!("{:?}", options.scale()).to_lowercase(),
            commit: commit().unwrap_or_default(),
        }
    }

    /// `<date>-<machine>`: the machine as its processor and cores, never as its own name.
    pub(crate) fn name(&self) -> String {
        let words = self.processor.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let processor = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
        format!("{}-{processor}-{}-cores", self.date, self.cores)
    }
}

impl Results {
    /// Writes `results.json`.
    pub(crate) fn save(&self, directory: &Path) -> Result<()> {
        self.save_as(&directory.join("results.json"))
    }

    /// Writes the same to any file.
    pub(crate) fn save_as(&self, file: &Path) -> Result<()> {
        fs::write(file, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Reads `results.json`.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let file = directory.join("results.json");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not what a bench wrote", file.display()))
    }
}

fn value(text: &str, key: &str) -> Option<String> {
    let (_, value) = text.lines().find(|line| line.starts_with(key))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(lab::workspace());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
