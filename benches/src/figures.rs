//! What the generator reports.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One run, as one line of JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// As `--work` calls it.
    pub work: String,
    /// Connections that were begun, whatever became of them.
    pub connections: u64,
    /// Of these, those that did not get what they asked for, each counted in `errors` too.
    pub failed: u64,
    /// Of these, those that were answered by a TLS alert.
    pub refused: u64,
    /// Requests that were answered in full.
    pub requests: u64,
    /// Bytes sent, hellos included.
    pub bytes_up: u64,
    /// Bytes received.
    pub bytes_down: u64,
    /// From the first connection's begin to the last one's end.
    pub seconds: f64,
    /// Microseconds.
    pub latency_us: Latency,
    /// This process's seconds of processor time in user mode. A clock of 10 ms.
    pub cpu_user: f64,
    /// The same in the kernel.
    pub cpu_system: f64,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// Quantiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

/// What one thread counts.
#[derive(Debug)]
pub struct Tally {
    /// As in [`Figures`].
    pub connections: u64,
    /// As in [`Figures`].
    pub refused: u64,
    /// As in [`Figures`].
    pub requests: u64,
    /// As in [`Figures`].
    pub bytes_up: u64,
    /// As in [`Figures`].
    pub bytes_down: u64,
    /// As in [`Figures`].
    pub errors: BTreeMap<String, u64>,
    /// Nanoseconds.
    latency: Histogram<u64>,
}

impl Tally {
    /// All zero.
    ///
    /// # Errors
    /// Never: the histogram's bounds are constants that it accepts.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        // From a nanosecond to an hour, with three digits.
        let latency = Histogram::new_with_bounds(1, 3_600_000_000_000, 3)?;
        Ok(Self {
            connections: 0,
            refused: 0,
            requests: 0,
            bytes_up: 0,
            bytes_down: 0,
            errors: BTreeMap::new(),
            latency,
        })
    }

    /// Counts one latency.
    pub fn took(&mut self, duration: Duration) {
        self.latency.saturating_record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one connection that failed.
    pub fn failed(&mut self, why: &str) {
        match self.errors.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(self.errors.insert(why.to_owned(), 1)),
        }
    }

    /// Adds another thread's.
    pub fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.refused += other.refused;
        self.requests += other.requests;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
        for (error, count) in other.errors {
            *self.errors.entry(error).or_default() += count;
        }
        // Both have the same bounds, so this cannot fail.
        let _ = self.latency.add(other.latency);
    }

    /// With what the whole process can say.
    pub fn figures(self, work: String, took: Duration, cpu: Cpu) -> Figures {
        let quantile = |quantile| Duration::from_nanos(self.latency.value_at_quantile(quantile)).as_secs_f64() * 1e6;
        Figures {
            work,
            connections: self.connections,
            failed: self.errors.values().sum(),
            refused: self.refused,
            requests: self.requests,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            seconds: took.as_secs_f64(),
            latency_us: Latency { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) },
            cpu_user: cpu.user,
            cpu_system: cpu.system,
            errors: self.errors,
        }
    }
}

/// Seconds of processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    /// What this process has used so far, its threads that have ended included.
    pub fn used() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The second field, the program's name, may have spaces and brackets in it. utime and stime are the 14th and
        // 15th (proc(5)).
        let behind_name = stat.rsplit(") ").next().unwrap_or_default();
        let mut fields = behind_name.split(' ').skip(11).map(str::parse::<u32>);
        let mut seconds = || match fields.next() {
            Some(Ok(ticks)) => Ok(f64::from(ticks) / ticks_per_second()),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        };
        Ok(Self { user: seconds()?, system: seconds()? })
    }
}

fn ticks_per_second() -> f64 {
    u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut all = Tally::new().unwrap();
        for (latency, error) in [(10, "a"), (20, "b"), (30, "a")] {
            let mut one = Tally::new().unwrap();
            one.connections = 2;
            one.took(Duration::from_micros(latency));
            one.failed(error);
            all.add(one);
        }
        let figures = all.figures("new".to_owned(), Duration::from_secs(1), Cpu { user: 1.0, system: 2.0 });
        assert_eq!((figures.connections, figures.failed), (6, 3));
        assert_eq!(figures.errors, BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
        assert!((figures.latency_us.p50 - 20.0).abs() < 0.1, "{:?}", figures.latency_us);
        assert!((figures.latency_us.p999 - 30.0).abs() < 0.1, "{:?}", figures.latency_us);
    }

    #[test]
    fn time_that_was_used_is_seen() {
        let mut spun = 0_u64;
        while Cpu::used().unwrap().user < 0.02 {
            spun += 1;
            assert!(spun < 100_000_000);
        }
    }
}
