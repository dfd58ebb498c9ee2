//! How a node ends, and what its pair notices of it: lame duck, drain, a restart behind a balancer; and its log, moved away.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Gate;
use lab::net::Redirect;
use lab::process::Process;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::peer::{self, HOST, Server, TO, Task, options};

const LIMIT: Duration = Duration::from_secs(120);

/// One short connection after another until told to stop: when each began, and whether it was served.
async fn one_after_another(to: SocketAddr, mut stop: watch::Receiver<bool>) -> Vec<(Instant, Result<()>)> {
    let mut all = Vec::new();
    while !*stop.borrow_and_update() {
        let begun = Instant::now();
        let end = tokio::time::timeout(Duration::from_secs(10), peer::echo_once(to, HOST, b"again")).await;
        all.push((begun, end.context("no end within 10 s").and_then(|end| end)));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    all
}

#[test]
fn told_to_stop_a_node_serves_on_until_its_balancer_knows_and_finishes_what_is_open() -> Result<()> {
    let lab = Lab::new("ending")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options("shutdown: { lame_duck: 3s, drain: 30s }"))?;
    let _redirect = Redirect::nftables(&lab)?;
    let (stop, stopped) = watch::channel(false);
    let (open, mut opened) = watch::channel(false);

    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| {
            peer::clients(&lab.client, LIMIT, || async move {
                let mut held = Vec::new();
                for _ in 0..100 {
                    let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
                    peer::ping(&mut stream, b"first").await?;
                    held.push(stream);
                }
                open.send_replace(true);
                let mut done = stopped.clone();
                let short: Vec<_> = (0..4)
                    .map(|_| tokio::spawn(one_after_another(TO.parse().expect("an address"), stopped.clone())))
                    .collect();
                done.wait_for(|done| *done).await?;
                // The listener is closed by now, and these still flow.
                for stream in &mut held {
                    peer::ping(stream, b"still here").await?;
                    stream.shutdown().await?;
                    ensure!(stream.read(&mut [0]).await? == 0);
                }
                let mut all = Vec::new();
                for one in short {
                    all.extend(one.await?);
                }
                anyhow::Ok(all)
            })
        });
        let work = (|| -> Result<(Instant, Instant)> {
            while !*opened.borrow_and_update() && !load.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_secs(1));
            ensure!(gate.get("/readyz")?.0 == 200);
            gate.process().signal(Signal::TERM)?;
            let told = Instant::now();
            while gate.get("/readyz")?.0 == 200 {
                ensure!(told.elapsed() < Duration::from_secs(1), "still ready a second after it was told to stop");
            }
            let (status, text) = gate.get("/readyz")?;
            ensure!(status == 503 && text.contains("lame duck"), "{status} {text}");
            let known = Instant::now();
            while gate.get("/readyz")?.1.contains("lame duck") {
                std::thread::sleep(Duration::from_millis(10));
            }
            let closed = Instant::now();
            ensure!(gate.get("/healthz")?.0 == 200, "alive until its end");
            std::thread::sleep(Duration::from_millis(500));
            Ok((known, closed))
        })();
        stop.send_replace(true);
        let all = load.join().map_err(|_| anyhow::anyhow!("the clients panicked"))???;
        let (known, closed) = work?;
        ensure!(closed.duration_since(known) > Duration::from_millis(2500), "the lame duck was cut short");
        let before = all.iter().filter(|(begun, _)| *begun + Duration::from_millis(50) < closed);
        let mut served = 0;
        for (begun, end) in before {
            ensure!(end.is_ok(), "refused {:?} before it stopped accepting: {end:?}", closed.duration_since(*begun));
            served += 1;
        }
        let after = all.iter().filter(|(begun, _)| *begun > closed + Duration::from_millis(50));
        let refused = after.clone().filter(|(_, end)| end.is_err()).count();
        ensure!(served > 100 && refused > 0 && refused == after.count(), "{served} served, then {refused} refused");
        println!("{served} connections were served up to the end of the lame duck");
        Ok(())
    })?;
    let status = gate.process().wait(Duration::from_secs(10))?;
    ensure!(status.success(), "{status}");
    let lines = gate.access_log()?;
    ensure!(lines.last().is_some_and(|line| line["event"] == "stop"), "no stop line");
    ensure!(lines.iter().all(|line| line["closed_by"] != "shutdown"), "something was cut");
    Ok(())
}

