//! The generator: opens connections, asks for bytes, counts what comes, and prints one line of JSON.

mod connection;
mod plan;
mod settings;
mod worker;

use std::io::{self, BufRead, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::{Parser, ValueEnum};
use sekisho_benches::figures::{Cpu, Tally};
use sekisho_benches::net;

use crate::plan::Work;
use crate::settings::{Arguments, Settings};
use crate::worker::Worker;

fn main() -> Result<ExitCode> {
    let settings = Settings::new(Arguments::parse())?;
    net::raise_descriptor_limit();
    let begun = Instant::now();
    let (mut tally, held) = run_threads(&settings, begun)?;
    let took = if settings.plan.work == Work::Idle { hold(held, &mut tally, begun)? } else { begun.elapsed() };

    let name = settings.plan.work.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let figures = tally.figures(name, took, Cpu::used()?);
    println!("{}", serde_json::to_string(&figures)?);
    let good = match settings.plan.work {
        Work::Refused => figures.refused,
        _ => figures.connections - figures.failed - figures.refused,
    };
    Ok(if good > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All threads' counts together, and the connections that `idle` left open.
fn run_threads(settings: &Settings, begun: Instant) -> Result<(Tally, Vec<OwnedFd>)> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..settings.threads)
            .map(|thread| scope.spawn(move || Worker::new(settings, thread, begun)?.run()))
            .collect();
        let mut all = (Tally::new()?, Vec::new());
        for thread in threads {
            let (tally, held) = thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            all.0.add(tally);
            all.1.extend(held);
        }
        Ok(all)
    })
}

/// Keeps connections open and silent until a line comes in on stdin.
fn hold(held: Vec<OwnedFd>, tally: &mut Tally, begun: Instant) -> Result<Duration> {
    let took = begun.elapsed();
    println!("ready");
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new()).context("no line on stdin")?;
    for socket in held {
        match net::receive(&socket, &mut [0; 16]) {
            Ok(None) => {}
            Ok(Some(0)) => tally.failed("closed while idle"),
            Ok(Some(_)) => tally.failed("bytes while idle"),
            Err(error) => tally.failed(&error.to_string()),
        }
    }
    Ok(took)
}
