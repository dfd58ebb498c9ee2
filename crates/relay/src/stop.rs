//! The end of an opening: why a connection is not served, and how its client is told.

use crate::outcome::ClosedBy;
use crate::reason::{Answer, Reason};

/// Why a connection is not served, and how the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) reason: Reason,
    pub(crate) detail: Option<&'static str>,
    pub(crate) answer: Answer,
}

impl Stop {
    /// Told as is usual for the reason.
    pub(crate) const fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail: Some(detail), answer: reason.answer() }
    }

    /// Who ended the connection.
    pub(crate) const fn closed_by(&self) -> ClosedBy {
        match self.answer {
            Answer::Nothing => ClosedBy::Client,
            Answer::Alert(_) | Answer::Reset => ClosedBy::Gate,
        }
    }
}
