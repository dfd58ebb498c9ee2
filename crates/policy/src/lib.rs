//! policy.yaml to decisions, as a building of three storeys: a *document* (YAML with positions), its *meaning* (rules and
//! the names that they list, every fault found at once), and the *questions* that are asked of it.
//!
//! No clock, no network, no async: time and bytes are arguments, and files come through one small seam.

pub mod diagnostic;
mod diff;
pub mod document;
mod explain;
pub mod export;
mod files;
#[doc(hidden)]
pub mod fuzz;
pub mod import;
mod index;
mod listing;
mod load;
mod lookalike;
mod pattern;
mod policy;
mod rule;
mod s3;
mod schema;
pub mod sets;
mod space;
mod suffix;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use diff::{Change, Conditions, Diff, Effect, Names, Set};
pub use explain::{Explanation, Match, Miss, Patch};
pub use files::{Disk, FileError, Files};
pub use listing::ListedName;
pub use load::{Loaded, MAX_LIST_BYTES, MAX_LIST_NAMES, MAX_NAMES, MAX_RULES};
pub use policy::Policy;
pub use rule::{
    Access, Action, Decision, Mode, OnRevoke, Place, Protocol, Reason, Request, RuleId, RuleInfo, Upstream,
};
pub use s3::read::{S3Name, s3_name, s3_names};
pub use schema::schema;
pub use space::{Outcome, Verdict};
