//! `sekisho audit answer`: the host outside that an open way leads to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::egress::port;
use super::wire::{ANSWER, MARK};
use super::{TCP, UDP};
use crate::cli::{Done, complain, print};

/// Connections at one time, over all ports. It stands where anybody may come by.
const CONNECTIONS: usize = 256;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The addresses to answer on [default: every one of this host]
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',')]
    bind: Vec<IpAddr>,
    /// The TCP ports
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = TCP, value_parser = port())]
    tcp: Vec<u16>,
    /// The UDP ports
    #[arg(long, value_name = "PORT,…", value_delimiter = ',', default_value = UDP, value_parser = port())]
    udp: Vec<u16>,
}

/// Answers until it is killed.
pub(super) fn answer(arguments: &Arguments) -> io::Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let addresses = match &arguments.bind[..] {
            [] => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            named => named,
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut count = 0;
        for &address in addresses {
            for &port in &arguments.tcp {
                let to = SocketAddr::new(address, port);
                if let Some(socket) = told("tcp", to, bound(to, Type::STREAM)) {
                    tokio::spawn(streams(TcpListener::from_std(socket.into())?, Arc::clone(&places)));
                    count += 1;
                }
            }
            for &port in &arguments.udp {
                let to = SocketAddr::new(address, port);
                if let Some(socket) = told("udp", to, bound(to, Type::DGRAM)) {
                    tokio::spawn(datagrams(UdpSocket::from_std(socket.into())?));
                    count += 1;
                }
            }
        }
        if count == 0 {
            return Ok(Done::Wrong);
        }
        print(format!("answering on {count} sockets, until this is ended\n").as_bytes())?;
        std::future::pending().await
    })
}

/// The socket, or why there is none: where another program has the port, that program answers, which will do.
fn told(protocol: &str, to: SocketAddr, socket: io::Result<Socket>) -> Option<Socket> {
    socket.map_err(|error| complain(&format!("{protocol} {to}: {error}"))).ok()
}

fn bound(to: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    if to.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&to.into())?;
    if kind == Type::STREAM {
        socket.listen(128)?;
    }
    Ok(socket)
}

async fn streams(listener: TcpListener, places: Arc<Semaphore>) {
    loop {
        // Never closed, so there is always a place some time.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(async move {
                    // Whoever went away needs no answer.
                    let _ = timeout(Duration::from_secs(5), greet(stream)).await;
                    drop(place);
                });
            }
            // The connection's own end, or no descriptor left for a while.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The answer, and then what the client sends to its end: a close with bytes unread would take the answer back.
async fn greet(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER).await?;
    stream.shutdown().await?;
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Answers what has the mark, and is longer than the answer.
async fn datagrams(socket: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((count, from)) => {
                let datagram = buffer.get(..count).unwrap_or_default();
                if count >= ANSWER.len() && datagram.windows(MARK.len()).any(|window| window == MARK) {
                    let _ = socket.send_to(ANSWER, from).await;
                }
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
