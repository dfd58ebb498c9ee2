//! The resolver against servers on the loopback that do what a test tells them to.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it cannot go on")]

mod asking;
mod outage;
mod server;
mod serving;
mod spoofing;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sekisho_name::Name;
use sekisho_resolve::{Answer, ResolveError, Resolved, Resolver, Settings};

use server::Server;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// Times short enough for a test.
fn settings(servers: &[&Server]) -> Settings {
    let servers: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    Settings {
        servers,
        ttl_min: Duration::from_secs(1),
        failure_ttl: millis(100)..=millis(400),
        timeout: millis(400),
        ..Settings::default()
    }
}

fn start(servers: &[&Server]) -> Resolver {
    Resolver::start(settings(servers)).unwrap()
}

/// With so long a timeout that what is done at once, and what only after half of it, differ on a machine under load.
fn start_patient(servers: &[&Server]) -> Resolver {
    Resolver::start(Settings { timeout: Duration::from_secs(2), ..settings(servers) }).unwrap()
}

/// What is less than half of that timeout.
const AT_ONCE: Duration = Duration::from_millis(900);

/// An address that the servers here give: `192.0.2.last` or `2001:db8::last`.
fn ip4(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn ip6(last: u16) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last])
}

fn addresses(answer: &Answer) -> &[IpAddr] {
    &answer.addresses
}

/// Resolves, within ten seconds whatever happens; and how long it took.
async fn resolve(resolver: &Resolver, host: &str) -> (Result<Resolved, ResolveError>, Duration) {
    let begun = Instant::now();
    let outcome = tokio::time::timeout(Duration::from_secs(10), resolver.resolve(&name(host))).await;
    (outcome.expect("an end within ten seconds"), begun.elapsed())
}

/// Tries every few milliseconds until `done`, five seconds at most.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(millis(5)).await;
    }
}
