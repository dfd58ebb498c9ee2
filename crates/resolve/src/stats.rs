//! What the lookups came to, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! results {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// What a lookup (one name, both families, however many servers) came to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum LookupResult { $($(#[$doc])* $variant,)* }

        impl LookupResult {
            /// Every result, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value of `sekisho_dns_lookups_total`'s label `result`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

results! {
    /// Addresses.
    Ok = "ok",
    /// NXDOMAIN, or no address of either family.
    NotFound = "not_found",
    /// No usable reply, and nothing older to serve.
    Failed = "failed",
    /// No usable reply, but an older answer goes on serving.
    Stale = "stale",
}

/// Is told of every lookup as it ends, on the resolver's thread; must not block.
pub trait Observer: Send + Sync + 'static {
    /// A lookup ended with `result`, `seconds` after its first question.
    fn lookup(&self, result: LookupResult, seconds: f64);
}

/// Lookups since the start by result.
#[derive(Debug, Default)]
pub struct Stats([AtomicU64; LookupResult::ALL.len()]);

impl Stats {
    /// How many lookups came to `result`.
    pub fn lookups(&self, result: LookupResult) -> u64 {
        self.counter(result).load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, result: LookupResult) {
        self.counter(result).fetch_add(1, Ordering::Relaxed);
    }

    fn counter(&self, result: LookupResult) -> &AtomicU64 {
        let [ok, not_found, failed, stale] = &self.0;
        match result {
            LookupResult::Ok => ok,
            LookupResult::NotFound => not_found,
            LookupResult::Failed => failed,
            LookupResult::Stale => stale,
        }
    }
}
