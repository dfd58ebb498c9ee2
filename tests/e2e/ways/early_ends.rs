//! Clients that leave, stall or do not listen at every stage of a request: nothing of them stays.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::Gate;
use lab::net::Outage;
use socket2::{Domain, SockRef, Socket, Type};

use super::{HOST, PATIENCE, closed, options, text};
use crate::peer::{Server, hello};

const LISTENER: &str = "{ bind: \"0.0.0.0:3128\", protocol: connect, destination: none }";
const TO: ([u8; 4], u16) = ([10, 20, 0, 1], 3128);

fn connect(host: &str) -> Vec<u8> {
    format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// How far a client comes before it ends.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Half a request.
    Request,
    /// The gate dials, and nobody answers.
    Dialling,
    /// Its tunnel stands.
    Tunnel,
    /// Half a hello inside it.
    Hello,
    /// A hello that names another host.
    Mismatch,
    /// Refused, and may ask again.
    Refused,
    /// Its plain request is with a server that does not answer.
    Plain,
}

/// A client that has come so far.
fn client(stage: Stage) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(std::net::SocketAddr::from(TO))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (hello, other) = (hello(HOST), hello("other.example"));
    let get = format!("GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
    let (ask, answered, inner): (_, _, &[u8]) = match stage {
        Stage::Request => (b"CONNECT listed.exa".to_vec(), false, b""),
        Stage::Dialling => (connect("silent.example"), false, b""),
        Stage::Tunnel => (connect(HOST), true, b""),
        Stage::Hello => (connect(HOST), true, hello.get(..40).unwrap_or_default()),
        Stage::Mismatch => (connect(HOST), true, &other),
        Stage::Refused => (connect("other.example"), true, b""),
        Stage::Plain => (get, false, b""),
    };
    stream.write_all(&ask)?;
    if answered {
        ensure!(stream.read(&mut [0; 4096])? > 0, "no answer at {stage:?}");
    }
    stream.write_all(inner)?;
    Ok(stream)
}

#[test]
fn a_client_that_ends_at_any_stage_leaves_nothing_behind() -> Result<()> {
    const STAGES: [Stage; 7] =
        [Stage::Request, Stage::Dialling, Stage::Tunnel, Stage::Hello, Stage::Mismatch, Stage::Refused, Stage::Plain];
    let lab = Lab::new("early")?;
    let _server = Server::start(&lab)?;
    let _silence = Outage::silent(&lab, "198.18.3.0/24")?;
    lab.gate_dns.set_name("silent.example", Behaviour::Addresses(vec!["198.18.3.1".parse()?]));
    // Takes connections and says nothing.
    let deaf = lab.servers.enter(|| TcpListener::bind("[::]:80"))??;
    let mut options = options(LISTENER);
    options.policy = options.policy.replace(HOST, &format!("{HOST}, silent.example"));
    options.settings = "timeouts: { hello: 2s, connect: 2s, half_closed: 1s }".to_owned();
    let mut gate = Gate::start(&lab, &options)?;
    let mut before = None;
    for round in 0..2 {
        lab.client.enter(|| -> Result<()> {
            for stage in STAGES {
                for _ in 0..10 {
                    let broken = client(stage)?;
                    SockRef::from(&broken).set_linger(Some(Duration::ZERO))?;
                    drop(broken);
                    drop(client(stage)?);
                    // It has finished, and is there all the same.
                    let finished = client(stage)?;
                    finished.shutdown(Shutdown::Write)?;
                    thread::spawn(move || {
                        let mut finished = finished;
                        let _ = finished.read_to_end(&mut Vec::new());
                    });
                }
            }
            Ok(())
        })??;
        let deadline = Instant::now() + 6 * PATIENCE;
        let settled = loop {
            let active = gate.metrics()?.sum("sekisho_connections_active", &[]);
            let open = gate.process().descriptors()?;
            let there = active.to_bits() == 0f64.to_bits() && before.is_none_or(|before| open <= before);
            if there {
                break open;
            }
            ensure!(Instant::now() < deadline, "round {round}: {active} connections, {open} descriptors of {before:?}");
            thread::sleep(Duration::from_millis(100));
        };
        // The first round has filled what is kept for use again.
        before.get_or_insert(settled);
    }
    let lines = closed(&gate, 2 * 7 * 30)?;
    ensure!(lines.len() == 2 * 7 * 30, "{} records", lines.len());
    ensure!(lines.iter().all(|line| text(line, "protocol") == "connect"), "{lines:?}");
    drop(deaf);
    Ok(())
}

/// It asks for what is refused, over and over, and takes no answer: sooner or later the gate cannot say more, and must
/// not wait for that without end.
#[test]
fn a_client_that_asks_and_does_not_listen_is_let_go() -> Result<()> {
    let lab = Lab::new("deaf")?;
    let gate = Gate::start(&lab, &options(LISTENER))?;
    let asked = lab.client.enter(|| -> Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(2048)?;
        socket.connect(&std::net::SocketAddr::from(TO).into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(6 * PATIENCE))?;
        SockRef::from(&stream).set_send_buffer_size(4096)?;
        for asked in 0..100_000 {
            match stream.write_all(&connect("other.example")) {
                Ok(()) => thread::sleep(Duration::from_millis(1)),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return Ok(asked);
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("it was answered without end")
    })??;
    ensure!(asked > 50, "after {asked} requests already");
    let deadline = Instant::now() + 6 * PATIENCE;
    while gate.metrics()?.sum("sekisho_connections_active", &[]) > 0.0 {
        ensure!(Instant::now() < deadline, "it is still there");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Time that a client took for its request is not there for its hello. Seen by who ends first: one that began sooner but
/// got on to its tunnel, or one that came a second later and said nothing at all.
#[test]
fn one_deadline_bounds_all_that_a_client_has_to_say() -> Result<()> {
    let lab = Lab::new("budget")?;
    let _server = Server::start(&lab)?;
    let mut options = options(LISTENER);
    options.settings = "threads: 1\ntimeouts: { hello: 4s }".to_owned();
    let gate = Gate::start(&lab, &options)?;
    let kept = lab.client.enter(|| -> Result<_> {
        let mut slow = TcpStream::connect(std::net::SocketAddr::from(TO))?;
        slow.write_all(b"CONNECT ")?;
        thread::sleep(Duration::from_secs(1));
        let mut silent = TcpStream::connect(std::net::SocketAddr::from(TO))?;
        silent.write_all(b"C")?;
        thread::sleep(Duration::from_secs(1));
        slow.write_all(connect(HOST).get(8..).unwrap_or_default())?;
        Ok((slow, silent))
    })??;
    let lines = closed(&gate, 2)?;
    drop(kept);
    let ends: Vec<_> = lines.iter().map(|line| (text(line, "host"), text(line, "reason"))).collect();
    ensure!(ends == [(HOST, "hello_timeout"), ("", "hello_timeout")], "{lines:?}");
    Ok(())
}
