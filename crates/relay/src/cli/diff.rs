//! `sekisho diff`: what a change of policy opens, shuts and alters.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sekisho_policy::Policy;
use serde_json::json;

use super::check::unix_now;
use super::{Done, complain_of, print};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy before: a policy.yaml, its lists beside it
    old: PathBuf,
    /// The policy after
    new: PathBuf,
    /// How the difference is printed
    #[arg(long, value_enum, default_value_t)]
    format: DiffFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum DiffFormat {
    /// For a person; long lists are cut
    #[default]
    Human,
    /// One JSON object, nothing cut
    Json,
    /// For the text of a pull request
    Markdown,
}

/// Exit status 1 when something opens, and when a policy is faulty: then nothing is on stdout.
pub(super) fn diff(arguments: &Arguments) -> io::Result<Done> {
    // Both are read before either's faults end it, so that all are told.
    let (Some(old), Some(new)) = (load(&arguments.old), load(&arguments.new)) else { return Ok(Done::Wrong) };
    let diff = old.diff(&new);
    let text = match arguments.format {
        DiffFormat::Human => diff.to_string(),
        DiffFormat::Markdown => diff.markdown(),
        DiffFormat::Json => {
            let mut out = diff.json();
            if let Some(out) = out.as_object_mut() {
                out.insert("digest".to_owned(), json!({ "before": old.digest(), "after": new.digest() }));
            }
            format!("{out:#}\n")
        }
    };
    print(text.as_bytes())?;
    Ok(if diff.opens() { Done::Wrong } else { Done::Right })
}

/// A policy; its faults go to stderr, its warnings are `check`'s to tell.
fn load(path: &Path) -> Option<Policy> {
    match Policy::load(path, unix_now()) {
        Ok(loaded) => Some(loaded.policy),
        Err(faults) => {
            complain_of(&faults);
            None
        }
    }
}
