//! The end of an opening: why a connection is not served, and how its client is told.

use crate::http::Manner;
use crate::limits::Full;
use crate::outcome::ClosedBy;
use crate::reader::Reader;
use crate::reason::{Answer, Reason};
use crate::settings::{Destination, Listener};

/// How it is known that a connection is a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// The balancer's PROXY header says so.
    BalancerItself,
    /// It comes from where nothing else comes from.
    Checker,
}

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

    /// The same, to a client that speaks HTTP: what others learn by an alert it learns by a status.
    pub(crate) const fn told(self, manner: Manner) -> Self {
        match self.answer {
            Answer::Alert(_) | Answer::Http(_) => Self { answer: Answer::Http(manner), ..self },
            Answer::Reset | Answer::Nothing => self,
        }
    }

    /// The same of a health check, and of whoever left without a word where balancers look: nobody's connection failed. It
    /// is told what anybody is told, which some checks wait for.
    pub(crate) fn of_probe(self, probe: Option<Probe>, listener: &Listener, reader: &Reader) -> Self {
        let wordless = self.reason == Reason::ClientClosed && reader.bytes().is_empty();
        let probe = match (probe, listener.destination) {
            (Some(Probe::BalancerItself), _) => Self::new(Reason::Probe, "a balancer spoke for itself"),
            (Some(Probe::Checker), _) => Self::new(Reason::Probe, "from where health checks come"),
            (None, Destination::None { .. }) if wordless => Self::new(Reason::Probe, "closed without a word"),
            _ => return self,
        };
        Self { answer: self.answer, ..probe }
    }

    /// Who ended the connection.
    pub(crate) const fn closed_by(&self) -> ClosedBy {
        match self.answer {
            Answer::Nothing => ClosedBy::Client,
            Answer::Alert(_) | Answer::Http(_) | Answer::Reset => ClosedBy::Gate,
        }
    }
}

/// A cap that was met. The client is reset at once: left in the backlog it would hang, and leave no trace.
pub(crate) const fn over(full: Full) -> Stop {
    match full {
        Full::Connections => Stop::new(Reason::OverConnectionLimit, "connections of the process"),
        Full::Undecided => Stop::new(Reason::OverConnectionLimit, "undecided connections of the process"),
        Full::Client => Stop::new(Reason::OverClientLimit, "connections of this client"),
    }
}
