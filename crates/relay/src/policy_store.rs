//! The policy in force, and how a change of its files becomes the next one.
//!
//! A prefix of a YAML file is often a valid and wider policy, so a change is loaded by itself only when it came whole: by
//! a rename or a symlink swap. A file that was written in place is loaded when the operator says so, and until then the
//! node says that it enforces something else.

mod active;
mod files;
mod moves;
mod place;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use sekisho_policy::diagnostic::{Location, visible};
use sekisho_policy::{Diagnostic, Diagnostics, Loaded, Policy, Severity};

pub use active::{Active, RuleUse};

use files::{Change, Files};

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
    /// Policies that were in force and that a connection may still keep. This holds on to them, so that it is never a
    /// worker that frees a million names: the last reference is given up here, by who loads and polls.
    replaced: Mutex<Vec<Arc<Active>>>,
    /// How many workers there are: each counts by itself.
    workers: usize,
    path: PathBuf,
    /// As they were at the last attempt to load them. Held while files are read, so only who loads may wait for it.
    files: Mutex<Files>,
    faults: Mutex<Faults>,
    reloads: [AtomicU64; ReloadResult::ALL.len()],
}

/// Why the files are not what is in force.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Since when.
    pub since: SystemTime,
    /// In one line.
    pub summary: String,
}

#[derive(Debug, Default)]
struct Faults {
    /// The last attempt to load failed.
    failed: Option<Fault>,
    /// The files have changed since the last attempt, in a way that waits for the operator.
    waiting: Option<Fault>,
}

impl PolicyStore {
    /// Loads the policy that a node with so many workers starts with, and answers it with its warnings. Blocks.
    ///
    /// # Errors
    /// Every fault of its files.
    pub fn open(path: &Path, workers: usize) -> Result<(Self, Diagnostics), Diagnostics> {
        let mut files = Files::default();
        let (loaded, read) = files.read(|reader| load(path, reader)).ok_or_else(|| unsteady(path))?;
        let Loaded { policy, warnings, .. } = loaded?;
        files.keep(read);
        let store = Self {
            active: ArcSwap::from_pointee(Active::new(policy, None, workers)),
            replaced: Mutex::default(),
            workers,
            path: path.to_owned(),
            files: Mutex::new(files),
            faults: Mutex::default(),
            reloads: Default::default(),
        };
        Ok((store, warnings))
    }

