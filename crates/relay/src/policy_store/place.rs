//! Where a path leads, and which file is there.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// As many symbolic links as the kernel follows on one path.
const MOST_LINKS: usize = 40;

/// Seconds and nanoseconds on the clock of the file system.
type Time = (i64, i64);

/// The file that a path leads to. Whatever changes a file or puts another in its place changes this: the time of the
/// last change, unlike that of the last write, cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The path without symbolic links.
    pub(super) resolved: PathBuf,
    pub(super) size: u64,
    device: u64,
    inode: u64,
    changed: Time,
    /// When the newest symbolic link on the way was put there.
    linked: Option<Time>,
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let Followed { resolved, meta, linked } = follow(path)?;
        let (device, inode, size) = (meta.dev(), meta.ino(), meta.size());
        Ok(Self { resolved, size, device, inode, changed: changed(&meta), linked })
    }

    /// Whether it is the same file in the same place.
    pub(super) fn same_file(&self, other: &Self) -> bool {
        (&self.resolved, self.device, self.inode) == (&other.resolved, other.device, other.inode)
    }

    /// Whether a symbolic link has been turned to this file, and nothing has happened to the file since.
    pub(super) fn swapped_in(&self, before: Option<&Self>) -> bool {
        let elsewhere = before.is_none_or(|before| before.resolved != self.resolved);
        elsewhere && self.linked.is_some_and(|linked| self.changed <= linked)
    }
}

/// Where a name stands: its directory without symbolic links, and itself. A rename puts a file there.
pub(super) fn place(path: &Path) -> Option<PathBuf> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(follow(directory).ok()?.resolved.join(path.file_name()?))
}

struct Followed {
    resolved: PathBuf,
    meta: Metadata,
    linked: Option<Time>,
}

/// Follows a path link by link, as the kernel does.
fn follow(path: &Path) -> io::Result<Followed> {
    let parts =
        |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let mut rest = parts(&std::path::absolute(path)?);
    let mut resolved = PathBuf::from("/");
    let mut meta = fs::symlink_metadata(&resolved)?;
    let (mut linked, mut links) = (None, 0);
    while let Some(part) = rest.pop() {
        match part.as_encoded_bytes() {
            b"." => continue,
            // What stands here is no link, so its parent is the one by name.
            b".." => resolved.pop(),
            _ => {
                resolved.push(part);
                true
            }
        };
        meta = fs::symlink_metadata(&resolved)?;
        if meta.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            linked = linked.max(Some(changed(&meta)));
            rest.extend(parts(&fs::read_link(&resolved)?));
            resolved.pop();
            meta = fs::symlink_metadata(&resolved)?;
        }
    }
    Ok(Followed { resolved, meta, linked })
}

fn changed(meta: &Metadata) -> Time {
    (meta.ctime(), meta.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_as_the_kernel_follows_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/file"), "").unwrap();
        symlink("a/b", at("relative")).unwrap();
        symlink(at("relative"), at("absolute")).unwrap();
        symlink("../b/./file", at("a/b/up")).unwrap();
        for path in ["a/b/file", "relative/file", "absolute/../b/up", "relative/../../a//b/up", "absolute/."] {
            let followed = follow(&at(path)).unwrap();
            assert_eq!(followed.resolved, at(path).canonicalize().unwrap(), "{path}");
            assert_eq!(followed.meta.ino(), fs::metadata(at(path)).unwrap().ino(), "{path}");
            assert_eq!(followed.linked.is_some(), path != "a/b/file", "{path}");
        }
        assert_eq!(follow(Path::new("Cargo.toml")).unwrap().resolved, Path::new("Cargo.toml").canonicalize().unwrap());
        assert_eq!(
            place(&at("absolute/new")),
            Some(at("a/b/new").parent().unwrap().canonicalize().unwrap().join("new"))
        );

        symlink("loop", at("loop")).unwrap();
        assert_eq!(follow(&at("loop")).err().unwrap().kind(), at("loop").canonicalize().unwrap_err().kind());
        assert!(follow(&at("a/b/file/further")).is_err() && follow(&at("none")).is_err());
    }
}
