//! A kernel that gives less: bytes arrive as ever, and the status says what is missing.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::net::Redirect;
use lab::process::Process;
use serde_json::{Value, json};

use crate::peer::{self, HOST, Server, TO, Task};

const LIMIT: Duration = Duration::from_secs(60);
const BULK: u64 = 20 << 20;
/// The system's: another first on the PATH may be root's alone.
const PYTHON: &str = "/usr/bin/python3";

/// Takes all pages of pipes that its user may have, and holds them.
const HOARDER: &str = "
import fcntl, os, time
pipes = [os.pipe() for _ in range(80)]
for _, write in pipes:
    try:
        fcntl.fcntl(write, 1031, 1 << 20)
    except PermissionError:
        break
pipes += [os.pipe() for _ in range(40)]
print('held', flush=True)
time.sleep(600)
";

/// Runs a program in which `splice` is refused, as a filter of system calls does it.
const WITHOUT_SPLICE: &str = "
import ctypes, os, struct, sys
number = {'x86_64': 275, 'aarch64': 76}[os.uname().machine]
code = b''.join(struct.pack('HBBI', *line) for line in [
    (0x20, 0, 0, 0),                        # the system call's number
    (0x15, 0, 1, number),                   # is it splice?
    (0x06, 0, 0, 0x00050000 | int(sys.argv[1])),
    (0x06, 0, 0, 0x7fff0000)])
lines = ctypes.create_string_buffer(code, len(code))
program = struct.pack('HxxxxxxP', len(code) // 8, ctypes.addressof(lines))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.create_string_buffer(program)):
    sys.exit('no filter: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
";

fn features(gate: &Gate<'_>) -> Result<Value> {
    let status: Value = serde_json::from_str(&gate.get("/status.json")?.1)?;
    Ok(status["features"].clone())
}

/// Megabytes both ways at once, compared by digest.
fn carries_bulk(lab: &Lab, server: &Server, options: &Options) -> Result<Value> {
    let gate = Gate::start(lab, options)?;
    let before = features(&gate)?;
    let _redirect = Redirect::nftables(lab)?;
    let received = peer::clients(&lab.client, LIMIT, || async {
        let stream = peer::open(TO.parse()?, HOST, Task::Exchange(BULK)).await?;
        let (mut read, mut write) = stream.into_split();
        let sent = tokio::spawn(async move { peer::send(&mut write, BULK).await });
        let received = peer::digest(&mut read).await?;
        sent.await??;
        anyhow::Ok(received)
    })??;
    ensure!(received == peer::expected(BULK), "the client received {} bytes that differ", received.bytes);
    ensure!(server.received() == [peer::expected(BULK)], "the server received {:?}", server.received());
    let after = features(&gate)?;
    ensure!(before == after, "{before} at the start, {after} after use");
    let page = gate.get("/status")?.1;
    let says = if after["splice"] == true { "spliced through pipes" } else { "copied: the kernel" };
    ensure!(page.contains(says), "the page does not say {says}");
    Ok(after)
}

#[test]
fn a_gate_that_lacks_nothing_says_so() -> Result<()> {
    let lab = Lab::new("features")?;
    let server = Server::start(&lab)?;
    let mut options = peer::options("upstream: { source_addresses: [10.88.0.1] }\nthreads: 1\nsteering: cpu");
    options.user = 31_417;
    let shown = carries_bulk(&lab, &server, &options)?;
    let all = json!({ "splice": true, "pipe_bytes": 1 << 20, "bind_address_no_port": true, "steering": true });
    ensure!(shown == all, "{shown}");
    Ok(())
}

#[test]
fn a_user_whose_pipes_are_used_up_relays_through_small_ones() -> Result<()> {
    let lab = Lab::new("small-pipes")?;
    let server = Server::start(&lab)?;
    let mut options = peer::options("");
    // Nobody else's pipes are to become small.
    options.user = 31_416;
    let user = options.user.to_string();
    let mut hoard = lab.gate.cmd("setpriv");
    hoard.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--inh-caps=-all", PYTHON, "-c", HOARDER]);
    let mut hoarder = Process::start("hoarder", lab.directory(), &mut hoard)?;
    let said = lab.directory().join("hoarder.stdout");
    hoarder.wait_ready(LIMIT, || std::fs::read_to_string(&said).is_ok_and(|text| text.contains("held")))?;

    let shown = carries_bulk(&lab, &server, &options)?;
    let bytes = shown["pipe_bytes"].as_u64().unwrap_or_default();
    ensure!(shown["splice"] == true && (4096..=8192).contains(&bytes), "{shown}");
    ensure!(shown["bind_address_no_port"].is_null() && shown["steering"].is_null(), "{shown}");
    Ok(())
}

#[test]
fn a_kernel_that_refuses_to_splice_has_bytes_copied() -> Result<()> {
    // Not there, and not permitted.
    for errno in ["38", "1"] {
        let lab = Lab::new("no-splice")?;
        let server = Server::start(&lab)?;
        let mut options = peer::options("");
        options.wrapper = [PYTHON, "-c", WITHOUT_SPLICE, errno].map(str::to_owned).to_vec();
        let shown = carries_bulk(&lab, &server, &options)?;
        ensure!(shown["splice"] == false, "{shown}");
    }
    Ok(())
}
