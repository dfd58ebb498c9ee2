//! `sekisho rulesets`: the built-in rule sets that a policy may `include`.

use std::fmt::Write as _;
use std::io;

use clap::Args;
use sekisho_policy::sets::{self, Item, RuleSet};

use super::{Done, Format, print};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A set by its name; without one, all of them
    #[arg(value_parser = set)]
    name: Option<&'static RuleSet>,
    /// How they are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A name that is not known is wrong usage.
fn set(name: &str) -> Result<&'static RuleSet, String> {
    sets::find(name).map_err(|near| match near {
        Some(near) => format!("there is no such set; did you mean `{near}`?"),
        None => "there is no such set; `sekisho rulesets` prints all".to_owned(),
    })
}

pub(super) fn rulesets(arguments: &Arguments) -> io::Result<Done> {
    let text = match (arguments.format, arguments.name) {
        (Format::Json, Some(set)) => format!("{:#}\n", serde_json::to_value(set)?),
        (Format::Json, None) => format!("{:#}\n", serde_json::to_value(sets::all())?),
        (Format::Human, Some(set)) => whole(set),
        (Format::Human, None) => list(sets::all()),
    };
    print(text.as_bytes())
}

/// One line a set.
fn list(sets: &[RuleSet]) -> String {
    let width = sets.iter().map(|set| set.name.len()).max().unwrap_or_default();
    // Writing to a String cannot fail.
    let mut out = sets.iter().fold(String::new(), |mut out, set| {
        let _ = writeln!(out, "{:width$}  {}", set.name, set.about);
        out
    });
    out.push_str("\n`sekisho rulesets NAME` prints a set with its sources\n");
    out
}

fn whole(set: &RuleSet) -> String {
    let mut out = format!("{}\n  {}\n", set.name, set.about);
    names(&mut out, "hosts", &set.hosts);
    names(&mut out, "buckets of AWS's own", &set.buckets);
    let _ = writeln!(out, "\npartitions: {}", set.partitions.join(", "));
    if set.interface_endpoints {
        out.push_str("the hosts usually have interface endpoints, whose private addresses `upstream` has to permit\n");
    }
    let _ = writeln!(out, "\nsources, as of {}:", set.date);
    for source in &set.sources {
        let _ = writeln!(out, "  {}\n    {}", source.title, source.url);
    }
    let upstream = if set.interface_endpoints { ", upstream: [10.0.0.0/8]" } else { "" };
    let _ = writeln!(out, "\nin a policy:\n  - include: {{ set: {}, region: REGION{upstream} }}", set.name);
    out
}

fn names(out: &mut String, heading: &str, items: &[Item]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{heading}:");
    let width = items.iter().map(|item| item.name.len()).max().unwrap_or_default();
    for item in items {
        let _ = writeln!(out, "  {:width$}  {}", item.name, item.about);
    }
}
