//! Which optional parts of the kernel serve this process. Each is tried at the start, what happens later corrects that, and where
//! one is missing the gate is slower and as right.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What is in use.
#[derive(Debug)]
pub struct Features {
    splice: AtomicBool,
    pipe_bytes: AtomicUsize,
    steering: AtomicBool,
}

impl Default for Features {
    /// As if nothing had been tried yet.
    fn default() -> Self {
        Self {
            splice: AtomicBool::new(true),
            pipe_bytes: AtomicUsize::new(usize::MAX),
            steering: AtomicBool::default(),
        }
    }
}

impl Features {
    /// Tries each once.
    pub fn probe() -> Self {
        let features = Self::default();
        crate::transfer::probe(&features);
        features
    }

    /// Whether bulk data passes through the kernel alone (`splice`). Without it, it is copied through the worker's buffer.
    pub fn splice(&self) -> bool {
        self.splice.load(Relaxed)
    }

    /// The least that a pipe for bulk data held since the start; 0 once one could not be had at all. An ordinary user's pipes
    /// shrink to a page or two when `fs.pipe-user-pages-soft` is used up.
    pub fn pipe_bytes(&self) -> usize {
        self.pipe_bytes.load(Relaxed)
    }

    /// Whether each worker has the connections that its own processor receives (`SO_INCOMING_CPU`).
    pub fn steering(&self) -> bool {
        self.steering.load(Relaxed)
    }

    pub(crate) fn steered(&self) {
        self.steering.store(true, Relaxed);
    }

    pub(crate) fn splice_refused(&self) {
        self.splice.store(false, Relaxed);
    }

    pub(crate) fn pipe_holds(&self, bytes: usize) {
        self.pipe_bytes.fetch_min(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_pipes_counts() {
        let features = Features::default();
        for bytes in [1 << 20, 8192, 1 << 16] {
            features.pipe_holds(bytes);
        }
        assert_eq!(features.pipe_bytes(), 8192);
    }

    #[test]
    fn this_host_splices() {
        let features = Features::probe();
        assert!(features.splice());
        assert!((4096..=1 << 20).contains(&features.pipe_bytes()), "{}", features.pipe_bytes());
    }
}
