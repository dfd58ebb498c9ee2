//! What a client asks for, in whatever protocol its listener speaks: one host, one port, and what is to be done there.
//! From here on there is one way for all of them.

mod http;
mod tls;

use sekisho_name::Name;
use sekisho_peek::tls::retry::Watch;
use sekisho_policy::Protocol;
use tokio::net::TcpStream;

use crate::arrive::Arrived;
use crate::decide::Permit;
use crate::http::Manner;
use crate::live::Live;
use crate::reader::Reader;
use crate::settings::{self, Listener};
use crate::stop::Stop;
use crate::worker::Worker;

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The host that decides.
    pub(crate) host: Name,
    /// The port that is dialled.
    pub(crate) port: u16,
    /// What the rules call it.
    pub(crate) protocol: Protocol,
    /// What is done once the host is reached.
    pub(crate) then: Then,
    /// How the client is told that it is not.
    pub(crate) manner: Manner,
}

/// What is done once the host is reached.
#[derive(Debug)]
pub(crate) enum Then {
    /// What the client has sent goes on unchanged, and everything after it.
    Relay(Course),
    /// The client is told so, and its TLS begins: the hello must name the same host.
    Tunnel,
}

/// How bytes go on.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// What goes first.
    pub(crate) first: Vec<u8>,
    /// What the client has sent behind its hello, and what watches over it.
    pub(crate) watched: Option<(Watch, Vec<u8>)>,
    /// Bytes that the client still has to say; `None` where it may say anything.
    pub(crate) rest: Option<u64>,
}

/// Waits for what the client has to say.
pub(crate) async fn ask(
    worker: &Worker,
    live: &Live,
    listener: &Listener,
    arrived: Arrived,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Asked, Stop> {
    match &listener.protocol {
        settings::Protocol::Tls => {
            let hello = tls::hear(worker, live, stream, reader).await?;
            let host = hello.name.clone();
            let then = Then::Relay(tls::course(&hello, reader, worker));
            Ok(Asked { host, port: arrived.port, protocol: Protocol::Tls, then, manner: Manner::default() })
        }
        settings::Protocol::Http(methods) => http::request(worker, live, methods, arrived.port, stream, reader).await,
        settings::Protocol::Connect { ports, methods } => {
            http::proxied(worker, live, ports, methods, stream, reader).await
        }
    }
}

/// Begins what is to be done now that the host is reached.
pub(crate) async fn begin(
    worker: &Worker,
    live: &Live,
    host: &Name,
    permit: &Permit,
    then: Then,
    stream: &TcpStream,
    reader: &mut Reader,
) -> Result<Course, Stop> {
    match then {
        Then::Relay(course) => Ok(course),
        Then::Tunnel => {
            http::established(stream, reader).await?;
            let hello = tls::hear_inside(worker, live, host, stream, reader).await?;
            permit.hear_hello(worker, live, host)?;
            Ok(tls::course(&hello, reader, worker))
        }
    }
}
