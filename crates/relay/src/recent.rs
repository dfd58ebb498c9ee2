//! What was refused, audited or failed lately, one row for each host and reason: a client that tries again five times is
//! one thing to look at, not five.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sekisho_name::Name;

use crate::outcome::{Outcome, Verdict};
use crate::reason::Reason;

/// Rows that each worker keeps. When they are full, the quarter that is oldest goes.
const ROWS: usize = 512;

/// The rows of every worker. A worker's own lock is met only by who looks at the status page.
#[derive(Debug)]
pub struct Recent(Box<[Mutex<HashMap<Key, Row>>]>);

type Key = (Option<Name>, Verdict, Reason);

/// One host (`None` where none was read) and what became of the connections to it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The host.
    pub host: Option<Name>,
    /// The gate's word.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// How many connections.
    pub count: u64,
    /// The last of them: when it was accepted, and its client.
    pub last: (SystemTime, std::net::IpAddr),
}

impl Recent {
    /// No rows yet, for so many workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Mutex::default()).collect())
    }

    /// Notes a connection that has ended. One that was simply allowed leaves nothing.
    pub(crate) fn note(&self, worker: usize, outcome: &Outcome) {
        let Some(reason) = outcome.reason else { return };
        let Some(rows) = self.0.get(worker % self.0.len()) else { return };
        let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (outcome.host.clone(), outcome.verdict, reason);
        let last = (outcome.accepted, outcome.client_ip());
        if let Some(row) = rows.get_mut(&key) {
            row.count += 1;
            row.last = last;
            return;
        }
        if rows.len() >= ROWS {
            let mut times: Vec<_> = rows.values().map(|row| row.last.0).collect();
            let (_, median, _) = times.select_nth_unstable(ROWS / 4);
            let oldest = *median;
            rows.retain(|_, row| row.last.0 > oldest);
        }
        let (host, verdict, reason) = key.clone();
        rows.insert(key, Row { host, verdict, reason, count: 1, last });
    }

    /// All rows, those of several workers added up, the latest first.
    pub fn rows(&self) -> Vec<Row> {
        let mut all: HashMap<Key, Row> = HashMap::new();
        for rows in &self.0 {
            for (key, row) in rows.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                all.entry(key.clone())
                    .and_modify(|sum| {
                        sum.count += row.count;
                        sum.last = sum.last.max(row.last);
                    })
                    .or_insert_with(|| row.clone());
            }
        }
        let mut rows: Vec<_> = all.into_values().collect();
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.last.0));
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(host: &str, second: u64) -> Outcome {
        let mut outcome = Outcome::new(1, 0, ([10, 0, 0, 1], 1).into());
        outcome.host = Some(Name::parse(host).unwrap());
        outcome.verdict = Verdict::Refused;
        outcome.reason = Some(Reason::NoRule);
        outcome.accepted = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        outcome
    }

    #[test]
    fn a_host_is_one_row_over_all_workers() {
        let recent = Recent::new(2);
        for (worker, second) in [(0, 1), (1, 5), (0, 3)] {
            recent.note(worker, &refused("a.example", second));
        }
        recent.note(0, &refused("b.example", 4));
        let mut allowed = refused("c.example", 9);
        allowed.reason = None;
        recent.note(0, &allowed);
        let rows = recent.rows();
        let shown: Vec<_> = rows.iter().map(|row| (row.host.as_ref().unwrap().as_str(), row.count)).collect();
        assert_eq!(shown, [("a.example", 3), ("b.example", 1)]);
        assert_eq!(rows[0].last.0, SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_keeps_the_latest() {
        let recent = Recent::new(1);
        for second in 0..10_000 {
            recent.note(0, &refused(&format!("h{second}.example"), second));
        }
        let rows = recent.rows();
        assert!(rows.len() <= ROWS);
        assert_eq!(rows[0].host.as_ref().unwrap().as_str(), "h9999.example");
    }
}
