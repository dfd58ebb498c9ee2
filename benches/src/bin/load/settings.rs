//! The command line.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Parser};
use sekisho_benches::hello::{Size, Template};
use sekisho_benches::http::Way;

use crate::plan::{Plan, Work};

/// Opens connections through a gate (or straight), and prints what came of them as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "load", group(ArgGroup::new("how long").args(["count", "seconds"])))]
pub(crate) struct Arguments {
    /// What to do
    #[arg(long)]
    work: Work,
    /// Addresses to connect to, used in turn
    #[arg(long, value_delimiter = ',', required = true)]
    to: Vec<IpAddr>,
    /// The port to connect to [default: 443, and 80 for --way http]
    #[arg(long)]
    port: Option<u16>,
    /// How to come to the server: by a hello, by CONNECT and a hello, or by a GET
    #[arg(long, default_value = "tls")]
    way: Way,
    /// A file of host names of one length, one a line, used in turn
    #[arg(long, value_name = "FILE")]
    names: PathBuf,
    /// How large a hello is
    #[arg(long, default_value = "large")]
    hello: Size,
    /// Threads, each with its share of the connections
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: u64,
    /// Connections at a time, of all threads together
    #[arg(long, default_value_t = 1, value_name = "C")]
    concurrency: u64,
    /// Connections in all [default: those of one time]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Begin no connection after so many seconds
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Of an answer to a new connection
    #[arg(long, default_value_t = 64, value_name = "BYTES")]
    answer: u64,
    /// Of bulk work, for each connection
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// Round trips of each connection
    #[arg(long, default_value_t = 100, value_name = "R")]
    rounds: u64,
    /// Give a connection up after so many seconds in which nothing moved
    #[arg(long, default_value_t = 30, value_name = "S")]
    patience: u32,
    /// Look at every byte that comes, and not only at how many
    #[arg(long)]
    verify: bool,
}

/// When no more connections are begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Count(u64),
    Time(Duration),
}

/// The command line, with everything in it found to make sense.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) plan: Plan,
    pub(crate) way: Way,
    pub(crate) to: Vec<SocketAddr>,
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) hello: Template,
    pub(crate) threads: u64,
    pub(crate) concurrency: u64,
    pub(crate) until: Until,
    pub(crate) patience: u32,
    pub(crate) verify: bool,
}

impl Settings {
    pub(crate) fn new(arguments: Arguments) -> Result<Self> {
        let Arguments { work, to, way, names, hello, threads, concurrency, count, seconds, .. } = arguments;
        let port = arguments.port.unwrap_or(if way == Way::Http { 80 } else { 443 });
        ensure!(threads > 0 && concurrency > 0, "--threads and --concurrency must be at least 1");
        ensure!(work != Work::Idle || seconds.is_none(), "--work idle ends by a line on stdin: it takes no --seconds");
        let has_one_request = matches!(work, Work::New | Work::BulkDown | Work::Refused);
        ensure!(
            way != Way::Http || has_one_request,
            "--way http has one request a connection, and its end: not this work"
        );
        let listed = fs::read_to_string(&names).with_context(|| format!("cannot read {}", names.display()))?;
        let names: Vec<_> =
            listed.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect();
        let length = names.first().context("--names has no name in it")?.len();
        ensure!(names.iter().all(|name| name.len() == length), "the names in --names must all be of one length");
        let until = match seconds {
            Some(seconds) => Until::Time(Duration::try_from_secs_f64(seconds).context("--seconds")?),
            None => Until::Count(count.unwrap_or(concurrency)),
        };
        // All idle connections are open at once.
        let concurrency = match (work, until) {
            (Work::Idle, Until::Count(count)) => count,
            _ => concurrency,
        };
        Ok(Self {
            plan: Plan { work, answer: arguments.answer, bytes: arguments.bytes, rounds: arguments.rounds },
            way,
            to: to.into_iter().map(|address| SocketAddr::new(address, port)).collect(),
            names,
            hello: Template::new(hello, length)?,
            threads: threads.min(concurrency),
            concurrency,
            until,
            patience: arguments.patience,
            verify: arguments.verify,
        })
    }

    /// Those of `total` that fall to one of the threads.
    pub(crate) fn share(&self, total: u64, thread: u64) -> u64 {
        total / self.threads + u64::from(thread < total % self.threads)
    }
}
