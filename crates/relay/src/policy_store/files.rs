//! Which files a policy was read from, and whether they have changed since: whole, or in place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::moves::Moves;

/// Reads one file of a policy.
pub type ReadFile<'a> = dyn FnMut(&Path) -> io::Result<Vec<u8>> + 'a;

/// More than any policy file may have; what reads it refuses files of that size by name.
const LARGEST: u64 = (16 << 20) + 1;
/// How often the files are read anew when they change while they are read.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// How the files differ from what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    None,
    /// A path leads to another file, put there by a rename or a symlink swap, and none was written in place.
    Whole,
    /// A file was written in place, or made where it is.
    InPlace,
    /// A path leads nowhere, as in the middle of some replacements.
    Missing,
}

/// The files that were read last.
#[derive(Debug, Default)]
pub struct Files {
    seen: Vec<Seen>,
    moves: Moves,
}

/// A file as it was read.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// `None` for one that could not be read.
    identity: Option<Identity>,
    /// Kept open, so that its inode number is not given to another file.
    _held: Option<File>,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    resolved: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Files {
    /// Lets `compile` read files, and remembers them. If any has changed while it did, all is done again.
    pub fn read<T>(&mut self, mut compile: impl FnMut(&mut ReadFile<'_>) -> T) -> T {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut seen = Vec::new();
            let moves = &mut self.moves;
            let result = compile(&mut |path| {
                moves.watch(path);
                let (one, result) = Seen::read(path);
                seen.push(one);
                result
            });
            let steady = seen.iter().all(Seen::steady);
            self.seen = seen;
            if steady || attempt == ATTEMPTS {
                return result;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// How the files differ now from what was read.
    pub fn poll(&mut self) -> Change {
        let now: Vec<_> = self.seen.iter().map(|seen| Identity::of(&seen.path).ok()).collect();
        // After the look: what was seen of a rename is then among its events.
        self.moves.collect();
        let (mut whole, mut in_place, mut missing) = (false, false, false);
        for (seen, now) in self.seen.iter_mut().zip(now) {
            match (&seen.identity, now) {
                (None, None) => {}
                (Some(_), None) => missing = true,
                (None, Some(now)) if self.moves.moved_to(&seen.path, &now.resolved) => whole = true,
                (None, Some(_)) => in_place = true,
                (Some(then), Some(now)) if *then == now => {}
                (Some(then), Some(now)) => {
                    let same_file = (then.device, then.inode) == (now.device, now.inode);
                    if then.resolved != now.resolved {
                        whole = true;
                    } else if same_file && seen.same_bytes() {
                        // Touched, no more.
                        seen.identity = Some(now);
                    } else if !same_file && self.moves.moved_to(&seen.path, &now.resolved) {
                        whole = true;
                    } else {
                        in_place = true;
                    }
                }
            }
        }
        match (missing, in_place, whole) {
            (true, ..) => Change::Missing,
            (_, true, _) => Change::InPlace,
            (_, _, true) => Change::Whole,
            _ => Change::None,
        }
    }
}

impl Seen {
    fn read(path: &Path) -> (Self, io::Result<Vec<u8>>) {
        let mut one = Self { path: path.to_owned(), identity: None, _held: None, bytes: Vec::new() };
        let result = one.fill();
        let result = result.map(|()| one.bytes.clone());
        (one, result)
    }

    fn fill(&mut self) -> io::Result<()> {
        self.identity = Some(Identity::of(&self.path)?);
        let file = open_regular(&self.path)?;
        (&file).take(LARGEST).read_to_end(&mut self.bytes)?;
        self._held = Some(file);
        Ok(())
    }

    /// Whether the file is still what it was just before it was read.
    fn steady(&self) -> bool {
        Identity::of(&self.path).ok() == self.identity
    }

    fn same_bytes(&self) -> bool {
        let mut bytes = Vec::new();
        let read = open_regular(&self.path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
        read.is_ok() && bytes == self.bytes
    }
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let resolved = path.canonicalize()?;
        let meta = std::fs::metadata(&resolved)?;
        Ok(Self {
            resolved,
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

/// Opens a file for reading; a pipe or a device, which could keep its reader waiting for ever, is refused.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    File::open(path)
}
