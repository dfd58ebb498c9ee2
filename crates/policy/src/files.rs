//! The one way by which files are read, so that tests need no disk.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Location};
use crate::document;

/// Reads whole files.
pub trait Files {
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FileError`] says why there is nothing to read.
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError>;
}

/// Why a file could not be read.
#[derive(Debug)]
pub enum FileError {
    /// It has more bytes than the limit.
    TooLarge,
    /// It is no regular file: a directory, a pipe, a device.
    NotAFile,
    /// The system said no.
    Io(io::Error),
}

impl FileError {
    /// The fault that this is of a file that was to have at most `limit` bytes.
    pub(crate) fn fault(&self, file: &Arc<str>, limit: usize) -> Diagnostic {
        match self {
            Self::TooLarge => document::too_large(file, limit),
            other => {
                Diagnostic::error("unreadable-file", format!("cannot read the file: {other}")).at(Location::file(file))
            }
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("it is too large"),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// Files on disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        // Asked before opening: opening a pipe that nobody writes to would wait for ever.
        let about = fs::metadata(path).map_err(|error| {
            let link = error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_ok();
            FileError::Io(if link { io::Error::other("it is a symbolic link to nothing") } else { error })
        })?;
        if !about.is_file() {
            return Err(FileError::NotAFile);
        }
        if about.len() > limit as u64 {
            return Err(FileError::TooLarge);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
        // It may have grown since.
        let file = fs::File::open(path).map_err(FileError::Io)?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(FileError::Io)?;
        if bytes.len() > limit { Err(FileError::TooLarge) } else { Ok(bytes) }
    }
}
