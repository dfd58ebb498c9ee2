//! From policy.yaml and the lists that it refers to, to a [`Policy`]; or every fault in them.

mod buckets;
mod claims;
mod conditions;
mod domains;
pub(crate) mod dstdomain;
mod include;
mod names;
pub(crate) mod overlap;
mod owned;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{self, Fields, Limits, Node, Reader, Source};
use crate::files::{Disk, FileError, Files};
use crate::index::{Index, Shape};
use crate::policy::{Listed, Policy};
use crate::rule::{Mode, OnRevoke};
use crate::space::digest::digest;

pub(crate) use buckets::KEYS as BUCKET_KEYS;
pub(crate) use claims::KEYS as CLAIM_KEYS;
pub use conditions::is_vpc_endpoint;
pub(crate) use include::KEYS as INCLUDE_KEYS;
pub(crate) use owned::KEYS as LINT_KEYS;
pub(crate) use rule::KEYS as RULE_KEYS;

/// The keys of a policy.
pub(crate) const POLICY_KEYS: &[&str] = &["version", "mode", "on_revoke", "lint", "rules", "tests"];

/// How many rules a policy may have.
pub const MAX_RULES: usize = 10_000;
/// How many bytes a host list may have.
pub const MAX_LIST_BYTES: usize = 128 << 20;
/// How many names one host list may have.
pub const MAX_LIST_NAMES: usize = 1_000_000;
/// How many names all rules may list together.
pub const MAX_NAMES: usize = 4_000_000;

/// A policy that was read without an error.
#[derive(Debug)]
pub struct Loaded {
    /// The policy.
    pub policy: Policy,
    /// What its author should look at.
    pub warnings: Diagnostics,
    /// Every file that was read, the policy first: when one changes, the policy has changed.
    pub files: Vec<PathBuf>,
}

impl Policy {
    /// Reads a policy from disk. `now` in Unix seconds decides what has expired already.
    ///
    /// # Errors
    /// Every fault of every file, warnings included.
    pub fn load(path: &Path, now: i64) -> Result<Loaded, Diagnostics> {
        Self::load_from(path, &Disk, now)
    }

    /// Reads a policy through `files`; host lists are sought beside it.
    ///
    /// # Errors
    /// Every fault of every file, warnings included.
    pub fn load_from(path: &Path, files: &dyn Files, now: i64) -> Result<Loaded, Diagnostics> {
        Self::load_capped(path, files, now, Caps::default())
    }

    fn load_capped(path: &Path, files: &dyn Files, now: i64, caps: Caps) -> Result<Loaded, Diagnostics> {
        let limits = Limits::default();
        let mut out = Diagnostics::new();
        let Some(source) = Source::open(path, files, &limits, &mut out) else { return Err(out) };
        let Some(root) = document::parse(&source, &limits, &mut out) else { return Err(out.sorted()) };

        let mut builder = Builder::new(path, files, now, caps);
        let mut reader = Reader { source: &source, out: &mut out };
        builder.document(&mut reader, &root);
        let (mut policy, files) = (builder.policy, builder.read);
        let out = out.sorted();
        if out.errors() > 0 {
            return Err(out);
        }
        policy.index.shrink();
        policy.digest = digest(&policy);
        Ok(Loaded { policy, warnings: out, files })
    }

    /// Reads a policy from text alone; a rule with `hosts_files` is a fault.
    ///
    /// # Errors
    /// Every fault, warnings included.
    pub fn parse(file: &str, text: &str, now: i64) -> Result<Loaded, Diagnostics> {
        struct Text<'a>(&'a Path, &'a str);
        impl Files for Text<'_> {
            fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
                if path != self.0 {
                    return Err(FileError::Io(std::io::ErrorKind::NotFound.into()));
                }
                if self.1.len() > limit { Err(FileError::TooLarge) } else { Ok(self.1.as_bytes().to_vec()) }
            }
        }
        Self::load_from(Path::new(file), &Text(Path::new(file), text), now)
    }
}

