//! policy.yaml to decisions, as a building of three storeys: a *document* (YAML with positions), its *meaning* (rules and
//! the names that they list, every fault found at once), and the *questions* that are asked of it.
//!
//! No clock, no network, no async: time and bytes are arguments, and files come through one small seam.
//!
//! # The document
//!
//! [`Policy::load`] reads a file and the lists beside it, [`Policy::load_from`] those that a [`Files`] gives, and
//! [`Policy::parse`] a text. What is wrong comes as [`Diagnostics`], each with its place; [`schema`] is the form for editors.
//! [`document`] is the YAML itself, [`import`] makes it of other programs' lists.
//!
//! # Its meaning
//!
//! A [`Policy`] has rules ([`RuleInfo`]) and the names that they list ([`ListedName`]). Buckets are names by then: [`s3_names`].
//! [`sets`] are the names that a policy may include.
//!
//! # The questions
//!
//! - What becomes of a [`Request`]? [`Policy::decide`], which is what the gate asks, and [`Policy::outcome`] with the addresses.
//! - Why, and what would have to be otherwise? [`Policy::explain`] and [`Policy::patch`].
//! - What does a change change? [`Policy::diff`], and [`Policy::digest`] in 64 digits.
//! - How do other programs say the same? [`export`].
//!
//! ```
//! use sekisho_name::Name;
//! use sekisho_policy::{Decision, Policy, Protocol, Request};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = 1_795_521_600; // 2026-11-24 12:00 UTC
//! let parse = |text: &str| Policy::parse("policy.yaml", text, now).map_err(|faults| format!("{faults:?}"));
//! let old = parse("version: 1\nrules:\n  - { name: partner, owner: web, hosts: [api.partner.example] }\n")?.policy;
//!
//! let name = Name::parse("www.partner.example")?;
//! let request = Request { name: &name, client: "10.20.0.7".parse()?, port: 443, protocol: Protocol::Tls, now, vpce: None, ech: false };
//! assert!(matches!(old.decide(&request), Decision::Refuse { rule: None, .. }));
//! assert!(old.explain(&request).to_string().starts_with("refused (no_rule)"));
//!
//! let new = parse("version: 1\nrules:\n  - { name: partner, owner: web, hosts: ['*.partner.example'] }\n")?.policy;
//! assert!(matches!(new.decide(&request), Decision::Allow { .. }));
//! assert!(old.diff(&new).opens() && old.digest() != new.digest());
//! # Ok(())
//! # }
//! ```

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

// The document: text with positions, files, and what is found wrong with it.
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use files::{Disk, FileError, Files};
pub use load::{Loaded, MAX_LIST_BYTES, MAX_LIST_NAMES, MAX_NAMES, MAX_RULES, is_vpc_endpoint};
pub use schema::schema;

// Its meaning: a policy, its rules, and the names that they list.
pub use listing::ListedName;
pub use policy::Policy;
pub use rule::{Access, Action, Ech, Mode, OnMismatch, OnRevoke, Place, Protocol, RuleId, RuleInfo, Upstream};
pub use s3::read::{S3Name, s3_name, s3_names};

// The questions: what becomes of a request, why, and what a change of policy changes.
pub use diff::{AccessChange, Change, Conditions, Diff, Effect, Endpoints, Names, Set};
pub use explain::{Explanation, Match, Miss, Patch};
pub use rule::{Decision, Reason, Request};
pub use space::{Outcome, Verdict};
