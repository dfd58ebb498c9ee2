//! What was renamed into the directories of a policy's files. A new file under an old name may have been renamed there,
//! and is whole, or is still being written; only the kernel's notices tell these apart.

use std::collections::HashMap;
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// Notices of the watched directories. Without inotify nothing counts as renamed, and a change waits for the operator.
#[derive(Debug)]
pub(super) struct Moves {
    notices: Option<OwnedFd>,
    directories: HashMap<i32, PathBuf>,
    /// Of a path that changed hands, whether by a rename.
    last: HashMap<PathBuf, bool>,
}

impl Default for Moves {
    fn default() -> Self {
        let notices = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let notices = notices.inspect_err(|error| {
            tracing::warn!(%error, "no inotify: a changed policy is loaded on SIGHUP only");
        });
        Self { notices: notices.ok(), directories: HashMap::new(), last: HashMap::new() }
    }
}

impl Moves {
    /// Watches the directory of `path`, and that of the file which it leads to.
    pub(super) fn watch(&mut self, path: &Path) {
        self.watch_directory(path);
        if let Ok(resolved) = path.canonicalize() {
            self.watch_directory(&resolved);
        }
    }

    fn watch_directory(&mut self, path: &Path) {
        let Some(notices) = &self.notices else { return };
        let directory = directory(path);
        let what = WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR;
        // A directory that is not there has nothing renamed into it.
        if let Ok(watch) = inotify::add_watch(notices, directory, what) {
            self.directories.insert(watch, directory.to_owned());
        }
    }

    /// Takes the notices that have come.
    pub(super) fn collect(&mut self) {
        let Some(notices) = &self.notices else { return };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(notices, &mut buffer);
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // What is not known to have been renamed counts as written in place.
                self.last.clear();
            }
            let Some((directory, name)) = self.directories.get(&event.wd()).zip(event.file_name()) else {
                continue;
            };
            let path = directory.join(OsString::from_vec(name.to_bytes().to_vec()));
            self.last.insert(path, event.events().contains(ReadFlags::MOVED_TO));
        }
        // Other files of the directory come and go too.
        if self.last.len() > 10_000 {
            self.last.clear();
        }
    }

    /// Whether the last thing that happened to the name, or to the file that it leads to, was a rename.
    pub(super) fn moved_to(&self, path: &Path, resolved: &Path) -> bool {
        let whole = |path: &Path| self.last.get(&directory(path).join(path.file_name().unwrap_or_default())).copied();
        match (whole(path), whole(resolved)) {
            (Some(path), Some(resolved)) => path && resolved,
            (one, other) => one.or(other).unwrap_or(false),
        }
    }
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
