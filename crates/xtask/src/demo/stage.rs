//! What the story plays on: S3, the gate and its redirection in a lab, and a person at the client's machine.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::Lab;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::{Counter, Redirect};
use lab::s3::S3;

/// The bucket that the policy lists.
pub(super) const LISTED: &str = "reports";
/// A bucket that is there too, but not listed.
pub(super) const OTHER: &str = "exfil";

/// Everything that runs.
pub(super) struct Stage<'lab> {
    /// sekisho.
    pub(super) gate: Gate<'lab>,
    /// The policy's text.
    pub(super) policy: String,
    /// What arrives at the addresses that the client's DNS gives: the gate's never gives these.
    pub(super) clients_choice: Counter<'lab>,
    lab: &'lab Lab,
    s3: S3,
    _redirect: Redirect<'lab>,
    /// The client's working directory.
    desk: PathBuf,
}

/// What a command printed, both streams together, and how it ended.
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) succeeded: bool,
    pub(super) took: Duration,
}

impl<'lab> Stage<'lab> {
    /// Starts all of it.
    pub(super) fn set(lab: &'lab Lab) -> Result<Self> {
        lab.gate_dns.set_pool(Lab::gate_pool());
        let s3 = S3::start(lab, &[LISTED, OTHER])?;
        let policy = format!(
            "version: 1\n\
             rules:\n  \
               - name: monthly reports\n    \
                 owner: data-platform@example.com\n    \
                 clients: [10.20.0.0/24]\n    \
                 buckets:\n      \
                   - {{ name: {LISTED}, region: ap-northeast-1 }}\n    \
                 # The demo's S3 has test addresses. AWS's own are public: they need no such line.\n    \
                 {UPSTREAM}\n"
        );
        let gate = Gate::start(lab, &Options::policy(&policy))?;
        let redirect = Redirect::nftables(lab)?;
        let clients_choice = Counter::towards(lab, lab::POOL)?;
        let desk = lab.directory().join("desk");
        fs::create_dir(&desk)?;
        fs::write(desk.join("report.csv"), "month,visits\n2026-10,18250\n2026-11,19004\n")?;
        Ok(Self { gate, policy, clients_choice, lab, s3, _redirect: redirect, desk })
    }

    /// How often the gate has asked its DNS for a name.
    pub(super) fn gate_asked_for(&self, name: &str) -> u64 {
        self.lab.gate_dns.queries(name)
    }

    /// Runs a line as typed into a shell on the client's machine.
    pub(super) fn client(&self, line: &str) -> Result<Printed> {
        let mut shell = self.at_the_desk("sh");
        shell.args(["-c", &format!("exec 2>&1\n{line}")]);
        let begun = Instant::now();
        let output = shell.output().context("cannot start a shell in the client's namespace")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Printed { text, succeeded: output.status.success(), took: begun.elapsed() })
    }

    /// Runs `sekisho …` where the gate's files are; the words may not have spaces in them.
    pub(super) fn sekisho(&self, arguments: &str) -> Result<Printed> {
        let begun = Instant::now();
        let output = self.gate.command(&arguments.split(' ').collect::<Vec<_>>())?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Ok(Printed { text, succeeded: output.status.success(), took: begun.elapsed() })
    }

    /// Hands the client's machine to the user until they leave it.
    pub(super) fn shell(&self) -> Result<()> {
        println!(
            "\nThis is a shell on the client's machine: try aws, curl, python with boto3. The buckets are {LISTED} and {OTHER}.\n\
             The gate's files are in {}: change policy.yaml there (an editor that saves by rename,\n\
             or `mv`) and it is enforced at once. `exit` ends everything.",
            self.gate.directory().display()
        );
        let shell = env::var_os("SHELL").unwrap_or_else(|| "sh".into());
        let mut command = self.at_the_desk(shell);
        command.stdin(Stdio::inherit()).env("PS1", "client$ ");
        // How the user's last command there ended is not our affair.
        command.status().context("cannot start a shell").map(drop)
    }

    /// A program in the client's namespace, with the AWS programs on its PATH and the lab's authority trusted.
    fn at_the_desk(&self, program: impl Into<OsString>) -> Command {
        let mut command = self.lab.client.cmd(program.into());
        self.s3.configure(&mut command);
        let mut path = lab::tools().into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path).env("CURL_CA_BUNDLE", self.s3.authority.ca_file()).current_dir(&self.desk);
        command
    }
}