#[test]
fn what_outlives_the_drain_is_reset_and_recorded_and_a_second_signal_hurries() -> Result<()> {
    let lab = Lab::new("drain")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options("shutdown: { lame_duck: 1h, drain: 1s }"))?;
    let _redirect = Redirect::nftables(&lab)?;
    let end = std::thread::scope(|scope| -> Result<_> {
        let client = scope.spawn(|| {
            peer::clients(&lab.client, LIMIT, || async {
                let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
                peer::ping(&mut stream, b"here").await?;
                anyhow::Ok(stream.read(&mut [0]).await.map_err(|error| error.kind()))
            })
        });
        while gate.metrics()?.sum("sekisho_connections_active", &[]) < 0.5 && !client.is_finished() {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(200));
        gate.process().signal(Signal::TERM)?;
        std::thread::sleep(Duration::from_millis(300));
        ensure!(gate.process().is_running(), "it did not wait");
        gate.process().signal(Signal::TERM)?;
        let status = gate.process().wait(Duration::from_secs(10))?;
        ensure!(status.success(), "{status}");
        client.join().map_err(|_| anyhow::anyhow!("the client panicked"))?
    })??;
    ensure!(end == Err(std::io::ErrorKind::ConnectionReset), "the client saw {end:?}");
    let lines = gate.access_log()?;
    let cut: Vec<_> = lines.iter().filter(|line| line["closed_by"] == "shutdown").collect();
    ensure!(cut.len() == 1 && cut[0]["verdict"] == "allowed", "{cut:?}");
    Ok(())
}

#[test]
fn behind_haproxy_one_of_two_gates_is_restarted_and_no_request_fails() -> Result<()> {
    let lab = Lab::new("pair")?;
    let server = Server::start(&lab)?;
    let gate = |name: &str, host: u8| {
        let mut options = options(&format!(
            "health: {{ bind: \"127.0.0.{host}:9181\" }}\nlimits: {{ connections_per_client: 10000 }}\n\
             shutdown: {{ lame_duck: 5s, drain: 20s }}"
        ));
        options.name = name.to_owned();
        options.listeners = vec![format!(
            "{{ bind: \"127.0.0.{host}:8443\", protocol: tls, destination: none, proxy_protocol: {{ from: [127.0.0.0/8] }} }}"
        )];
        options.admin_port = 9190 + u16::from(host);
        options
    };
    let (a, b) = (gate("gate-a", 1), gate("gate-b", 2));
    let mut first = Gate::start(&lab, &a)?;
    let mut second = Gate::start(&lab, &b)?;
    let _haproxy = haproxy(&lab)?;

    let to: SocketAddr = "10.20.0.1:443".parse()?;
    let (stop, stopped) = watch::channel(false);
    let all = std::thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| {
            peer::clients(&lab.client, LIMIT, || async move {
                let many: Vec<_> = (0..4).map(|_| tokio::spawn(one_after_another(to, stopped.clone()))).collect();
                let mut all = Vec::new();
                for one in many {
                    all.extend(one.await?);
                }
                anyhow::Ok(all)
            })
        });
        let work = (|| -> Result<()> {
            std::thread::sleep(Duration::from_secs(2));
            first.process().signal(Signal::TERM)?;
            let status = first.process().wait(Duration::from_secs(40))?;
            ensure!(status.success(), "{status}");
            let alone = server.accepted();
            std::thread::sleep(Duration::from_secs(1));
            ensure!(server.accepted() > alone, "nothing flowed while one gate was away");
            first = Gate::start(&lab, &a)?;
            let deadline = Instant::now() + Duration::from_secs(20);
            while first.metrics()?.sum("sekisho_connections_total", &[("verdict", "allowed")]) < 50.0 {
                ensure!(Instant::now() < deadline, "the restarted gate gets no traffic");
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        })();
        stop.send_replace(true);
        let all = load.join().map_err(|_| anyhow::anyhow!("the clients panicked"))???;
        work.map(|()| all)
    })?;
    let failed: Vec<_> = all.iter().filter_map(|(_, end)| end.as_ref().err()).collect();
    println!("{} requests through the pair, {} failed", all.len(), failed.len());
    ensure!(failed.is_empty() && all.len() > 500, "{} of {} failed: {:?}", failed.len(), all.len(), failed.first());
    let digest = |gate: &Gate<'_>| -> Result<String> {
        let status: Value = serde_json::from_str(&gate.get("/status.json")?.1)?;
        Ok(status["policy"]["digest"].as_str().context("no digest")?.to_owned())
    };
    ensure!(digest(&first)? == digest(&second)?, "the pair's digests differ");
    ensure!(second.process().is_running());
    Ok(())
}

