//! The commands.

mod audit;
mod check;
mod diff;
mod explain;
mod export;
mod import;
mod learn;
mod logs;
mod rulesets;
mod schema;
mod usage;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use sekisho_policy::Diagnostics;

use crate::app::{self, RunError};

/// A transparent gate for TLS: it reads the name in the TLS hello, decides on it by a reviewed policy, resolves it
/// itself, and relays bytes that it never decrypts.
#[derive(Debug, Parser)]
#[command(name = "sekisho", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (SIGTERM); SIGHUP reloads the policy, SIGUSR1 reopens the access log
    Run {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Look for faults in the configuration and the policy: all of them at once
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// How the faults are printed
        #[arg(long, value_enum, default_value_t)]
        format: CheckFormat,
        /// Fail on warnings too
        #[arg(long, value_name = "WHAT")]
        deny: Option<Deny>,
    },
    /// Say which rule allows a host, or why it is refused and what to change
    Explain(explain::Arguments),
    /// Say what a change of policy opens, shuts and alters; exit status 1 when it opens something
    Diff(diff::Arguments),
    /// Print the built-in rule sets that a policy may include, each with its sources and date
    Rulesets(rulesets::Arguments),
    /// Print a JSON Schema of policy.yaml or sekisho.yaml, for editors and other programs
    Schema(schema::Arguments),
    /// Print the policy as another program's rules
    #[command(subcommand)]
    Export(export::Format),
    /// Turn what audit mode saw into rules to review
    Learn(learn::Arguments),
    /// Say what a policy's rules were used for, and which were not
    Usage(usage::Arguments),
    /// Print another program's list as a policy
    #[command(subcommand)]
    Import(import::Source),
    /// Ask a network what an auditor would
    #[command(subcommand)]
    Audit(audit::Question),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The node's configuration
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = "sekisho.yaml")]
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For a person
    #[default]
    Human,
    /// One JSON object
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands, which a code host shows beside the line
    Github,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    #[default]
    Human,
    /// For a program
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Warnings count as errors
    Warnings,
}

/// What a command came to: exit status 0, or 1 when the thing checked is wrong. Bad usage is 2, by the argument parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Right,
    Wrong,
}

/// Runs the command that the process was started with. `threads` starts those that the program has besides the gate's, once
/// a node may have any ([`app::run`]).
pub fn main(threads: fn()) -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { config } => Ok(run(&config, threads)),
        Command::Check { config, format, deny } => check::check(&config.path, format, deny.is_some()),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Rulesets(arguments) => rulesets::rulesets(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Export(format) => export::export(&format),
        Command::Learn(arguments) => learn::learn(&arguments),
        Command::Usage(arguments) => usage::usage(&arguments),
        Command::Audit(question) => audit::audit(&question),
        Command::Import(source) => import::import(&source),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sekisho", &mut script);
            print(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.and_then(|()| print(&page))
        }
    };
    match done {
        Ok(Done::Right) => ExitCode::SUCCESS,
        Ok(Done::Wrong) => ExitCode::FAILURE,
        // Whoever read the output has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(config: &ConfigFile, threads: fn()) -> Done {
    match app::run(&config.path, threads) {
        Ok(()) => Done::Right,
        Err(RunError::Config(faults) | RunError::Policy(faults)) => {
            complain(&shown(&faults, &io::stderr()));
            Done::Wrong
        }
        Err(error) => {
            let mut text = format!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            complain(&text);
            Done::Wrong
        }
    }
}

/// Writes a result to stdout.
fn print(bytes: &[u8]) -> io::Result<Done> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(Done::Right)
}

/// Writes to stderr; when that is gone there is nobody to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// Faults for a person: in colour on a terminal, unless <https://no-color.org> or a terminal without colours says otherwise.
fn shown(faults: &Diagnostics, to: &impl IsTerminal) -> String {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let unable = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if to.is_terminal() && !unwanted && !unable { faults.coloured() } else { faults.human() }
}

/// Prints faults for a person and answers whether there was an error among them.
fn complain_of(faults: &Diagnostics) -> Done {
    if !faults.is_empty() {
        complain(&shown(faults, &io::stderr()));
    }
    if faults.errors() > 0 { Done::Wrong } else { Done::Right }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contracts_commands_are_understood() {
        for line in [
            "sekisho run --config sekisho.yaml",
            "sekisho check --config sekisho.yaml --format json --deny warnings",
            "sekisho check --config sekisho.yaml --format sarif",
            "sekisho check --config sekisho.yaml --format github",
            "sekisho explain --config s.yaml a.example --from 10.0.0.1 --port 443 --at 2027-01-01 --protocol connect",
            "sekisho rulesets",
            "sekisho schema",
            "sekisho schema config",
            "sekisho rulesets aws:ssm --format json",
            "sekisho export endpoint-policy --policy p.yaml",
            "sekisho export bucket-policy reports --vpce vpce-0a1b2c3d --stage vpce --exempt arn:aws:iam::123456789012:root",
            "sekisho export bucket-policy reports --vpce vpce-0a1b2c3d --stage source --source 192.0.2.0/24",
            "sekisho export iam-policy --vpce vpce-0a1b2c3d",
            "sekisho export nftables --for router --clients 10.20.0.0/16,2001:db8:20::/64 --pass udp:53",
            "sekisho export iptables --for host --user sekisho --config sekisho.yaml",
            "sekisho export squid --part list --clients 10.20.0.0/16",
            "sekisho export aws-network-firewall --policy policy.yaml --format json",
            "sekisho export unbound --forward 10.0.0.2",
            "sekisho learn access.jsonl access.jsonl.1.gz - --since 2027-01-01 --policy p.yaml --refused --round /24",
            "sekisho usage access.jsonl --policy p.yaml --format json",
            "sekisho diff old.yaml new.yaml --format markdown",
            "sekisho import squid squid.conf",
            "sekisho import hosts /etc/hosts --format json",
            "sekisho import aws-network-firewall group.json",
            "sekisho audit egress 192.0.2.10 2001:db8::10 outside.example --tcp 443,22 --udp 443 --no-icmp --wait 2",
            "sekisho audit egress 192.0.2.10 --name dns.example --refusal-alert unrecognized_name --format json",
            "sekisho audit answer --bind 192.0.2.10,2001:db8::10 --tcp 443,22 --udp 443",
            "sekisho completions bash",
            "sekisho man",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        let wrong = Cli::try_parse_from(["sekisho", "check", "--format", "xml"]).unwrap_err();
        assert_eq!(wrong.exit_code(), 2);
    }
}
