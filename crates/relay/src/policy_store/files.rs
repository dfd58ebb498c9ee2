//! Which files a policy was read from, and whether they have changed since: whole, or in place.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use sekisho_policy::FileError;

use super::moves::Moves;
use super::place::{Identity, place};

/// How often the files are read anew when they change while they are read.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How files differ from what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Not at all.
    None,
    /// A path leads to another file, put there by a rename or a symlink swap. Others may have changed otherwise.
    Whole,
    /// A file was written in place, or made where it is.
    InPlace,
    /// A path leads nowhere, as in the middle of some replacements.
    Missing,
}

/// The files that were read last.
#[derive(Debug, Default)]
pub(super) struct Files {
    seen: Vec<Seen>,
    moves: Moves,
    look: Option<Look>,
}

/// What the last poll found. As long as nothing happens, the next one finds the same, and need not read files for it.
#[derive(Debug)]
struct Look {
    now: Vec<Option<Identity>>,
    version: u64,
    change: Change,
}

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    path: PathBuf,
    /// `None` for one that was not there.
    identity: Option<Identity>,
    /// Of its bytes; `None` if they could not be read.
    hash: Option<u64>,
    limit: usize,
}

impl Files {
    /// Lets `load` read files. If any changed meanwhile, all is done again; `None` when they would not hold still.
    pub(super) fn read<T>(&mut self, load: impl Fn(&dyn sekisho_policy::Files) -> T) -> Option<(T, Vec<Seen>)> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let reader = Reader { moves: RefCell::new(&mut self.moves), seen: RefCell::default() };
            let result = load(&reader);
            let seen = reader.seen.into_inner();
            // Before the last look at the files: then no notice of what was read is left to be mistaken for a later one.
            self.moves.collect();
            if seen.iter().all(|seen| Identity::of(&seen.path).ok() == seen.identity) {
                return Some((result, seen));
            }
        }
        None
    }

    /// How what was read now came to differ from what was read before: worst first, so not `Whole` if any file was
    /// written in place or is missing. A file that was not read before is taken as it is.
    pub(super) fn judge(&self, read: &[Seen]) -> Change {
        let old: HashMap<_, _> = self.seen.iter().map(|seen| (seen.path.as_path(), seen)).collect();
        let changes = read.iter().filter_map(|new| {
            let old = old.get(new.path.as_path())?;
            Some(old.change(new.identity.as_ref(), &self.moves, || new.hash.is_some() && new.hash == old.hash))
        });
        changes.max_by_key(|&change| change as u8).unwrap_or(Change::None)
    }

    /// Compares with these from now on.
    pub(super) fn keep(&mut self, read: Vec<Seen>) {
        let resolved = read.iter().filter_map(|seen| Some(seen.identity.as_ref()?.resolved.clone()));
        self.moves.keep(read.iter().filter_map(|seen| place(&seen.path)).chain(resolved).collect());
        self.seen = read;
        self.look = None;
    }

    /// Goes on finding `change` until something happens.
    pub(super) fn settle_for(&mut self, change: Change) {
        if let Some(look) = &mut self.look {
            look.change = change;
        }
    }

    /// How the files differ now from what was read.
    pub(super) fn poll(&mut self) -> Change {
        self.moves.renew();
        let now: Vec<_> = self.seen.iter().map(|seen| Identity::of(&seen.path).ok()).collect();
        // After the look: what was seen of a rename is then among its notices, or will be among the next.
        self.moves.collect();
        let version = self.moves.version();
        if let Some(look) = self.look.as_ref().filter(|look| look.version == version && look.now == now) {
            return look.change;
        }
        let changes: Vec<_> = self
            .seen
            .iter()
            .zip(&now)
            .map(|(seen, now)| seen.change(now.as_ref(), &self.moves, || seen.same()))
            .collect();
        // A whole change may be a policy that has no use any more for what else has changed, so it comes first.
        let order = [Change::Whole, Change::Missing, Change::InPlace];
        let change = order.into_iter().find(|change| changes.contains(change)).unwrap_or(Change::None);
        self.look = Some(Look { now, version, change });
        change
    }
}

impl Seen {
    /// How the file there now came to differ. `same` says whether it has the same bytes.
    fn change(&self, now: Option<&Identity>, moves: &Moves, same: impl FnOnce() -> bool) -> Change {
        let then = self.identity.as_ref();
        let Some(now) = now else { return if then.is_some() { Change::Missing } else { Change::None } };
        if then == Some(now) {
            return Change::None;
        }
        let whole = now.swapped_in(then) || moves.moved_to(&now.resolved);
        let same_file = then.is_some_and(|then| then.same_file(now));
        // Touched, or moved away and back, or copied over itself: no change.
        if (same_file || !whole) && then.is_some_and(|then| then.size == now.size) && same() {
            Change::None
        } else if whole {
            Change::Whole
        } else {
            Change::InPlace
        }
    }

    /// Whether the file there now has the same bytes.
    fn same(&self) -> bool {
        let now = open(&self.path).and_then(|file| {
            let (mut hasher, mut file) = (DefaultHasher::new(), file.take(self.limit as u64 + 1));
            let mut buffer = vec![0; 64 << 10];
            loop {
                match file.read(&mut buffer).map_err(FileError::Io)? {
                    0 => return Ok(hasher.finish()),
                    count => hasher.write(buffer.get(..count).unwrap_or_default()),
                }
            }
        });
        now.ok().is_some_and(|now| self.hash == Some(now))
    }
}

/// Reads files for one attempt to load a policy, and notes what it read.
struct Reader<'a> {
    moves: RefCell<&'a mut Moves>,
    seen: RefCell<Vec<Seen>>,
}

impl sekisho_policy::Files for Reader<'_> {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        let identity = Identity::of(path).ok();
        let mut moves = self.moves.borrow_mut();
        let resolved = identity.as_ref().map(|identity| identity.resolved.clone());
        place(path).into_iter().chain(resolved).for_each(|place| moves.watch(place));
        let bytes = read(path, limit);
        let hash = bytes.as_ref().ok().map(|bytes| {
            let mut hasher = DefaultHasher::new();
            hasher.write(bytes);
            hasher.finish()
        });
        self.seen.borrow_mut().push(Seen { path: path.to_owned(), identity, hash, limit });
        bytes
    }
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let file = open(path)?;
    let size = file.metadata().map_err(FileError::Io)?.len();
    if size > limit as u64 {
        return Err(FileError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may have grown since.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Io)?;
    if bytes.len() > limit { Err(FileError::TooLarge) } else { Ok(bytes) }
}

/// Opens a regular file. A pipe that nobody writes to, which would keep its reader waiting for ever, is opened without
/// waiting and refused.
fn open(path: &Path) -> Result<File, FileError> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(|error| {
        let dangling = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok();
        FileError::Io(if dangling { io::Error::other("it is a symbolic link to nothing") } else { error })
    })?;
    if file.metadata().map_err(FileError::Io)?.is_file() { Ok(file) } else { Err(FileError::NotAFile) }
}
