//! Finds what is missing on this machine, and installs it. Costs a fraction of a second when nothing is.

mod deny;
mod kernel;
mod node;
mod packages;
mod python;

pub(crate) use deny::program as deny_program;
pub(crate) use python::environment as python_environment;

use anyhow::{Result, bail};

use crate::say;

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The demonstration.
    Demo,
    /// The end-to-end tests: more programs than the demonstration, and iptables' NAT.
    EndToEnd,
    /// The Python programs alone: awscli, boto3 and botocore's knowledge of AWS.
    Python,
    /// What other programs know, for tests that ask them: the Python programs, and an evaluator of AWS's policies.
    Oracles,
    /// `cargo deny`.
    Deny,
    /// The bench, with the gates that sekisho is measured beside.
    Bench,
}

/// Sees to it that what these need is there.
///
/// # Errors
/// Fails, saying what to do, without root or apt-get where these are needed, when an installation fails, or when the
/// kernel lacks something.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let (end_to_end, bench) = (needs.contains(&Need::EndToEnd), needs.contains(&Need::Bench));
    if end_to_end || bench || needs.contains(&Need::Demo) {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "this makes network namespaces, so it needs root. With sudo and rustup, for example:\n  \
                 sudo -E env \"PATH=$PATH:/usr/sbin:/sbin\" cargo xtask …"
            );
        }
        let mut programs = packages::FOR_DEMO.to_vec();
        programs.extend(packages::FOR_TESTS.iter().filter(|_| end_to_end));
        programs.extend(packages::FOR_BENCH.iter().filter(|_| bench));
        let mut missing = packages::missing(&programs);
        missing.extend(python::missing_package());
        packages::install(&missing, &programs)?;
        kernel::check(end_to_end)?;
    }
    if end_to_end || needs.contains(&Need::Demo) {
        python::ensure()?;
    }
    if bench {
        python::ensure_for_bench()?;
    }
    if needs.contains(&Need::Python) || needs.contains(&Need::Oracles) {
        python::ensure()?;
    }
    if needs.contains(&Need::Oracles) {
        node::ensure()?;
    }
    if needs.contains(&Need::Deny) {
        deny::ensure()?;
    }
    say::progress("all that this needs is installed");
    Ok(())
}
