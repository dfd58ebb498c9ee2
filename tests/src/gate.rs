//! sekisho itself, running unprivileged in the gate's namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Signal, getrlimit};
use serde_json::Value;

use crate::metrics::Metrics;
use crate::net::REDIRECT_PORT;
use crate::netns::Netns;
use crate::place;
use crate::process::Process;
use crate::topology::Lab;

/// The user that the gate runs as; no account is needed for it.
pub const UID: u32 = 31_415;

/// The `upstream:` that permits the lab's servers, whose ranges the guard refuses by default.
pub const UPSTREAM: &str = r#"upstream: [198.18.0.0/15, "2001:db8::/32"]"#;

/// How to start a gate. Start from [`Options::listing`] or [`Options::policy`] and change what the test is about.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name among the gates of a lab, and its directory's.
    pub name: String,
    /// The text of `policy.yaml`.
    pub policy: String,
    /// The `listeners:` of `sekisho.yaml`, one flow mapping each.
    pub listeners: Vec<String>,
    /// More top-level lines of `sekisho.yaml`, e.g. `timeouts: { hello: 2s }`; not listeners, policy, dns, `access_log`, admin.
    pub settings: String,
    /// The `access_log:` mapping; the file is to be `access.jsonl`.
    pub access_log: String,
    /// The `dns:` mapping.
    pub dns: String,
    /// The port of the admin endpoint, on 127.0.0.1.
    pub admin_port: u16,
    /// The limit on open files (`RLIMIT_NOFILE`), or this process's own if that is less.
    pub descriptors: u32,
    /// The user that it runs as. Pipes are counted for a user, whatever else runs as it.
    pub user: u32,
    /// The capability that it is started with, e.g. `+net_admin`; none if empty.
    pub capability: String,
    /// A program that the command line is given to while it has all privileges still, e.g. to open sockets for the gate.
    pub activator: Vec<String>,
    /// A program that the gate's own command line is given to, in place of running it at once.
    pub wrapper: Vec<String>,
}

impl Options {
    /// Buckets in the lab's region, all in one rule named `listed`, and the lab's servers as permitted upstream.
    pub fn listing(buckets: &[&str]) -> Self {
        let bucket = |name: &&str| format!("      - {{ name: {name}, region: ap-northeast-1 }}\n");
        let buckets: String = buckets.iter().map(bucket).collect();
        Self::policy(&format!("version: 1\nrules:\n  - name: listed\n    {UPSTREAM}\n    buckets:\n{buckets}"))
    }

    /// This policy; two `redirect` listeners (IPv4 and IPv6) on [`REDIRECT_PORT`]; the gate's DNS.
    pub fn policy(text: &str) -> Self {
        let listener = |bind| format!("{{ bind: \"{bind}:{REDIRECT_PORT}\", protocol: tls, destination: redirect }}");
        Self {
            name: "gate".to_owned(),
            policy: text.to_owned(),
            listeners: vec![listener("0.0.0.0"), listener("[::]")],
            settings: String::new(),
            access_log: "{ path: access.jsonl, format: json }".to_owned(),
            dns: r#"{ servers: ["198.18.0.54:53"] }"#.to_owned(),
            admin_port: 9180,
            descriptors: 65_536,
            user: UID,
            capability: String::new(),
            activator: Vec::new(),
            wrapper: Vec::new(),
        }
    }
}

/// A running gate; killed on drop.
#[derive(Debug)]
pub struct Gate<'lab> {
    ns: &'lab Netns,
    directory: PathBuf,
    admin: SocketAddr,
    process: Process,
}

impl<'lab> Gate<'lab> {
    /// Writes the two files, starts `sekisho run`, and waits until `/readyz` says 200.
    ///
    /// # Errors
    /// Fails when there is no binary or it does not become ready, with what it printed.
    pub fn start(lab: &'lab Lab, options: &Options) -> Result<Self> {
        let mut gate = Self::launch(lab, options)?;
        gate.wait_ready()?;
        Ok(gate)
    }

    /// Waits until `/readyz` says 200.
    ///
    /// # Errors
    /// Fails when it does not become ready, with what it printed.
    pub fn wait_ready(&mut self) -> Result<()> {
        let (ns, admin) = (self.ns, self.admin);
        let ready = || get(ns, admin, "/readyz").is_ok_and(|(status, _)| status == 200);
        self.process.wait_ready(Duration::from_secs(20), ready)
    }

    /// As [`Gate::start`], without waiting.
    ///
    /// # Errors
    /// Fails when there is no binary, or a file cannot be written.
    pub fn launch(lab: &'lab Lab, options: &Options) -> Result<Self> {
        Self::launch_in(lab, &lab.gate, options)
    }

