//! `sekisho.yaml` to [`Settings`], or every fault in it.

mod listeners;
mod schema;
mod sections;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sekisho_policy::document::{self, Fields, Limits, Node, Reader, Source, Span};
use sekisho_policy::{Diagnostics, Disk};

use crate::settings::{RefusalAlert, Settings};

pub use schema::schema;

/// The keys of each mapping of the file, by the mapping's own key; the first is the file itself. The documentation is
/// compared with this by a test.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", TOP),
    ("listeners", listeners::KEYS),
    ("listeners.proxy_protocol", listeners::PROXY_PROTOCOL),
    ("listeners.health_checks", listeners::HEALTH_CHECKS),
    ("dns", sections::DNS),
    ("dns.ttl", sections::TTL),
    ("upstream", sections::UPSTREAM),
    ("limits", sections::LIMITS),
    ("timeouts", sections::TIMEOUTS),
    ("access_log", sections::ACCESS_LOG),
    ("admin", sections::ADMIN),
    ("health", sections::HEALTH),
    ("log", sections::LOG),
    ("shutdown", sections::SHUTDOWN),
];

const TOP: &[&str] = &[
    "listeners",
    "policy",
    "dns",
    "upstream",
    "limits",
    "timeouts",
    "refusal_alert",
    "access_log",
    "admin",
    "health",
    "log",
    "shutdown",
    "threads",
    "steering",
];

/// What a file says.
#[derive(Debug)]
pub struct Config {
    /// The settings; `None` when the file has an error.
    pub settings: Option<Settings>,
    /// The policy's file, also where something else is wrong, so that its faults can be told at once.
    pub policy: Option<PathBuf>,
    /// Errors and warnings.
    pub faults: Diagnostics,
}

impl Config {
    /// Reads a file. Paths in it are relative to its own directory.
    pub fn load(path: &Path) -> Self {
        let limits = Limits { bytes: 1 << 20, depth: 8, nodes: 10_000 };
        let mut faults = Diagnostics::new();
        let mut config = Self { settings: None, policy: None, faults: Diagnostics::new() };
        if let Some(source) = Source::open(path, &Disk, &limits, &mut faults)
            && let Some(root) = document::parse(&source, &limits, &mut faults)
        {
            let base = path.parent().unwrap_or(Path::new(""));
            let mut builder =
                Builder { reader: Reader { source: &source, out: &mut faults }, base, binds: HashMap::new() };
            (config.settings, config.policy) = builder.file(&root);
        }
        config.settings = config.settings.filter(|_| faults.errors() == 0);
        config.faults = faults.sorted();
        config
    }
}

/// Reads the file's parts, each to its value or to the default, pushing faults on the way.
struct Builder<'a, 's> {
    reader: Reader<'a>,
    base: &'s Path,
    /// Where each listener's `bind` stands, by its name.
    binds: HashMap<Arc<str>, Span>,
}

impl Builder<'_, '_> {
    fn file(&mut self, root: &Node) -> (Option<Settings>, Option<PathBuf>) {
        let Some(fields) = self.reader.fields(root, "the configuration", TOP) else { return (None, None) };
        let listeners = self.listeners(&fields);
        let policy = self.policy(&fields);
        let settings = Settings {
            listeners,
            policy: policy.clone().unwrap_or_default(),
            dns: self.dns(&fields),
            upstream: self.upstream(&fields),
            limits: self.limits(&fields),
            timeouts: self.timeouts(&fields),
            refusal_alert: self.refusal_alert(&fields),
            access_log: self.access_log(&fields),
            admin: self.admin(&fields),
            health: self.health(&fields),
            log: self.log(&fields),
            shutdown: self.shutdown(&fields),
            threads: self.threads(&fields),
            steering: self.steering(&fields),
        };
        self.refuse_shared_addresses(&fields, &settings);
        (Some(settings), policy)
    }

    fn policy(&mut self, fields: &Fields<'_>) -> Option<PathBuf> {
        let node = self.reader.required(fields, "policy", "the configuration")?;
        self.reader.text(node, "the policy's path").map(|path| self.base.join(path))
    }

    fn refusal_alert(&mut self, fields: &Fields<'_>) -> RefusalAlert {
        let words =
            [("access_denied", RefusalAlert::AccessDenied), ("unrecognized_name", RefusalAlert::UnrecognizedName)];
        let node = fields.get("refusal_alert");
        node.and_then(|node| self.reader.one_of(node, "an alert for refusals", &words)).unwrap_or_default()
    }

    fn steering(&mut self, fields: &Fields<'_>) -> bool {
        let node = fields.get("steering");
        let words = [("off", false), ("cpu", true)];
        node.and_then(|node| self.reader.one_of(node, "how connections come to workers", &words)).unwrap_or_default()
    }

    fn threads(&mut self, fields: &Fields<'_>) -> usize {
        let auto = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        match fields.get("threads") {
            None => auto(),
            Some(node) if values::is_word(node, "auto") => auto(),
            Some(node) => self.count(node, "`auto`, or a number of threads", 1..=256).unwrap_or(1),
        }
    }
}
