//! `cargo xtask bench`: sekisho beside the gates that people use, on the same traffic.
//!
//! ```text
//!   clients ─────────── gate ─────────── servers
//!   load                one of them      origin, names
//!   10.91.1.2           10.91.1.1        10.91.2.10 … .17, ports 443 and 80: eight addresses, as S3 answers
//!                       10.91.2.1        10.91.2.2, port 53: DNS; any name has four of the eight, another four each time
//! ```
//!
//! Three network namespaces on one machine (`lab.rs`). What the clients send to port 443 the kernel of the gate's namespace
//! redirects to port 8443, where one gate listens (`peers.rs` and `benches/peers/`). The same for port 80; for CONNECT the
//! clients dial the gate themselves. For the row `direct` there is no gate and no redirect: the clients reach the servers
//! through a router.
//!
//! A *cell* (`cell.rs`) is one kind of work (`work.rs`) through one gate. The gate is started afresh (`gate.rs`), is warmed
//! up, and then `load` does the work; what the gate's processes have used meanwhile is read from the kernel (`usage.rs`). A
//! *round* (`rounds.rs`) is each kind of work through each gate, one gate right after the other, and which one is first
//! changes from round to round. So a ratio of two gates is taken within a round, where the machine was in one mood, and the
//! median of these ratios is what counts (`figures.rs`). Every cell is written down at once, and what is told about them
//! (`report.rs`) is computed from these files alone.
//!
//! Besides, for sekisho alone: how its cost grows as one number is varied (`growth.rs`).

mod cell;
mod figures;
mod gate;
mod growth;
mod lab;
mod load;
mod micro;
mod options;
mod peers;
mod plots;
mod policies;
mod publish;
mod report;
mod results;
mod rounds;
mod sizing;
mod targets;
mod trace;
mod usage;
mod ways;
mod work;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use options::Options;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            ::lab::await_interruption();
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was asked for could be measured.
fn run(options: &Options) -> Result<bool> {
    if let Some(directory) = &options.publish {
        return publish::publish(directory).map(|()| true);
    }
    let (results, out) = rounds::run(options)?;
    report::write(&results, &out, options)
}