    /// As [`Gate::launch`], in another namespace.
    ///
    /// # Errors
    /// As there.
    pub fn launch_in(lab: &'lab Lab, ns: &'lab Netns, options: &Options) -> Result<Self> {
        let directory = lab.directory().join(&options.name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("policy.yaml"), &options.policy)?;
        fs::write(directory.join("sekisho.yaml"), config(options))?;
        chown(&directory, Some(options.user), Some(options.user))?;
        let binary = place::reachable(place::gate_binary()?, lab.directory())?;
        // More than this process may have itself cannot be given where root lacks CAP_SYS_RESOURCE.
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let (uid, files) = (options.user.to_string(), format!("--nofile={}", most.min(options.descriptors.into())));
        let capability = match &*options.capability {
            "" => "-all".to_owned(),
            capability => format!("-all,{capability}"),
        };
        let mut command = ns.cmd("prlimit");
        command
            .arg(files)
            .args(&options.activator)
            .args(["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups", "--no-new-privs"])
            .args([format!("--inh-caps={capability}"), format!("--ambient-caps={capability}")])
            .args(&options.wrapper)
            .arg(binary)
            .args(["run", "--config"])
            .arg(directory.join("sekisho.yaml"))
            .current_dir(&directory);
        let process = Process::start(&options.name, lab.directory(), &mut command)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], options.admin_port));
        Ok(Self { ns, directory, admin, process })
    }

    /// Its process: signals, descriptors, memory, what it printed.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where its configuration, policy and access log are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Scrapes `/metrics`.
    ///
    /// # Errors
    /// Fails when the gate does not answer 200.
    pub fn metrics(&self) -> Result<Metrics> {
        match self.get("/metrics")? {
            (200, text) => Metrics::parse(&text),
            (status, text) => bail!("/metrics answered {status}: {text}"),
        }
    }

    /// Gets a path of the admin endpoint: status and body.
    ///
    /// # Errors
    /// Fails when the gate does not answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        get(self.ns, self.admin, path)
    }

    /// The access log's lines so far. A last line that is not whole yet is left out.
    ///
    /// # Errors
    /// Fails when a whole line is not JSON.
    pub fn access_log(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.directory.join("access.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))).collect()
    }

    /// Waits until `enough` of the access log's `close` lines are there, and returns these.
    ///
    /// # Errors
    /// Fails after `limit`, with the lines that there were.
    pub fn wait_closed(&self, limit: Duration, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let deadline = Instant::now() + limit;
        loop {
            let mut lines = self.access_log()?;
            lines.retain(|line| line.get("event").and_then(Value::as_str) == Some("close"));
            if enough(&lines) {
                return Ok(lines);
            }
            if Instant::now() >= deadline {
                let shown: Vec<_> = lines.iter().rev().take(10).map(Value::to_string).collect();
                bail!(
                    "the access log has {} close lines, not as expected; the last:\n{}",
                    lines.len(),
                    shown.join("\n")
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Replaces `policy.yaml` as a careful tool does: by rename.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub fn replace_policy(&self, text: &str) -> Result<()> {
        let next = self.directory.join("policy.yaml.next");
        fs::write(&next, text)?;
        fs::rename(next, self.directory.join("policy.yaml")).context("cannot replace the policy")
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// Fails when it still runs after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(limit)
    }

    /// Runs another `sekisho …` command on this gate's files, e.g. `["explain", "--config", "sekisho.yaml", "b.example"]`.
    ///
    /// # Errors
    /// Fails when the command cannot start.
    pub fn command(&self, args: &[&str]) -> Result<std::process::Output> {
        let mut command = self.ns.cmd(place::gate_binary()?);
        command.args(args).current_dir(&self.directory).output().context("cannot start sekisho")
    }
}

/// Gets a path over plain HTTP from inside a namespace: status and body.
///
/// # Errors
/// Fails when nothing answers within 5 s.
pub fn get(ns: &Netns, address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ns.enter(|| -> Result<_> {
        let limit = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Ok((status, if chunked { unchunk(body)? } else { body.to_owned() }))
    })?
}

fn unchunk(mut body: &str) -> Result<String> {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16)?;
        whole.push_str(rest.get(..size).context("a chunk is cut short")?);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    Ok(whole)
}

fn config(options: &Options) -> String {
    let listeners: Vec<_> = options.listeners.iter().map(|listener| format!("  - {listener}")).collect();
    format!(
        "listeners:\n{}\npolicy: policy.yaml\ndns: {}\naccess_log: {}\n\
         admin: {{ bind: \"127.0.0.1:{}\" }}\n{}\n",
        listeners.join("\n"),
        options.dns,
        options.access_log,
        options.admin_port,
        options.settings
    )
}