/// What [`MAX_RULES`] and its like say, and less where a test asks for less.
#[derive(Clone, Copy)]
struct Caps {
    rules: usize,
    list_names: usize,
    names: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { rules: MAX_RULES, list_names: MAX_LIST_NAMES, names: MAX_NAMES }
    }
}

/// A policy that grows rule by rule.
pub(crate) struct Builder<'a> {
    files: &'a dyn Files,
    dir: PathBuf,
    now: i64,
    policy: Policy,
    read: Vec<PathBuf>,
    /// Lines of the rules' names.
    names: HashMap<Arc<str>, u32>,
    /// Whether each rule was read without an error; others are not compared with.
    sound: Vec<bool>,
    /// Names that were listed so far, of all rules.
    total: usize,
    caps: Caps,
    /// What is left of [`overlap::BUDGET`].
    budget: u64,
    /// What each rule must have, if the policy says so.
    required: Option<Vec<owned::Needed>>,
}

impl<'a> Builder<'a> {
    fn new(path: &Path, files: &'a dyn Files, now: i64, caps: Caps) -> Self {
        let policy = Policy {
            rules: Vec::new(),
            index: Index::default(),
            listed: Vec::new(),
            files: vec![Arc::from(path.display().to_string())],
            mode: Mode::Enforce,
            on_revoke: OnRevoke::Keep,
            digest: String::new(),
        };
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        let (names, read) = (HashMap::new(), vec![path.to_owned()]);
        Self {
            files,
            dir,
            now,
            policy,
            read,
            names,
            sound: Vec::new(),
            total: 0,
            caps,
            budget: overlap::BUDGET,
            required: None,
        }
    }

    fn document(&mut self, reader: &mut Reader<'_>, root: &Node) {
        let Some(fields) = reader.fields(root, "the policy", POLICY_KEYS) else {
            return;
        };
        if let Some(node) = reader.required(&fields, "version", "the policy") {
            let _ = reader.integer(node, "the version of the form", 1..=1);
        }
        if let Some(node) = fields.get("mode") {
            let words = [("enforce", Mode::Enforce), ("audit", Mode::Audit)];
            self.policy.mode = reader.one_of(node, "a mode", &words).unwrap_or_default();
        }
        if let Some(node) = fields.get("on_revoke") {
            let words = [("keep", OnRevoke::Keep), ("close", OnRevoke::Close)];
            self.policy.on_revoke = reader.one_of(node, "what happens on revocation", &words).unwrap_or_default();
        }
        if let Some(node) = fields.get("lint") {
            self.lint(reader, node);
        }
        let claims = fields.get("tests").map(|node| Self::claims(reader, node)).unwrap_or_default();
        self.rules(reader, &fields);
        // Of rules with an error nothing can be claimed.
        if reader.out.errors() == 0 {
            claims::prove(&claims, &self.policy, reader);
        }
    }

    fn rules(&mut self, reader: &mut Reader<'_>, fields: &Fields<'_>) {
        let Some(rules) = reader.required(fields, "rules", "the policy") else { return };
        let Some(rules) = reader.list(rules, "a list of rules") else { return };
        for node in rules {
            let most = self.caps.rules;
            if self.policy.rules.len() >= most {
                let fault = Diagnostic::error("too-many-rules", format!("more than {most} rules"));
                reader.push(fault.help("put names with the same conditions into one rule"), node.span);
                return;
            }
            self.rule(reader, node);
            // A few lines can name the same long list again and again.
            if self.full() {
                return;
            }
        }
    }

    /// Whether there are too many names to go on.
    fn full(&self) -> bool {
        self.total > self.caps.names
    }

    /// Lists a name under the rule that is being read. `false` when the rule has it already.
    fn list(&mut self, listed: &mut Vec<Listed>, shape: Shape, name: &str, file: u16, line: u32) -> bool {
        // A full index is kept away by the limits on files and names.
        let rule = u32::try_from(self.policy.rules.len()).unwrap_or(u32::MAX);
        let Some((entry, new)) = self.policy.index.add(shape, name, rule) else { return true };
        if new {
            self.total += 1;
            listed.push(Listed { entry, line, file });
        }
        new
    }
}