    /// The policy in force: a snapshot that one connection keeps to its end.
    pub fn current(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// The policy in force, for a look that is over at once: costs no write that other threads see.
    pub fn glance(&self) -> Guard<Arc<Active>> {
        self.active.load()
    }

    /// The policy's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files are not what is in force.
    pub fn differs(&self) -> bool {
        let faults = self.faults();
        faults.waiting.is_some() || faults.failed.is_some()
    }

    /// Why they are not.
    pub fn fault(&self) -> Option<Fault> {
        let faults = self.faults();
        faults.waiting.clone().or_else(|| faults.failed.clone())
    }

    /// How many attempts to load came to `result`.
    pub fn reloads(&self, result: ReloadResult) -> u64 {
        self.reloads.get(result as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Looks at the files, and loads them if they have changed and came whole. To be called each second; blocks.
    pub fn poll(&self) -> Option<ReloadResult> {
        self.free_replaced();
        let mut files = self.files();
        match files.poll() {
            // Also after a file was written in place and then put back.
            Change::None => self.faults().waiting = None,
            Change::InPlace => self.wait(IN_PLACE),
            Change::Missing => self.wait(MISSING),
            Change::Whole => return self.load_if_whole(&mut files),
        }
        None
    }

    /// Loads the files as they are now, however they came. Blocks.
    pub fn reload(&self) -> ReloadResult {
        let mut files = self.files();
        match files.read(|reader| load(&self.path, reader)) {
            Some((loaded, read)) => {
                files.keep(read);
                self.conclude(loaded)
            }
            None => self.conclude(Err(unsteady(&self.path))),
        }
    }

    /// Loads the files unless one that was read differs from before in another way: it may have been written between
    /// the rename that was seen and now.
    fn load_if_whole(&self, files: &mut Files) -> Option<ReloadResult> {
        let Some((loaded, read)) = files.read(|reader| load(&self.path, reader)) else {
            self.wait(UNSTEADY);
            return None;
        };
        let change = files.judge(&read);
        match change {
            Change::None | Change::Whole => {
                files.keep(read);
                return Some(self.conclude(loaded));
            }
            Change::InPlace => self.wait(IN_PLACE),
            Change::Missing => self.wait(MISSING),
        }
        files.settle_for(change);
        None
    }

    /// Puts what was loaded in force, or says what is wrong with it.
    fn conclude(&self, loaded: Result<Loaded, Diagnostics>) -> ReloadResult {
        let (result, failed) = match loaded {
            Ok(Loaded { policy, warnings, .. }) => {
                let old = self.current();
                let unchanged = policy.digest() == old.policy.digest();
                let (digest, rules) = (policy.digest().to_owned(), policy.rules().len());
                // Also when it means the same: owners and places of rules may have changed.
                let new = Arc::new(Active::new(policy, Some(&old), self.workers));
                self.replaced().push(self.active.swap(new));
                drop(old);
                self.free_replaced();
                if warnings.warnings() > 0 {
                    tracing::warn!("the policy has warnings:\n{}", warnings.human());
                }
                tracing::info!(digest, rules, unchanged, "policy loaded");
                (if unchanged { ReloadResult::Unchanged } else { ReloadResult::Loaded }, None)
            }
            Err(faults) => {
                tracing::error!("the policy is faulty; the old one stays in force:\n{}", faults.human());
                (ReloadResult::Failed, Some(Fault { since: SystemTime::now(), summary: summary(&faults) }))
            }
        };
        *self.faults() = Faults { failed, waiting: None };
        if let Some(count) = self.reloads.get(result as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// The files are something else, and nothing is done about it. Said once.
    fn wait(&self, summary: &str) {
        let waiting = &mut self.faults().waiting;
        if waiting.as_ref().is_none_or(|fault| fault.summary != summary) {
            tracing::warn!(path = %self.path.display(), "the policy's files differ from what is in force: {summary}");
            *waiting = Some(Fault { since: SystemTime::now(), summary: summary.to_owned() });
        }
    }

    /// Frees the policies that no connection keeps any more. Nobody can take one up again.
    fn free_replaced(&self) {
        self.replaced().retain(|old| Arc::strong_count(old) > 1);
    }

    fn replaced(&self) -> MutexGuard<'_, Vec<Arc<Active>>> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IN_PLACE: &str = "a file was written in place, so it may not be whole; SIGHUP loads it as it is";
const MISSING: &str = "a file is missing or cannot be reached";
const UNSTEADY: &str = "the files change while they are read";

fn load(path: &Path, files: &dyn sekisho_policy::Files) -> Result<Loaded, Diagnostics> {
    // A clock before 1970 loads as at its beginning, when nothing has expired.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Policy::load_from(path, files, i64::try_from(now).unwrap_or(i64::MAX))
}

fn unsteady(path: &Path) -> Diagnostics {
    let mut faults = Diagnostics::new();
    let file = Arc::from(path.display().to_string());
    let fault = Diagnostic::error("unsteady-file", format!("{UNSTEADY}, so none of what was read is whole"));
    faults.push(fault.at(Location::file(&file)).help("replace files by renaming finished ones over them"));
    faults
}

/// How many faults there are, and the first.
fn summary(faults: &Diagnostics) -> String {
    let Some(first) = faults.iter().find(|fault| fault.severity == Severity::Error) else {
        return "unreadable".to_owned();
    };
    let place = first.location.as_ref().map(|place| match place.line {
        0 => format!("{}: ", visible(&place.file)),
        line => format!("{}:{line}: ", visible(&place.file)),
    });
    let more = match faults.errors() {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    format!("{}{}{more}", place.unwrap_or_default(), visible(&first.message))
}
