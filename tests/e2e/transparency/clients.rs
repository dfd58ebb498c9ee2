//! How each client is started, what is said to it, and what of its words tells what it saw.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use lab::process::Process;

use super::LIMIT;
use super::cast::{Cast, REQUEST, address};
use super::rows::{Program, Row};
use super::rustls_side;
use super::servers::{self, Talk, lines, talk, word};

/// Most of a client's time is waiting.
const AT_ONCE: usize = 4;

/// Runs the clients of all rows, some at once; `run` names this time. What each saw.
pub(super) fn run_all(cast: &Cast<'_>, rows: &[&Row], run: &str) -> Result<Vec<Vec<String>>> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![None; rows.len()]));
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((at, row)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, rows.get(at)?)))
                {
                    match run_one(cast, at, row, run) {
                        Ok(said) => results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(said),
                        Err(fault) => faults
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(format!("{}: {fault:#}", row.name)),
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(faults.is_empty(), "{run}:\n{}", faults.join("\n"));
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect::<Option<_>>().context("no result")
}

fn run_one(cast: &Cast<'_>, at: usize, row: &Row, run: &str) -> Result<Vec<String>> {
    let directory = cast.lab.directory().join(format!("{run}-{}", row.name));
    fs::create_dir_all(&directory)?;
    let words = row.client.1.replace("{dir}", &directory.display().to_string());
    let words = words.replace("{certs}", &cast.files.directory());
    let mut said = String::new();
    if row.client.0 == Program::Rustls {
        let mut words = cast.files.words(&words, &[("ca", &cast.files.ca)]);
        words.extend((talk(row) == Talk::Echo).then(|| ("talk".to_owned(), "echo".to_owned())));
        let said = rustls_side::call(&cast.lab.client, (address(at)?, 443).into(), &row.host(), &words)?;
        return Ok(facts(Program::Rustls, &said));
    }
    for (step, words) in words.split(" && ").enumerate() {
        let words: Vec<_> = words.split_ascii_whitespace().collect();
        let mut command = command(cast, at, row, &words, &directory)?;
        let mut client = Process::start_listening(&format!("step{step}"), &directory, &mut command)?;
        let end = converse(&mut client, row).and_then(|()| client.wait(LIMIT));
        let output = format!("{}\n{}", client.stdout(), client.stderr());
        let status = end.with_context(|| format!("step {step}"))?;
        ensure!(status.success(), "{command:?} ended with {status}: {output}");
        said.push_str(&output);
    }
    Ok(facts(row.client.0, &said))
}

fn command(cast: &Cast<'_>, at: usize, row: &Row, words: &[&str], directory: &Path) -> Result<Command> {
    let (ns, files, host, address) = (&cast.lab.client, &cast.files, row.host(), address(at)?.to_string());
    let mut command = match row.client.0 {
        Program::OpenSsl => {
            // What it hears shows at once.
            let mut command = ns.cmd("stdbuf");
            command.args(["-oL", "openssl", "s_client", "-connect", &format!("{address}:443"), "-servername", &host]);
            command.args(["-verify_return_error", "-verify_hostname", &host, "-CAfile"]).arg(&files.ca);
            command
        }
        Program::GnuTls => {
            let mut command = ns.cmd("gnutls-cli");
            command.args(["--port", "443", &address]).arg(format!("--sni-hostname={host}"));
            command.arg(format!("--verify-hostname={host}")).arg("--x509cafile").arg(&files.ca);
            command
        }
        Program::Nss => {
            let mut command = ns.cmd("tstclnt");
            command.args(["-h", &address, "-p", "443", "-a", &host, "-A"]).arg(cast.lab.directory().join("request"));
            command.args(["-d", &format!("sql:{}/nss", files.directory())]);
            command
        }
        Program::Curl => {
            let mut command = ns.cmd("curl");
            command.args(["-sv", "--resolve", &format!("{host}:443:{address}"), "--cacert"]).arg(&files.ca);
            command.arg(format!("https://{host}/"));
            command
        }
        Program::Chromium => {
            let mut command = ns.cmd("chromium");
            command.args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-dev-shm-usage",
            ]);
            command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
            command.arg("--ignore-certificate-errors").arg(format!("--user-data-dir={}", directory.display()));
            command.arg(format!("--host-resolver-rules=MAP {host} {address}, MAP * ~NOTFOUND"));
            command.args(["--dump-dom", &format!("https://{host}/")]);
            command
        }
        program => {
            let mut command = files.own_program(ns, program, words)?;
            command.args(["client", &address, &host]).arg(word("ca", &files.ca));
            command.arg(match talk(row) {
                Talk::Reverse => "talk=reverse",
                Talk::Echo => "talk=echo",
                Talk::Http => "talk=http",
                Talk::Listen => bail!("a server that says nothing is for OpenSSL's client"),
            });
            command
        }
    };
    command.args(words.iter().filter(|word| !word.starts_with("-D")));
    Ok(command)
}

/// Says what must be said, hears what must be heard, and ends.
fn converse(client: &mut Process, row: &Row) -> Result<()> {
    let exchange = match (row.client.0, talk(row)) {
        (Program::OpenSsl | Program::GnuTls | Program::Nss, Talk::Reverse) => [("ping\n", "gnip"), ("pong\n", "gnop")],
        (Program::OpenSsl | Program::GnuTls | Program::Nss, Talk::Echo) => [("ping\n", "ping"), ("pong\n", "pong")],
        // A ticket comes by itself; two words to the program could reach it as one.
        (Program::OpenSsl, Talk::Listen) => [("", "New Session Ticket arrived"); 2],
        (Program::OpenSsl, Talk::Http) => [(REQUEST, "HTTP/1."); 2],
        _ => return Ok(()),
    };
    say(client, exchange[0])?;
    if let Some((said, heard)) = row.during {
        say(client, (&format!("{said}\n"), heard))?;
        say(client, exchange[1])?;
    }
    if row.client.0 == Program::OpenSsl && talk(row) != Talk::Http {
        client.say("Q\n")?;
    } else {
        client.hush();
    }
    Ok(())
}

fn say(client: &mut Process, (text, heard): (&str, &str)) -> Result<()> {
    client.say(text)?;
    let outputs = client.outputs();
    client.wait_ready(LIMIT, || outputs.read().contains(heard)).with_context(|| format!("no {heard:?} after {text:?}"))
}

/// The lines that tell what the client saw.
fn facts(program: Program, said: &str) -> Vec<String> {
    match program {
        Program::OpenSsl => {
            let phrases = [
                "New, ",
                "Reused, ",
                "ALPN",
                "Early data was",
                "Server Temp Key",
                "Verification:",
                "RENEGOTIATING",
                "KeyUpdate",
            ];
            lines(said, &phrases)
        }
        Program::GnuTls => {
            let phrases =
                ["- Description:", "- Application protocol:", "a resumed session", "Status:", "Successfully sent"];
            lines(said, &phrases)
        }
        Program::Nss => lines(said, &["subject DN:", "stateless resumes", "HTTP/1."]),
        Program::Curl => lines(said, &["SSL connection using", "ALPN: server", "HTTP/"]),
        Program::Chromium => lines(said, &["passed"]),
        other => servers::facts(other, said),
    }
}
