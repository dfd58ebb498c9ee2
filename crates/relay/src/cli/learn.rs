//! `sekisho learn`: what audit mode saw, as rules to review.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use sekisho_journal::Reading;
use sekisho_journal::learn::{Learned, Learner, Options};
use sekisho_policy::Policy;

use super::check::unix_now;
use super::logs::Logs;
use super::{Done, complain, complain_of, print};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    logs: Logs,
    /// Leave out what this policy allows or denies already; the output is then rules to add at its end
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Take what no rule listed and was refused too, as in `mode: enforce`
    #[arg(long)]
    refused: bool,
    /// Widen IPv4 clients to networks of this length, such as /24 [default: exactly the addresses that were seen]
    #[arg(long, value_name = "LENGTH", value_parser = length::<8, 32>)]
    round: Option<u8>,
    /// Widen IPv6 clients to networks of this length, such as /64 [default: exactly the addresses that were seen]
    #[arg(long, value_name = "LENGTH", value_parser = length::<16, 128>)]
    round6: Option<u8>,
    /// How the rules are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A policy with comments
    #[default]
    Yaml,
    /// One JSON object
    Json,
}

pub(super) fn learn(arguments: &Arguments) -> io::Result<Done> {
    let now = unix_now();
    let policy = match arguments.policy.as_deref().map(|path| Policy::load(path, now)).transpose() {
        Ok(loaded) => loaded.map(|loaded| loaded.policy),
        Err(faults) => return Ok(complain_of(&faults)),
    };
    let options = Options {
        since: arguments.logs.since,
        refused: arguments.refused,
        round_v4: arguments.round,
        round_v6: arguments.round6,
    };
    let mut learner = Learner::new(options, policy.as_ref().map(|policy| (policy, now)));
    let reading = arguments.logs.read(|record| learner.take(record));
    let learned = learner.finish();
    let sound = learned.prove(now);
    match arguments.format {
        Format::Yaml => print(learned.yaml(&heading(&reading, &learned, arguments)).as_bytes())?,
        Format::Json => {
            let value = serde_json::json!({ "read": reading, "learned": learned });
            print(format!("{value:#}\n").as_bytes())?
        }
    };
    if learned.beyond > 0 {
        complain(&format!(
            "error: incomplete: {} connections came after {} names or {} pairs of client and name; learn from less at a time, by --since or file by file",
            learned.beyond,
            sekisho_journal::MAX_NAMES,
            sekisho_journal::MAX_PAIRS
        ));
    }
    if let Err(why) = &sound {
        complain(&format!(
            "error: these rules do not load as one policy; widen clients by --round, or learn from less at a time\n{why}"
        ));
    }
    let done = sound.is_ok() && learned.beyond == 0 && reading.whole();
    Ok(if done { Done::Right } else { Done::Wrong })
}

/// What a reviewer has to know before the first rule.
fn heading(reading: &Reading, learned: &Learned, arguments: &Arguments) -> String {
    let mut lines = vec![
        format!("Rules to review, by `sekisho learn`, from {} lines of access log, {}.", reading.lines, span(reading)),
        "Each lists what exactly its clients were seen to ask for, so each needs somebody's word that they should: give it `owner`, \
         `ticket` and a name that says what it is for, or delete it."
            .to_owned(),
    ];
    lines.push(if learned.rounded {
        "Clients are WIDER than what was seen, since that was asked for by --round.".to_owned()
    } else {
        "Clients are the fewest networks that hold exactly the addresses that were seen.".to_owned()
    });
    if arguments.policy.is_some() {
        let mut line = "To be added at the end of the policy that was given.".to_owned();
        if learned.allowed_already > 0 {
            line = format!(
                "{line} Connections that were not simply allowed then and are by now: {}.",
                learned.allowed_already
            );
        }
        lines.push(line);
    }
    if reading.lost > 0 {
        lines.push(format!("The log says that {} records were lost: what they held is not here.", reading.lost));
    }
    if !learned.looked_at.ever() {
        let since = arguments.logs.since.map(|since| format!(" since {}", time(since))).unwrap_or_default();
        lines.push(format!("No connection in the logs{since}: nothing can be said of what clients ask for."));
    }
    if !reading.no_log.is_empty() {
        lines.push("INCOMPLETE: not every file was an access log; some have lines, and not one record.".to_owned());
    }
    if !reading.unread.is_empty() {
        lines.push("INCOMPLETE: not every log could be read to its end.".to_owned());
    }
    lines.join("\n")
}

/// From when to when the records are.
fn span(reading: &Reading) -> String {
    match reading.span {
        Some((first, last)) => format!("{} to {}", time(first), time(last)),
        None => "no records".to_owned(),
    }
}

/// Unix seconds as text.
fn time(second: i64) -> String {
    Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default()
}

/// A prefix length with or without its stroke.
fn length<const LEAST: u8, const MOST: u8>(text: &str) -> Result<u8, String> {
    let number = text.strip_prefix('/').unwrap_or(text).parse::<u8>().ok();
    number.filter(|n| (LEAST..=MOST).contains(n)).ok_or_else(|| format!("write a length from /{LEAST} to /{MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_its_bounds() {
        assert_eq!(length::<8, 32>("/24"), Ok(24));
        assert_eq!(length::<8, 32>("24"), Ok(24));
        for wrong in ["", "/", "/0", "/7", "/33", "-1", "x", "300"] {
            assert!(length::<8, 32>(wrong).is_err(), "{wrong}");
        }
    }
}
