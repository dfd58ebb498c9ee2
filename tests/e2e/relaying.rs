//! What is carried: ends in both directions, resets from either side, readers that stop. The servers' and the clients' own
//! digests are compared, so a byte too many, too few or out of place shows.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::peer::{self, Server, Task};

const HOST: &str = "relay.example";
const TO: &str = "198.18.1.7:443";
const BULK: u64 = 50 << 20;
/// What each of twenty stalled senders sends: more than the kernel and a pipe hold.
const SHARE: u64 = 10 << 20;
const LIMIT: Duration = Duration::from_secs(120);

fn policy() -> Options {
    Options::policy(&format!("version: 1\nrules:\n  - name: relay\n    {UPSTREAM}\n    hosts: [{HOST}]\n"))
}

/// The one close line of the connection that the test made.
fn closed(gate: &Gate<'_>) -> Result<Value> {
    let mut lines = gate.wait_closed(Duration::from_secs(20), |lines| !lines.is_empty())?;
    ensure!(lines.len() == 1, "{} connections were recorded", lines.len());
    lines.pop().context("no line")
}

/// Descriptors that the gate has open when nothing is going on, and again after a moment's patience.
fn descriptors_return_to(gate: &mut Gate<'_>, base: usize) -> Result<()> {
    for _ in 0..100 {
        // Pipes are kept for the next transfer: a few pairs for each worker.
        if gate.process().descriptors()? <= base + 2 * 2 * 8 {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("{} descriptors are open, {base} were at first", gate.process().descriptors()?)
}

#[test]
fn fifty_megabytes_follow_a_half_close_in_either_direction() -> Result<()> {
    let lab = Lab::new("half-close")?;
    let server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;

    // The client ends first, with 50 MB before its end; only then does the server send 50 MB.
    let received = peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Answer(BULK)).await?;
        let (mut read, mut write) = stream.split();
        peer::send(&mut write, BULK).await?;
        peer::digest(&mut read).await
    })??;
    ensure!(received == peer::expected(BULK), "the client received {} bytes that differ", received.bytes);
    ensure!(server.received() == [peer::expected(BULK)], "the server received {:?}", server.received());
    let line = closed(&gate)?;
    ensure!(line["closed_by"] == "client" && line["bytes_down"] == BULK, "{line}");
    ensure!(line["bytes_up"].as_u64().unwrap_or_default() > BULK, "the hello is missing from {line}");

    // The server ends first, with 50 MB before its end; the client goes on to send 50 MB into the half-closed rest.
    let received = peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Exchange(BULK)).await?;
        let (mut read, mut write) = stream.split();
        let received = peer::digest(&mut read).await?;
        peer::send(&mut write, BULK).await?;
        anyhow::Ok(received)
    })??;
    ensure!(received == peer::expected(BULK), "the client received {} bytes that differ", received.bytes);
    let lines = gate.wait_closed(Duration::from_secs(20), |lines| lines.len() == 2)?;
    ensure!(server.received() == [peer::expected(BULK), peer::expected(BULK)], "the server received something else");
    ensure!(lines[1]["closed_by"] == "upstream", "{}", lines[1]);
    descriptors_return_to(&mut gate, base)
}

#[test]
fn fifty_megabytes_go_both_ways_at_once() -> Result<()> {
    let lab = Lab::new("both-ways")?;
    let server = Server::start(&lab)?;
    let _gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let received = peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Exchange(BULK)).await?;
        let (mut read, mut write) = stream.split();
        let (received, ()) = tokio::try_join!(peer::digest(&mut read), peer::send(&mut write, BULK))?;
        anyhow::Ok(received)
    })??;
    ensure!(received == peer::expected(BULK) && server.received() == [received], "not the same bytes");
    Ok(())
}

#[test]
fn a_reset_from_either_side_reaches_the_other_as_a_reset() -> Result<()> {
    let lab = Lab::new("resets")?;
    let server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;

    let kind = peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Reset).await?;
        anyhow::Ok(stream.read(&mut [0]).await.map_err(|error| error.kind()))
    })??;
    ensure!(kind == Err(std::io::ErrorKind::ConnectionReset), "the client saw {kind:?}");
    ensure!(closed(&gate)?["closed_by"] == "upstream_reset");

    peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut stream, b"here").await?;
        peer::reset(stream)
    })??;
    let lines = gate.wait_closed(Duration::from_secs(20), |lines| lines.len() == 2)?;
    ensure!(lines[1]["closed_by"] == "client_reset", "{}", lines[1]);
    for _ in 0..100 {
        if server.resets() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(server.resets() == 1, "the server saw no reset");
    descriptors_return_to(&mut gate, base)
}

