//! `sekisho usage`: what a policy's rules were used for, and which were not.

use std::io;
use std::path::PathBuf;

use clap::Args;
use sekisho_journal::usage::{Options, Usage};
use sekisho_policy::Policy;

use super::check::unix_now;
use super::logs::Logs;
use super::{Done, Format, complain, complain_of, print};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    logs: Logs,
    /// The policy whose rules are looked at
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Patterns that matched at most so many names are listed with them
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    few: u16,
    /// Rules that expire within so many days are listed
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    within: u16,
    /// How many refusals are listed
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: u16,
    /// How the report is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn usage(arguments: &Arguments) -> io::Result<Done> {
    let now = unix_now();
    let policy = match Policy::load(&arguments.policy, now) {
        Ok(loaded) => loaded.policy,
        Err(faults) => return Ok(complain_of(&faults)),
    };
    let options = Options {
        since: arguments.logs.since,
        few: usize::from(arguments.few),
        top: usize::from(arguments.top),
        days: u32::from(arguments.within),
    };
    let mut usage = Usage::new(&policy, options);
    let reading = arguments.logs.read(|record| usage.take(record));
    let report = usage.finish(now);
    match arguments.format {
        Format::Human => print(report.to_string().as_bytes())?,
        Format::Json => {
            let value = serde_json::json!({ "policy": policy.digest(), "read": reading, "usage": report });
            print(format!("{value:#}\n").as_bytes())?
        }
    };
    if report.beyond > 0 {
        complain(&format!(
            "error: incomplete: {} connections came after {} names or {} pairs; look at less at a time, by --since or file by file",
            report.beyond,
            sekisho_journal::MAX_NAMES,
            sekisho_journal::MAX_PAIRS
        ));
    }
    Ok(if report.beyond == 0 && reading.whole() { Done::Right } else { Done::Wrong })
}
