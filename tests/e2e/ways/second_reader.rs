//! PROXY headers as another implementation makes and reads them: what both read says the same, and what the other refuses is
//! not read here either.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::netns::run;
use sekisho_peek::proxy::{About, Header, Progress, Refusal, inspect};

/// What is said of a header: how many bytes it has, and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reading {
    Whole { len: usize, about: String },
    More,
    Refused,
}

impl Reading {
    /// In the words of the other implementation.
    fn here(answer: Result<Progress, Refusal>) -> Self {
        let Ok(progress) = answer else { return Self::Refused };
        let Progress::Done(Header { len, about, vpce }) = progress else { return Self::More };
        let about = match about {
            About::Sender => "local".to_owned(),
            About::Unknown => "unknown".to_owned(),
            About::Client { source, destination } => {
                format!("client {source} {destination} {}", vpce.as_deref().unwrap_or_default()).trim_end().to_owned()
            }
        };
        Self::Whole { len, about }
    }

    fn there(len: usize, words: &[&str]) -> Result<Self> {
        let about = match words {
            ["more"] => return Ok(Self::More),
            ["refused"] => return Ok(Self::Refused),
            // Written as addresses are written here.
            ["client", source, destination, vpce @ ..] => {
                let [source, destination]: [std::net::SocketAddr; 2] = [source.parse()?, destination.parse()?];
                let mut about = format!("client {source} {destination}");
                vpce.iter().try_for_each(|vpce| write!(about, " {vpce}"))?;
                about
            }
            other => other.join(" "),
        };
        Ok(Self::Whole { len, about })
    }

    /// Whether this one may be said here where `other` is said there: the same, or no. Of a `LOCAL` header nothing but its
    /// length is read here (§2.2), while the other looks at its values.
    fn agrees_with(&self, other: &Self) -> bool {
        let local = matches!(self, Self::Whole { about, .. } if about == "local");
        let may_be_refused = local || *self == Self::More;
        self == other || *self == Self::Refused || (may_be_refused && *other == Self::Refused)
    }
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let text = text.trim_start_matches('-');
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| Ok(u8::from_str_radix(text.get(at..at + 2).context("half a byte")?, 16)?)).collect()
}

#[test]
fn headers_of_another_implementation_are_read_as_it_reads_them_or_refused() -> Result<()> {
    let script = lab::workspace().join("tests/oracle/headers.py");
    let printed = run(Command::new(lab::tools().join("python")).arg(script))?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for line in printed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let [kind, hex, len, reading @ ..] = &words[..] else { bail!("no header: {line}") };
        let bytes = unhex(hex)?;
        let (here, there) = (Reading::here(inspect(&bytes)), Reading::there(len.parse()?, reading)?);
        let right = match *kind {
            "good" => here == there,
            // Of clients that are none of TCP's there is nothing to say.
            "foreign" => here == Reading::Refused,
            _ => here.agrees_with(&there),
        };
        ensure!(right, "{kind} {}: {here:?} here and {there:?} there", bytes.escape_ascii());
        let answer = |reading: &Reading| match reading {
            Reading::Whole { .. } => "read",
            Reading::More => "more",
            Reading::Refused => "refused",
        };
        *counts.entry(format!("{kind}: {} there, {} here", answer(&there), answer(&here))).or_default() += 1;
    }
    println!("{counts:#?}");
    let read = |kind: &str| counts.get(&format!("{kind}: read there, read here")).copied().unwrap_or_default();
    ensure!(read("good") >= 300 && read("changed") >= 300, "hardly any header was compared: {counts:?}");
    Ok(())
}
