//! `sekisho schema`: JSON Schemas of the two files, for editors and other programs.

use std::io;

use clap::{Args, ValueEnum};

use super::{Done, print};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Of which file
    #[arg(value_enum, default_value_t)]
    file: File,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum File {
    /// policy.yaml
    #[default]
    Policy,
    /// sekisho.yaml
    Config,
}

pub(super) fn schema(arguments: &Arguments) -> io::Result<Done> {
    let schema = match arguments.file {
        File::Policy => sekisho_policy::schema(),
        File::Config => config::schema(),
    };
    print(format!("{schema:#}\n").as_bytes())
}
