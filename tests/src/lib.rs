//! The lab: real programs in network namespaces, for the demonstration and the end-to-end tests.
//!
//! ```text
//!   client ──────────── gate ──────────── servers
//!   10.20.0.2…9         10.20.0.1         198.18.0.0/15 and 2001:db8:18::/48, every address of them
//!   2001:db8:20::2      10.88.0.1         DNS on 198.18.0.53 (the client's) and 198.18.0.54 (the gate's)
//! ```
//!
//! There is no route out. [`Lab::new`] makes the namespaces and both DNS servers; [`s3::S3`] adds S3 over TLS;
//! [`gate::Gate`] starts sekisho; [`net::Redirect`] sends the client's traffic through it. Without the last two the
//! client reaches the servers by plain routing. Everything is removed when its value is dropped, in whatever order.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let lab = lab::Lab::new("example")?;
//! let s3 = lab::s3::S3::start(&lab, &["reports"])?;
//! let gate = lab::gate::Gate::start(&lab, &lab::gate::Options::listing(&["reports"]))?;
//! let redirect = lab::net::Redirect::nftables(&lab)?;
//! let output = s3.aws(&lab.client, ["s3", "cp", "report.csv", "s3://reports/"])?.output()?;
//! # Ok(()) }
//! ```

pub mod activation;
pub mod capture;
pub mod certs;
pub mod cgroup;
pub mod dns;
pub mod gate;
pub mod metrics;
pub mod net;
pub mod netns;
pub mod pair;
pub mod process;
pub mod s3;

mod interrupt;
mod place;
mod topology;

pub use interrupt::{await_interruption, remove_labs_on_signal};
pub use place::{gate_binary, reachable, run_directory, tools, workspace};
pub use topology::{CLIENT_DNS, GATE_DNS, GATE_POOL, Lab, POOL, POOL6};
