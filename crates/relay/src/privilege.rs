//! Capabilities: at most one is ever used, to make listening sockets transparent, and after that there is none.

use std::fs;
use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};

/// Either is enough for `IP_TRANSPARENT` (ip(7) tells of the first, the kernel takes the second as well since 3.2).
const TRANSPARENT: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// Why capabilities could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum ShedError {
    /// The kernel refused.
    #[error("cannot give up capabilities")]
    Refused(#[from] rustix::io::Errno),
    /// Whether every thread has given them up cannot be seen.
    #[error("cannot see in /proc/self/task whether capabilities are given up")]
    Unseen(#[source] io::Error),
    /// A thread was there before, and has its own.
    #[error("thread {thread} still has capabilities, {permitted}")]
    Left {
        /// Its id.
        thread: String,
        /// Its permitted set, as the kernel writes it.
        permitted: String,
    },
}

/// Makes the calling thread's capability for transparent sockets effective, if it is permitted one. Answers whether.
pub(crate) fn raise() -> bool {
    capabilities(None).is_ok_and(|mut sets| {
        let may = sets.permitted & TRANSPARENT;
        sets.effective |= may;
        !may.is_empty() && set_capabilities(None, sets).is_ok()
    })
}

/// Gives up every capability for good: none is left in any set, and no program that is executed gets one back. The
/// kernel knows capabilities by thread, so this comes before other threads do, and then looks whether it was so.
pub(crate) fn shed() -> Result<(), ShedError> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // A filter of system calls that leaves a process without capabilities no way to set any (the unit of deploy/ has one)
    // is right.
    if capabilities(None)? != none {
        set_capabilities(None, none)?;
    }
    for task in fs::read_dir("/proc/self/task").map_err(ShedError::Unseen)? {
        let task = task.map_err(ShedError::Unseen)?;
        let status = match fs::read_to_string(task.path().join("status")) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(ShedError::Unseen(error)),
        };
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).map_or("", str::trim);
        if permitted.bytes().any(|digit| digit != b'0') || permitted.is_empty() {
            let thread = task.file_name().to_string_lossy().into_owned();
            return Err(ShedError::Left { thread, permitted: permitted.to_owned() });
        }
    }
    Ok(())
}