#[test]
fn a_reader_that_stops_holds_its_sender_back_and_nobody_else() -> Result<()> {
    let lab = Lab::new("stopped-reader")?;
    let server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;
    let memory = gate.process().rss_kib()?;

    peer::clients(&lab.client, LIMIT, || async {
        let stalled: Vec<_> = (0..20)
            .map(|_| {
                tokio::spawn(async {
                    let mut stream = peer::open(TO.parse()?, HOST, Task::Stall(15_000)).await?;
                    let (mut read, mut write) = stream.split();
                    peer::send(&mut write, SHARE).await?;
                    ensure!(read.read(&mut [0]).await? == 0);
                    Ok(())
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        // Twenty senders stall on what nobody reads: others are served as ever.
        for _ in 0..50 {
            peer::echo_once(TO.parse()?, HOST, b"quick").await?;
        }
        ensure!(server.received().is_empty(), "others were served only when nobody stalled any more");
        for sender in stalled {
            sender.await??;
        }
        anyhow::Ok(())
    })??;
    gate.wait_closed(Duration::from_secs(20), |lines| lines.len() == 70)?;
    let (received, all) = (server.received(), peer::expected(SHARE));
    ensure!(received.len() == 20 && received.iter().all(|one| *one == all), "bytes were lost");
    let grown = gate.process().rss_kib()?.saturating_sub(memory);
    ensure!(grown < 16 * 1024, "the gate grew by {grown} KiB over 200 MB that nobody read");
    descriptors_return_to(&mut gate, base)
}

#[test]
fn what_is_half_closed_or_idle_ends_at_its_bound() -> Result<()> {
    let lab = Lab::new("bounds")?;
    let _server = Server::start(&lab)?;
    let mut options = policy();
    options.settings = "timeouts: { idle: 4s, half_closed: 2s }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    peer::clients(&lab.client, LIMIT, || async {
        let mut quiet = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut quiet, b"here").await?;
        let mut half = peer::open(TO.parse()?, HOST, Task::Stall(60_000)).await?;
        half.shutdown().await?;
        let mut busy = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        for _ in 0..12 {
            peer::ping(&mut busy, b"still here").await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for stream in [&mut quiet, &mut half] {
            let end = stream.read(&mut [0]).await.map_err(|error| error.kind());
            ensure!(end == Err(std::io::ErrorKind::ConnectionReset), "not reset: {end:?}");
        }
        peer::ping(&mut busy, b"still here").await
    })??;
    let lines = gate.wait_closed(Duration::from_secs(5), |lines| lines.len() == 3)?;
    let mut ends: Vec<_> = lines.iter().filter_map(|line| line["closed_by"].as_str()).collect();
    ends.sort_unstable();
    ensure!(ends == ["client", "half_closed", "idle"] || ends == ["client_reset", "half_closed", "idle"], "{ends:?}");
    Ok(())
}

#[test]
fn what_is_still_open_after_a_minute_has_a_line_and_later_its_end_under_the_same_number() -> Result<()> {
    let lab = Lab::new("a-minute")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let open = |gate: &Gate<'_>| -> Result<Vec<Value>> {
        Ok(gate.access_log()?.into_iter().filter(|line| line["event"] == "open").collect())
    };
    peer::clients(&lab.client, LIMIT, || async {
        let mut long = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut long, b"first").await?;
        tokio::time::sleep(Duration::from_secs(55)).await;
        ensure!(open(&gate)?.is_empty(), "too early");
        // A balancer between would forget a quiet connection; and a peer that vanished would not be noticed.
        let sockets = lab.gate.run("ss", ["-tno", "state", "established"])?;
        let of = |port: &str| sockets.lines().filter(|line| line.contains(port)).all(|line| line.contains("keepalive"));
        ensure!(sockets.lines().count() == 3 && of(":443") && of(":8443"), "{sockets}");
        // Well before the 350 s after which a network balancer forgets a flow.
        ensure!(
            sockets.lines().skip(1).all(|line| seconds_of_timer(line).is_some_and(|left| left <= 120)),
            "{sockets}"
        );
        let mut short = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut short, b"short").await?;
        tokio::time::sleep(Duration::from_secs(8)).await;
        peer::ping(&mut long, b"last").await
    })??;
    let closed = gate.wait_closed(Duration::from_secs(5), |lines| lines.len() == 2)?;
    let open = open(&gate)?;
    ensure!(open.len() == 1, "{open:?}");
    let long: Vec<_> = closed.iter().filter(|line| line["conn"] == open[0]["conn"]).collect();
    ensure!(long.len() == 1, "no end of {} in {closed:?}", open[0]);
    ensure!(open[0]["verdict"] == "allowed" && open[0]["rule"] == "relay" && open[0]["bytes_down"] == 5, "{}", open[0]);
    ensure!(open[0].get("closed_by").is_none() && long[0]["bytes_down"] == 9, "{}", long[0]);
    Ok(())
}

/// How long until the timer that `ss` shows, as in `timer:(keepalive,1min49sec,0)`, where that is ten seconds or more.
fn seconds_of_timer(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("timer:(keepalive,")?;
    let (text, _) = rest.split_once(',')?;
    let (minutes, seconds) = text.split_once("min").unwrap_or(("0", text));
    let seconds = seconds.strip_suffix("sec").unwrap_or("0");
    Some(minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?)
}
