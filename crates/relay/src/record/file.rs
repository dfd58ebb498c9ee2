//! Where lines go: a file that may be moved away at any time, or stdout. A line is never torn across files.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open target and what it has not taken yet.
#[derive(Debug)]
pub(super) struct Target {
    path: Option<PathBuf>,
    file: File,
    /// Device and inode of `file`.
    identity: (u64, u64),
    /// Whole lines, of which `written` bytes of the first are in the file already.
    pending: Vec<u8>,
    written: usize,
}

impl Target {
    /// Opens a file for appending, or stdout.
    ///
    /// # Errors
    /// When the path leads to something that is not to be appended to, such as a pipe.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path {
            Some(path) => append(path)?,
            // Not the library's stdout, whose own buffer would hold lines that count as written.
            None => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        let identity = identity(&file.metadata()?);
        Ok(Self { path: path.map(Path::to_owned), file, identity, pending: Vec::new(), written: 0 })
    }

    /// The lines that wait to be written; whole lines may be added.
    pub(super) fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Lines that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.pending.split_inclusive(|&byte| byte == b'\n').count() as u64
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
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the path is no longer this file: it was moved away, replaced or deleted.
    pub(super) fn moved_away(&self) -> bool {
        let Some(path) = &self.path else { return false };
        match std::fs::metadata(path) {
            Ok(there) => identity(&there) != self.identity,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Opens the path anew. On an error the old file goes on.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            let fresh = append(path)?;
            self.identity = identity(&fresh.metadata()?);
            self.file = fresh;
            // What was torn off in the old file is written whole to the new one.
            self.written = 0;
        }
        Ok(())
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
}

/// Opens for appending. A file that ends within a line, after a crash, gets that line's end first.
fn append(path: &Path) -> io::Result<File> {
    // Reading is for that last line. It also makes the opening of a pipe return at once.
    let mut file = OpenOptions::new().append(true).read(true).create(true).mode(0o640).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        if file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
    } else if !kind.is_char_device() {
        // A pipe that nobody reads would stop the log for ever, unseen.
        return Err(io::Error::other("it is no file; for a pipe, write to stdout (`path: \"-\"`) and pipe that"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

    use super::*;

    /// A target over a pipe that takes 4 KiB and then no more, and the pipe's other end.
    fn narrow(path: Option<PathBuf>) -> (Target, File) {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        fcntl_setpipe_size(&write, 4096).unwrap();
        (Target { path, file: write.into(), identity: (0, 0), pending: Vec::new(), written: 0 }, read.into())
    }

    fn lines() -> Vec<u8> {
        (0..100).flat_map(|line| format!("{line:098}\n").into_bytes()).collect()
    }

    fn drain(pipe: &mut File, into: &mut Vec<u8>) {
        if let Err(error) = pipe.read_to_end(into) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn what_was_taken_in_part_goes_on_where_it_stopped() {
        let (mut target, mut pipe) = narrow(None);
        target.pending().extend(lines());
        let mut received = Vec::new();
        while let Err(error) = target.flush() {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(target.written > 0, "4096 is within a line");
            drain(&mut pipe, &mut received);
        }
        drain(&mut pipe, &mut received);
        assert!(received == lines() && target.waiting() == 0);
    }

    #[test]
    fn a_line_that_was_torn_off_is_whole_in_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (mut target, mut pipe) = narrow(Some(path.clone()));
        target.pending().extend(lines());
        target.flush().unwrap_err();
        assert_eq!(target.waiting(), 100 - 4096 / 99);
        target.reopen().unwrap();
        target.flush().unwrap();
        let mut received = Vec::new();
        drain(&mut pipe, &mut received);
        assert!(received == lines()[..4096]);
        assert!(std::fs::read(path).unwrap() == lines()[4096 / 99 * 99..]);
    }
}
