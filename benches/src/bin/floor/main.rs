//! The limit: a relay that reads no name, asks no policy and keeps no record, with as few system calls as a relay that
//! loses nothing can have. `floor.syscalls` lists them, and a test compares.

mod flow;
mod pipes;
mod worker;

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use sekisho_benches::net;

use crate::worker::Worker;

/// Relays connections, and does nothing else.
#[derive(Debug, Parser)]
#[command(name = "floor")]
struct Arguments {
    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, value_name = "IP:PORT")]
    bind: SocketAddr,
    /// Threads, each with a listening socket of its own
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// How bytes are moved
    #[arg(long)]
    via: Via,
    /// `original`: where the client was going before nftables redirected it; or one address for all
    #[arg(long, value_name = "original|IP:PORT", value_parser = To::parse)]
    to: To,
}

/// How bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// Through one buffer of a thread.
    Copy,
    /// The first 64 KiB of a direction so, the rest through pipes.
    Splice,
}

/// Where connections go.
#[derive(Clone, Copy, Debug)]
enum To {
    Original,
    Fixed(SocketAddr),
}

impl To {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "original" => Ok(Self::Original),
            _ => text.parse().map(Self::Fixed).map_err(|_| "not `original`, nor an IP:PORT".to_owned()),
        }
    }
}

fn main() -> Result<()> {
    let Arguments { bind, threads, via, to } = Arguments::parse();
    ensure!(threads > 0, "--threads must be at least 1");
    net::raise_descriptor_limit();
    let (address, listeners) = net::listen(bind, threads)?;
    println!("listening {address}");
    let parts = listeners.into_iter().map(|listener| (listener, address.port(), via, to)).collect();
    Ok(net::run_threads(parts, |(listener, port, via, to)| Worker::new(listener, port, via, to)?.run())?)
}
