//! What happened to the places of a policy's files. A new file under an old name may have been renamed there, and is
//! whole, or may still be being written; only the kernel's notices tell these apart.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Notices of the watched directories. Without inotify nothing counts as renamed, and a change waits for the operator.
#[derive(Debug)]
pub(super) struct Moves {
    notices: Option<OwnedFd>,
    /// Watched directories and their watches.
    directories: HashMap<PathBuf, i32>,
    /// Of each place, whether the last thing that happened to it was a rename; `None` where nothing did.
    places: HashMap<PathBuf, Option<bool>>,
    version: u64,
}

impl Default for Moves {
    fn default() -> Self {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let notices = notices.inspect_err(|error| {
            tracing::warn!(%error, "no inotify: a changed policy is loaded on SIGHUP only");
        });
        Self { notices: notices.ok(), directories: HashMap::new(), places: HashMap::new(), version: 0 }
    }
}

impl Moves {
    /// Watches a place, which has no symbolic link on its way.
    pub(super) fn watch(&mut self, place: PathBuf) {
        if let Some(directory) = place.parent() {
            self.watch_directory(directory);
        }
        self.places.entry(place).or_default();
    }

    /// Watches these places and no others, and forgets what happened to them.
    pub(super) fn keep(&mut self, places: HashSet<PathBuf>) {
        self.places.clear();
        for place in places {
            self.watch(place);
        }
        let wanted: HashSet<_> = self.places.keys().filter_map(|place| place.parent()).collect();
        let idle: Vec<_> = self.directories.keys().filter(|dir| !wanted.contains(dir.as_path())).cloned().collect();
        for directory in idle {
            self.unwatch(&directory);
        }
    }

    /// Sees to it that the directories which are watched are those that have these names now.
    pub(super) fn renew(&mut self) {
        let directories: Vec<_> = self.directories.keys().cloned().collect();
        for directory in directories {
            self.watch_directory(&directory);
        }
    }

    fn watch_directory(&mut self, directory: &Path) {
        let Some(notices) = &self.notices else { return };
        let what = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::ONLYDIR;
        // A directory that is not there has nothing renamed into it.
        let Ok(watch) = inotify::add_watch(notices, directory, what) else { return };
        match self.directories.get(directory) {
            Some(&old) if old == watch => return,
            Some(_) => self.unwatch(directory),
            None => {}
        }
        self.directories.insert(directory.to_owned(), watch);
    }

    fn unwatch(&mut self, directory: &Path) {
        if let Some((notices, watch)) = self.notices.as_ref().zip(self.directories.remove(directory)) {
            // The kernel has ended the watch by itself if the directory is gone.
            let _ = inotify::remove_watch(notices, watch);
        }
        // What is known of these places is of another directory.
        self.places
            .iter_mut()
            .filter(|(place, _)| place.parent() == Some(directory))
            .for_each(|(_, last)| *last = None);
    }

    /// Takes the notices that have come.
    pub(super) fn collect(&mut self) {
        let Some(notices) = &self.notices else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(notices, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // What is not known to have been renamed counts as written in place.
                self.places.values_mut().for_each(|last| *last = Some(false));
                self.version += 1;
            }
            let directory = self.directories.iter().find(|&(_, &watch)| watch == event.wd()).map(|(path, _)| path);
            let Some((directory, name)) = directory.zip(event.file_name()) else { continue };
            if let Some(last) = self.places.get_mut(&directory.join(OsStr::from_bytes(name.to_bytes()))) {
                *last = Some(event.events().contains(ReadFlags::MOVED_TO));
                self.version += 1;
            }
        }
    }

    /// Grows with every notice of a watched place.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether the last thing that happened to this place was a rename.
    pub(super) fn moved_to(&self, place: &Path) -> bool {
        self.places.get(place).copied().flatten().unwrap_or(false)
    }
}
