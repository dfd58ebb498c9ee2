//! Too much of everything: slow hellos, one client's flood, connections by the thousand; and back to where it was.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Redirect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::{self, HOST, Server, TO, Task, options};

const LIMIT: Duration = Duration::from_secs(120);

/// Opens, uses and closes 200 connections, 20 at a time; answers how long each took, sorted.
async fn two_hundred_good_ones() -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for _ in 0..10 {
        let twenty: Vec<_> = (0..20)
            .map(|_| {
                tokio::spawn(async {
                    let begun = Instant::now();
                    peer::echo_once(TO.parse()?, HOST, b"good").await?;
                    anyhow::Ok(begun.elapsed())
                })
            })
            .collect();
        for one in twenty {
            took.push(one.await??);
        }
    }
    took.sort_unstable();
    Ok(took)
}

#[test]
fn a_thousand_slow_hellos_harm_no_good_client_and_end_at_the_deadline() -> Result<()> {
    let lab = Lab::new("slow-hellos")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options("timeouts: { hello: 5s }\nlimits: { connections_per_client: 2000 }"))?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;
    let without = peer::clients(&lab.client, LIMIT, two_hundred_good_ones)??;

    let (with, slow) = peer::clients(&lab.client, LIMIT, || async {
        let slow: Vec<_> = (0..1000)
            .map(|_| {
                tokio::spawn(async {
                    let mut stream = TcpStream::connect(TO).await?;
                    let begun = Instant::now();
                    let (mut read, mut write) = stream.split();
                    let trickle = async {
                        for byte in peer::hello(HOST) {
                            write.write_all(&[byte]).await?;
                            tokio::time::sleep(Duration::from_millis(400)).await;
                        }
                        std::io::Result::Ok(())
                    };
                    let mut byte = [0];
                    let end = tokio::select! {
                        end = read.read(&mut byte) => end.map(drop),
                        end = trickle => end,
                    };
                    anyhow::Ok((end.map_err(|error| error.kind()), begun.elapsed()))
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let with = two_hundred_good_ones().await?;
        let mut ends = Vec::new();
        for one in slow {
            ends.push(one.await??);
        }
        anyhow::Ok((with, ends))
    })??;

    for (end, after) in &slow {
        ensure!(
            matches!(end, Err(std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)),
            "a slow one saw {end:?}"
        );
        ensure!(
            (Duration::from_millis(4500)..Duration::from_secs(8)).contains(after),
            "a slow one ended after {after:?}"
        );
    }
    let median = |all: &[Duration]| all.get(all.len() / 2).copied().context("none");
    let (without, with) = (median(&without)?, median(&with)?);
    println!("median of 200 good clients: {without:?} alone, {with:?} beside 1000 slow ones");
    ensure!(with < without * 4 + Duration::from_millis(50), "{without:?} alone, {with:?} beside the slow ones");
    let metrics = gate.metrics()?;
    let ended = |reason| metrics.sum("sekisho_connections_total", &[("reason", reason)]);
    ensure!((ended("hello_timeout") - 1000.0).abs() < 0.5, "{} timed out", ended("hello_timeout"));
    let allowed = metrics.sum("sekisho_connections_total", &[("verdict", "allowed")]);
    ensure!((allowed - 400.0).abs() < 0.5, "{allowed} were served");
    returned(&mut gate, base)
}

#[test]
fn one_client_that_opens_8000_connections_meets_its_cap_and_others_do_not() -> Result<()> {
    let lab = Lab::new("one-client")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options("limits: { connections_per_client: 500 }"))?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;
    let memory = gate.process().rss_kib()?;

    let (held, refused) = peer::clients(&lab.client, LIMIT, || async {
        let (mut held, mut refused) = (Vec::new(), 0);
        for _ in 0..80 {
            let hundred: Vec<_> = (0..100)
                .map(|_| {
                    tokio::spawn(async {
                        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
                        peer::ping(&mut stream, b"in").await?;
                        anyhow::Ok(stream)
                    })
                })
                .collect();
            for one in hundred {
                match one.await? {
                    Ok(stream) => held.push(stream),
                    Err(_) => refused += 1,
                }
            }
        }
        // Another client is served meanwhile.
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("10.20.0.3:0".parse()?)?;
        let mut other = socket.connect(TO.parse()?).await?;
        other.write_all(&peer::hello(HOST)).await?;
        other.write_all(&[b'E', 0, 0, 0, 0, 0, 0, 0, 0]).await?;
        peer::ping(&mut other, b"another").await?;
        anyhow::Ok((held.len(), refused))
    })??;
    ensure!((held, refused) == (500, 7500), "{held} held, {refused} refused");
    let lines = gate.wait_closed(Duration::from_secs(20), |lines| lines.len() == 8001)?;
    let over = lines.iter().filter(|line| line["reason"] == "over_client_limit").count();
    ensure!(over == 7500, "{over} lines say over_client_limit");
    returned(&mut gate, base)?;
    let grown = gate.process().rss_kib()?.saturating_sub(memory);
    ensure!(grown < 16 * 1024, "{grown} KiB more than before");
    Ok(())
}

#[test]
fn thousands_of_open_connections_leave_neither_memory_nor_descriptors_behind() -> Result<()> {
    let lab = Lab::new("thousands")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options("limits: { connections_per_client: 10000 }"))?;
    let _redirect = Redirect::nftables(&lab)?;
    let base = gate.process().descriptors()?;
    // The first round shows what is kept for good; the others must not add to it.
    let mut resident = vec![gate.process().rss_kib()?];
    for _ in 0..4 {
        peer::clients(&lab.client, LIMIT, || async { opened(8000).await.map(|held| held.len()) })??;
        returned(&mut gate, base)?;
        // What was freed goes back to the system within a second or two.
        std::thread::sleep(Duration::from_secs(4));
        resident.push(gate.process().rss_kib()?);
    }
    println!("resident KiB at first, and after each 8000 connections: {resident:?}");
    let [none, first, .., last] = resident[..] else { anyhow::bail!("no figures") };
    ensure!(last < none + 4096, "what was freed is not given back: {resident:?}");
    ensure!(last < first + 2048, "it grows: {resident:?}");
    Ok(())
}

/// Opens so many connections through the gate, each of which has carried something.
async fn opened(connections: usize) -> Result<Vec<TcpStream>> {
    let mut held = Vec::with_capacity(connections);
    while held.len() < connections {
        let some: Vec<_> = (0..200.min(connections - held.len()))
            .map(|_| {
                tokio::spawn(async {
                    let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
                    peer::ping(&mut stream, b"in").await?;
                    anyhow::Ok(stream)
                })
            })
            .collect();
        for one in some {
            held.push(one.await??);
        }
    }
    Ok(held)
}

/// The gate's descriptors are as many as at first, but for the pipes that it keeps.
fn returned(gate: &mut Gate<'_>, base: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while gate.process().descriptors()? > base + 2 * 2 * 8 {
        ensure!(Instant::now() < deadline, "{} descriptors are open, {base} were", gate.process().descriptors()?);
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
