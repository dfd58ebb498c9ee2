//! What is done through each gate, and how much of it.

use std::fmt::Write as _;

use sekisho_benches::http::Way;

use crate::growth;
use crate::options::Scale;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// What `--only` and the results call it.
    pub(crate) id: &'static str,
    /// What it is, for people.
    pub(crate) about: &'static str,
    /// What `load` calls it.
    pub(crate) kind: &'static str,
    /// How clients come.
    pub(crate) way: Way,
    hello: &'static str,
    /// Connections at a time; for `idle` all of them.
    concurrency: u64,
}

/// All kinds, in the order of the tables.
pub(crate) const ALL: &[Work] = &[
    new("new-large", "new connections, a hello of 1.5 KB", "new", "large", 64),
    new("new-small", "new connections, a hello of 300 bytes", "new", "small", 64),
    new("down-1", "bulk to the client, 1 connection", "bulk-down", "large", 1),
    new("down-8", "bulk to the client, 8 connections", "bulk-down", "large", 8),
    new("down-64", "bulk to the client, 64 connections", "bulk-down", "large", 64),
    new("up-1", "bulk to the server, 1 connection", "bulk-up", "large", 1),
    new("up-8", "bulk to the server, 8 connections", "bulk-up", "large", 8),
    new("up-64", "bulk to the server, 64 connections", "bulk-up", "large", 64),
    new("trips-1", "round trips of 100 bytes, 1 connection", "round-trips", "large", 1),
    new("trips-64", "round trips of 100 bytes, 64 connections", "round-trips", "large", 64),
    new("idle", "connections on which nothing happens", "idle", "large", 9000),
    new("refused", "connections to a name that is not listed", "refused", "large", 64),
    new("mix", "objects as S3's clients fetch and store them", "mix", "large", 64),
    new("syscalls", "system calls of a new connection, under strace", "new", "large", 8),
    by(Way::Connect, "connect-new", "new connections by CONNECT, then a hello of 1.5 KB", "new", 64),
    by(Way::Connect, "connect-down-8", "bulk to the client, 8 connections by CONNECT", "bulk-down", 8),
    by(Way::Connect, "connect-idle", "connections by CONNECT on which nothing happens", "idle", 9000),
    by(Way::Connect, "connect-syscalls", "system calls of a new connection by CONNECT, under strace", "new", 8),
    by(Way::Http, "http-new", "connections to port 80, a GET each", "new", 64),
    by(Way::Http, "http-down-8", "bulk to the client, 8 connections to port 80", "bulk-down", 8),
    by(Way::Http, "http-syscalls", "system calls of a connection to port 80, under strace", "new", 8),
];

const fn new(id: &'static str, about: &'static str, kind: &'static str, hello: &'static str, concurrency: u64) -> Work {
    Work { id, about, kind, way: Way::Tls, hello, concurrency }
}

const fn by(way: Way, id: &'static str, about: &'static str, kind: &'static str, concurrency: u64) -> Work {
    Work { way, ..new(id, about, kind, "large", concurrency) }
}

/// The works of these names; a kind's name up to the dash means all of that kind, and no name all.
pub(crate) fn chosen(only: &[String]) -> Vec<Work> {
    let any = only.iter().any(|only| growth::is_axis(only) || ALL.iter().any(|work| work.is_named(only)));
    ALL.iter().filter(|work| !any || only.iter().any(|only| work.is_named(only))).copied().collect()
}

/// The one that is called so.
pub(crate) fn of(id: &str) -> Option<&'static Work> {
    ALL.iter().find(|work| work.id == id)
}

impl Work {
    /// Whether `--only` means it.
    pub(crate) fn is_named(&self, only: &str) -> bool {
        self.id == only || self.id.split('-').next() == Some(only)
    }

    /// Whether nothing is ever relayed: a gate that cannot refuse has no such cell.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == "refused"
    }

    /// Whether system calls are counted, which takes so long that nothing else is.
    pub(crate) fn is_traced(&self) -> bool {
        self.id.ends_with("syscalls")
    }

    /// Whether it is the same in every round.
    pub(crate) fn rounds(&self) -> usize {
        match self.kind {
            _ if self.is_traced() => 1,
            // Memory does not depend on the machine's mood.
            "idle" => 2,
            _ => usize::MAX,
        }
    }

    /// Whether memory is what is looked at.
    pub(crate) fn is_idle(&self) -> bool {
        self.kind == "idle"
    }

    /// Bytes that all of its connections together carry in the direction that counts, if it is about bytes.
    pub(crate) fn bulk(&self, scale: Scale) -> Option<u64> {
        let total = match scale {
            Scale::Full => 1_000_000_000,
            Scale::Quick => 128_000_000,
            Scale::Check => 6_400_000,
        };
        self.kind.starts_with("bulk").then_some(total)
    }

    /// The connections in all.
    pub(crate) fn connections(&self, scale: Scale) -> u64 {
        let sizes = match self.kind {
            _ if self.is_traced() => [1_000, 500, 64],
            "new" | "refused" => [15_000, 3_000, 64],
            "idle" => [9_000, 500, 32],
            "mix" => [800, 160, 16],
            _ => [self.concurrency; 3],
        };
        let [full, quick, check] = sizes;
        match scale {
            Scale::Full => full,
            Scale::Quick => quick,
            Scale::Check => check,
        }
    }

    /// The arguments of `load`, but for whom it is to reach.
    pub(crate) fn arguments(&self, scale: Scale) -> String {
        let count = self.connections(scale);
        let concurrency = self.concurrency.min(count);
        let mut line =
            format!("--work {} --hello {} --concurrency {concurrency} --count {count}", self.kind, self.hello);
        if let Some(total) = self.bulk(scale) {
            let _ = write!(line, " --bytes {}", total / count);
        }
        if self.kind == "round-trips" {
            let all = match scale {
                Scale::Full => 100_000,
                Scale::Quick => 20_000,
                Scale::Check => 640,
            };
            // One at a time, they are not as many in the same time.
            let all = if count == 1 { all / 4 } else { all };
            let _ = write!(line, " --rounds {}", all / count);
        }
        line
    }
}
