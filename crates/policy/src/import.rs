//! Other programs' lists as a policy: YAML that `check` accepts, with what did not carry over in its comments.
//!
//! An import never opens more than what it was made from, files that squid.conf includes aside: those it names, unread. What cannot be said in a policy is left out where leaving it
//! out shuts something, and what `check` would refuse stands in a comment with the reason.

mod draft;
mod hosts;
mod network_firewall;
mod set;
mod squid;

use std::path::Path;

use crate::document;
use crate::files::{FileError, Files};
use crate::load::MAX_LIST_BYTES;

/// What kind of file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A `dstdomain` list, or a `squid.conf`: then its `acl` and `http_access` lines.
    Squid,
    /// `/etc/hosts`, or a list of names.
    Hosts,
    /// A rule group of AWS Network Firewall, as JSON.
    NetworkFirewall,
}

/// A policy made of another program's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// policy.yaml.
    pub text: String,
    /// What did not carry over, a sentence each; all of it stands in the text too.
    pub notes: Vec<String>,
}

/// Why there is nothing to print.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Read(FileError),
    /// It is not UTF-8; the first byte that is not.
    NotUtf8(usize),
    /// It has more names than a policy holds in line.
    TooManyNames(usize),
    /// It is no JSON, or no rule group.
    NotARuleGroup(String),
    /// What was made of it is no policy, which is a fault of this program's.
    Unproven(String),
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot read it: {error}"),
            Self::NotUtf8(at) => write!(f, "byte {at} is not UTF-8"),
            Self::TooManyNames(count) => write!(
                f,
                "{count} names are too many to stand in a policy: list a dstdomain file as it is, under `hosts_files:`"
            ),
            Self::NotARuleGroup(why) => write!(f, "it is no rule group of AWS Network Firewall: {why}"),
            Self::Unproven(why) => write!(f, "what was made of it is no policy, which is a bug: {why}"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads a file as `from` says. `now` in Unix seconds is when the result is checked.
///
/// # Errors
/// [`ImportError`] says why nothing can be made of it. A name that cannot be allowed is none: it becomes a comment.
pub fn import(from: From, path: &Path, files: &dyn Files, now: i64) -> Result<Import, ImportError> {
    let limit = if from == From::NetworkFirewall { document::Limits::default().bytes } else { MAX_LIST_BYTES };
    let text = read(path, files, limit)?;
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    let draft = match from {
        From::Squid => squid::draft(&text, &name, files),
        From::Hosts => hosts::draft(&text, &name),
        From::NetworkFirewall => network_firewall::draft(&text, &name)?,
    };
    draft.finish(now)
}

fn read(path: &Path, files: &dyn Files, limit: usize) -> Result<String, ImportError> {
    let bytes = files.read(path, limit).map_err(ImportError::Read)?;
    let text = String::from_utf8(bytes).map_err(|error| ImportError::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
