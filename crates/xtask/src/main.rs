//! The repository's own commands, run as `cargo xtask …`: install what is needed, test everything, show the gate at work,
//! measure it.

mod args;
mod bench;
mod cargo;
mod demo;
mod regions;
mod say;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::Result;

use args::Task;
use setup::Need;

fn main() -> ExitCode {
    let task = match args::parse(std::env::args().skip(1)) {
        Ok(task) => task,
        Err(fault) => {
            eprintln!("{fault}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            lab::await_interruption();
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well; an error is what kept the task from being done.
fn run(task: &Task) -> Result<bool> {
    match task {
        Task::Help => println!("{}", args::USAGE),
        Task::Setup => setup::ensure(&[Need::Demo, Need::EndToEnd, Need::Oracles, Need::Deny, Need::Bench])?,
        Task::Demo { shell } => demo::run(*shell)?,
        Task::Test(options) => return test::run(options),
        Task::Bench(arguments) => return bench::run(arguments),
        Task::Regions => regions::run(&regions::REGIONS)?,
        Task::Suffixes => regions::run(&regions::SUFFIXES)?,
    }
    Ok(true)
}
