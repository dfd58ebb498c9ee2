//! The policy in force, and how a change of its files becomes the next one.
//!
//! A prefix of a YAML file is often a valid and wider policy, so a change is loaded by itself only when it came whole: by
//! a rename or a symlink swap. A file that was written in place is loaded when the operator says so, and until then the
//! node says that it enforces something else.

mod active;
pub mod files;
mod moves;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use sekisho_policy::{Diagnostics, Policy};

pub use active::{Active, RuleUse};
pub use files::ReadFile;

use files::{Change, Files};

/// Makes a policy of a file, reading it and whatever it refers to through the reader. Warnings ride along.
pub type Compile = fn(&Path, &mut ReadFile<'_>) -> Result<(Policy, Diagnostics), Diagnostics>;

/// What an attempt to load came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// Another policy is in force.
    Loaded,
    /// The files mean what is in force already.
    Unchanged,
    /// The files are faulty; the old policy stays.
    Failed,
}

impl ReloadResult {
    /// Every result that there is.
    pub const ALL: &[Self] = &[Self::Loaded, Self::Unchanged, Self::Failed];

    /// The label in log and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// The policy in force and its files.
#[derive(Debug)]
pub struct PolicyStore {
    active: ArcSwap<Active>,
    compile: Compile,
    path: PathBuf,
    state: Mutex<State>,
    differs: AtomicBool,
    reloads: [AtomicU64; ReloadResult::ALL.len()],
}

/// What is known of the files.
#[derive(Debug)]
struct State {
    /// As they were at the last attempt to load them.
    files: Files,
    /// What is wrong with them, if they are not what is in force.
    fault: Option<Fault>,
}

/// Why the files are not what is in force.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Since when.
    pub since: SystemTime,
    /// In one line.
    pub summary: String,
}

impl PolicyStore {
    /// Loads the policy that a node starts with.
    ///
    /// # Errors
    /// Every fault of its files.
    pub fn open(path: &Path, compile: Compile) -> Result<(Self, Diagnostics), Diagnostics> {
        let mut files = Files::default();
        let (policy, warnings) = files.read(|read| compile(path, read))?;
        let store = Self {
            active: ArcSwap::from_pointee(Active::new(policy, None)),
            compile,
            path: path.to_owned(),
            state: Mutex::new(State { files, fault: None }),
            differs: AtomicBool::new(false),
            reloads: Default::default(),
        };
        Ok((store, warnings))
    }

    /// The policy in force: a snapshot that one connection keeps to its end.
    pub fn current(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The policy's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files are not what is in force.
    pub fn differs(&self) -> bool {
        self.differs.load(Ordering::Relaxed)
    }

    /// Why they are not.
    pub fn fault(&self) -> Option<Fault> {
        self.state().fault.clone()
    }

    /// How many attempts to load came to `result`.
    pub fn reloads(&self, result: ReloadResult) -> u64 {
        self.reloads.get(result as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Looks at the files, and loads them if they have changed and came whole. To be called each second; blocks.
    pub fn poll(&self) -> Option<ReloadResult> {
        let mut state = self.state();
        match state.files.poll() {
            Change::None => {
                // A file that was written in place and then put back is what is in force after all.
                if state.fault.as_ref().is_some_and(|fault| fault.summary == IN_PLACE || fault.summary == MISSING) {
                    self.settle(&mut state, None);
                }
                None
            }
            Change::Whole => Some(self.load(&mut state)),
            Change::InPlace => {
                self.wait_for_word(&mut state, IN_PLACE);
                None
            }
            Change::Missing => {
                self.wait_for_word(&mut state, MISSING);
                None
            }
        }
    }

    /// Loads the files as they are now, however they came. Blocks.
    pub fn reload(&self) -> ReloadResult {
        self.load(&mut self.state())
    }

    fn load(&self, state: &mut State) -> ReloadResult {
        let compiled = state.files.read(|read| (self.compile)(&self.path, read));
        let result = match compiled {
            Ok((policy, warnings)) => {
                self.settle(state, None);
                let old = self.current();
                let unchanged = policy.digest() == old.policy.digest();
                let (digest, rules) = (policy.digest().to_owned(), policy.rules().len());
                // Also when it means the same: owners and places of rules may have changed.
                self.active.store(Arc::new(Active::new(policy, Some(&old))));
                if warnings.warnings() > 0 {
                    tracing::warn!("the policy has warnings:\n{}", warnings.human());
                }
                tracing::info!(digest, rules, unchanged, "policy loaded");
                if unchanged { ReloadResult::Unchanged } else { ReloadResult::Loaded }
            }
            Err(faults) => {
                tracing::error!("the policy is faulty; the old one stays in force:\n{}", faults.human());
                let first = faults.iter().next().map_or("unreadable", |fault| &fault.message);
                self.settle(state, Some(format!("{} faults, the first: {first}", faults.errors())));
                ReloadResult::Failed
            }
        };
        if let Some(count) = self.reloads.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// The files are something else, and nothing is done about it. Said once.
    fn wait_for_word(&self, state: &mut State, summary: &str) {
        if state.fault.as_ref().is_none_or(|fault| fault.summary != summary) {
            tracing::warn!(path = %self.path.display(), "the policy's files differ from what is in force: {summary}");
            self.settle(state, Some(summary.to_owned()));
        }
    }

    fn settle(&self, state: &mut State, fault: Option<String>) {
        self.differs.store(fault.is_some(), Ordering::Relaxed);
        state.fault = fault.map(|summary| Fault { since: SystemTime::now(), summary });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IN_PLACE: &str = "a file was written in place, so it may not be whole; SIGHUP loads it as it is";
const MISSING: &str = "a file is missing";