/// HAProxy with deploy/'s own configuration, but for the addresses of the gates.
fn haproxy(lab: &Lab) -> Result<Process> {
    let text = fs::read_to_string(lab::workspace().join("deploy/haproxy/haproxy.cfg"))?;
    let text = text.replace("10.20.0.11:8443", "127.0.0.1:8443").replace("10.20.0.12:8443", "127.0.0.2:8443");
    ensure!(text.contains("127.0.0.1:8443") && text.contains("127.0.0.2:8443"), "deploy's gates have other addresses");
    // A test may not have the 100,000 files that so many connections could need.
    let text = text.replace("maxconn 50000", "maxconn 5000");
    let file = lab.directory().join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut haproxy =
        Process::start("haproxy", lab.directory(), lab.gate.cmd("haproxy").args(["-db", "-f"]).arg(&file))?;
    haproxy.wait_ready(Duration::from_secs(20), || {
        lab.gate.enter(|| std::net::TcpStream::connect("10.20.0.1:443").is_ok()).unwrap_or(false)
    })?;
    // Both gates have to be seen as up.
    std::thread::sleep(Duration::from_secs(3));
    Ok(haproxy)
}

#[test]
fn a_log_that_is_moved_away_or_reopened_loses_no_line() -> Result<()> {
    let lab = Lab::new("rotation")?;
    let _server = Server::start(&lab)?;
    let mut gate = Gate::start(&lab, &options(""))?;
    let _redirect = Redirect::nftables(&lab)?;
    let directory = gate.directory().to_owned();
    let log = directory.join("access.jsonl");
    let (stop, stopped) = watch::channel(false);
    let to: SocketAddr = TO.parse()?;
    let all = std::thread::scope(|scope| -> Result<_> {
        let load = scope.spawn(|| peer::clients(&lab.client, LIMIT, || one_after_another(to, stopped)));
        let work = (|| -> Result<()> {
            for round in 0..4 {
                std::thread::sleep(Duration::from_millis(700));
                fs::rename(&log, directory.join(format!("access.jsonl.{round}")))?;
                if round % 2 == 0 {
                    gate.process().signal(Signal::USR1)?;
                }
                let deadline = Instant::now() + Duration::from_secs(5);
                while !log.exists() {
                    ensure!(Instant::now() < deadline, "no new file after move {round}");
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Ok(())
        })();
        stop.send_replace(true);
        let all = load.join().map_err(|_| anyhow::anyhow!("the clients panicked"))??;
        work.map(|()| all)
    })?;
    gate.process().signal(Signal::TERM)?;
    gate.process().signal(Signal::TERM)?;
    std::thread::sleep(Duration::from_millis(100));
    let _ = gate.process().signal(Signal::TERM);
    ensure!(gate.process().wait(Duration::from_secs(10))?.success());
    let mut closed = 0;
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("access.jsonl")) {
            for line in fs::read_to_string(&path)?.lines() {
                let line: Value = serde_json::from_str(line).with_context(|| format!("torn: {line}"))?;
                closed += usize::from(line["event"] == "close");
            }
        }
    }
    ensure!(all.iter().all(|(_, end)| end.is_ok()), "a connection failed");
    ensure!(closed == all.len() && closed > 100, "{closed} lines for {} connections", all.len());
    Ok(())
}

#[test]
fn a_second_instance_on_the_same_address_ends_at_once_and_names_the_first() -> Result<()> {
    let lab = Lab::new("second")?;
    let mut first = Gate::start(&lab, &options(""))?;
    let mut other = options("");
    other.name = "other".to_owned();
    other.admin_port = 9190;
    let mut second = Gate::launch(&lab, &other)?;
    let status = second.process().wait(Duration::from_secs(10))?;
    let said = second.process().stderr();
    ensure!(status.code() == Some(1), "{status}");
    ensure!(said.contains(&format!("process {} (sekisho", first.process().pid())), "it said: {said}");
    ensure!(first.process().is_running());
    Ok(())
}
