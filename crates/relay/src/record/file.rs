//! Where lines go: a file that may be moved away at any time, or stdout. A line is never torn across files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open target and what it has not taken yet.
#[derive(Debug)]
pub(super) struct Target {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Whole lines, of which `written` bytes of the first are in the file already.
    pending: Vec<u8>,
    written: usize,
}

impl Target {
    /// Opens a file for appending, or stdout.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(append).transpose()?;
        Ok(Self { path: path.map(Path::to_owned), file, pending: Vec::new(), written: 0 })
    }

    /// The lines that wait to be written; whole lines may be added.
    pub(super) fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Lines that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.pending.iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    /// Writes all that waits. What an error leaves is kept for the next time.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.write_on();
        // Only whole lines are dropped, so that the rest of a torn one can be written whole to another file.
        let whole = self.pending.get(..self.written).and_then(|done| done.iter().rposition(|&byte| byte == b'\n'));
        if let Some(last) = whole {
            self.pending.drain(..=last);
            self.written -= last + 1;
        }
        result
    }

    fn write_on(&mut self) -> io::Result<()> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            let result = match &mut self.file {
                Some(file) => file.write(rest),
                None => io::stdout().write(rest),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match &self.file {
            Some(_) => Ok(()),
            None => io::stdout().flush(),
        }
    }

    /// Whether the path is no longer this file: it was moved away, replaced or deleted.
    pub(super) fn moved_away(&self) -> bool {
        let (Some(path), Some(file)) = (&self.path, &self.file) else { return false };
        match (std::fs::metadata(path), file.metadata()) {
            (Ok(there), Ok(here)) => (there.dev(), there.ino()) != (here.dev(), here.ino()),
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Opens the path anew. On an error the old file goes on.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let fresh = append(path)?;
            self.file = Some(fresh);
            // What was torn off in the old file is written whole to the new one.
            self.written = 0;
        }
        Ok(())
    }
}

/// Opens for appending. A file that ends within a line, after a crash, gets that line's end first.
fn append(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().append(true).read(true).create(true).mode(0o640).open(path)?;
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}
