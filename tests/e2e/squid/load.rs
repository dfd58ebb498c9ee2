//! Clients that never stop: they ask on and on, by the proxy variables or without them, and each failure is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::Lab;
use lab::process::Process;

/// How many requests a client may make in all: a test that hangs must not run for ever.
const MOST: usize = 5_000;
/// What each client must have done in a phase before the next one begins.
const EACH: u64 = 8;

/// A program that keeps a connection for some requests and then takes another, as pools do. It writes a line for each.
const POOL: &str = r#"
import http.client, os, ssl, sys, time, urllib.parse
host, ca, switch = sys.argv[1:]
proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
context = ssl.create_default_context(cafile=ca)
for _ in range(500):
    direct = os.path.exists(switch)
    if direct:
        connection = http.client.HTTPSConnection(host, context=context, timeout=20)
    else:
        connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context, timeout=20)
        connection.set_tunnel(host)
    try:
        for _ in range(40):
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read()
            print("ok" if (answer.status, body) == (200, b"served") else f"status {answer.status}", flush=True)
            time.sleep(0.025)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        time.sleep(0.1)
    connection.close()
"#;

/// What came of the requests of one client in one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) served: u64,
    pub(super) failed: Vec<String>,
}

/// Counts by phase and client.
pub(super) type Counts = BTreeMap<(&'static str, &'static str), Count>;

#[derive(Debug)]
struct Shared {
    phase: Mutex<&'static str>,
    counts: Mutex<Counts>,
    stop: AtomicBool,
    /// A file: where it is, nobody uses the proxy any more.
    direct: PathBuf,
}

impl Shared {
    fn phase(&self) -> &'static str {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, phase: &'static str, client: &'static str, result: std::result::Result<(), String>) {
        let mut counts = self.counts();
        let count = counts.entry((phase, client)).or_default();
        match result {
            Ok(()) => count.served += 1,
            Err(why) => count.failed.push(why),
        }
    }
}

/// Running clients; stopped on drop.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    clients: Vec<&'static str>,
}

impl Load {
    /// Starts a client that keeps its connections, and a curl for each of these URLs. All use `proxy`.
    pub(super) fn start(
        lab: &Lab,
        ca: &Path,
        proxy: &str,
        pool: &str,
        curls: &[(&'static str, &'static str)],
    ) -> Result<Self> {
        let direct = lab.directory().join("direct");
        let (phase, counts, stop) = (Mutex::new("squid"), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { phase, counts, stop, direct });
        let script = lab.directory().join("pool.py");
        fs::write(&script, POOL)?;
        let mut python = lab.client.cmd("python3");
        python.arg(script).arg(pool).arg(ca).arg(&shared.direct).env("https_proxy", proxy);
        let process = Process::start("pool", lab.directory(), &mut python)?;
        let mut threads = vec![follow(process, Arc::clone(&shared))];
        for &(name, url) in curls {
            let shared = Arc::clone(&shared);
            let [mut direct, mut proxied] = [(); 2].map(|()| {
                let mut curl = lab.client.cmd("curl");
                curl.args(["-sS", "--max-time", "20", "-w", "\n%{http_code}", "--cacert"]).arg(ca).arg(url);
                curl
            });
            proxied.env("https_proxy", proxy).env("http_proxy", proxy);
            threads.push(thread::spawn(move || {
                for _ in 0..MOST {
                    if shared.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // The phase in which it begins, though it may end in the next.
                    let phase = shared.phase();
                    let result = curl(if shared.direct.exists() { &mut direct } else { &mut proxied });
                    shared.note(phase, name, result);
                    thread::sleep(Duration::from_millis(20));
                }
            }));
        }
        let clients = [&["pool"][..], &curls.iter().map(|(name, _)| *name).collect::<Vec<_>>()].concat();
        Ok(Self { shared, threads, clients })
    }

    /// Begins a phase, and returns when every client has asked some times in it.
    pub(super) fn phase(&self, phase: &'static str) -> Result<()> {
        *self.shared.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
        self.go_on()
    }

    /// Returns when every client has asked some times more in the phase that there is.
    pub(super) fn go_on(&self) -> Result<()> {
        let phase = self.shared.phase();
        let done = |counts: &Counts, client| {
            counts.get(&(phase, client)).map_or(0, |count| count.served + count.failed.len() as u64)
        };
        let before: Vec<_> = self.clients.iter().map(|client| done(&self.shared.counts(), client)).collect();
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let now = self.shared.counts().clone();
            if self.clients.iter().zip(&before).all(|(client, before)| done(&now, client) >= before + EACH) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "a client has stopped in {phase}: {now:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// From now on nobody uses the proxy: its variables are gone.
    pub(super) fn without_proxy(&self) -> Result<()> {
        fs::write(&self.shared.direct, "").context("cannot tell the clients")
    }

    /// Stops the clients. What came of all their requests.
    pub(super) fn finish(mut self) -> Counts {
        self.stop();
        self.shared.counts().clone()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

fn curl(command: &mut Command) -> std::result::Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && said == "served\n200" {
        Ok(())
    } else {
        Err(format!("{said} {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Counts the lines that the pool writes, until it is to stop.
fn follow(pool: Process, shared: Arc<Shared>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut seen = 0;
        while !shared.stop.load(Ordering::Relaxed) {
            // The phase first: a line that is there now was asked for in it or before.
            let phase = shared.phase();
            let said = pool.stdout();
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            for line in whole.lines().skip(seen) {
                seen += 1;
                shared.note(phase, "pool", if line == "ok" { Ok(()) } else { Err(line.to_owned()) });
            }
            thread::sleep(Duration::from_millis(20));
        }
    })
}

/// That every client was served in every phase, and nothing failed in any.
pub(super) fn nothing_failed(counts: &Counts, phases: &[&'static str], clients: usize) -> Result<()> {
    for (phase, client) in counts.keys() {
        ensure!(phases.contains(phase), "{client} in {phase}");
    }
    for &phase in phases {
        let of: Vec<_> = counts.iter().filter(|((of, _), _)| *of == phase).collect();
        let served: u64 = of.iter().map(|(_, count)| count.served).sum();
        println!("{phase}: {served} requests served, {} failed", of.iter().map(|(_, c)| c.failed.len()).sum::<usize>());
        if let Some(((_, client), count)) = of.iter().find(|(_, count)| !count.failed.is_empty()) {
            bail!("{client} in {phase}: {:?}", count.failed);
        }
        ensure!(of.len() == clients && of.iter().all(|(_, count)| count.served >= EACH), "{phase}: {of:?}");
    }
    Ok(())
}
