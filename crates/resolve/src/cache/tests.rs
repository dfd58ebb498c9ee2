//! One name driven through simulated time, as the driver would.

#![expect(clippy::unnecessary_wraps, reason = "what a family was heard to say is a result, also where it is good")]

mod failing;
mod keeping;
mod room;
mod union;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::answer::Seen;

const SECOND: Duration = Duration::from_secs(1);

/// A cache whose time is in the test's hands, and the readers' view of it.
struct World {
    cache: Cache,
    snapshot: Arc<Snapshot>,
    epoch: Instant,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let epoch = Instant::now();
        let snapshot = Arc::new(Snapshot::new(epoch));
        let cache = Cache::new(settings.bounded(), snapshot.clone());
        Self { cache, snapshot, epoch, now: epoch }
    }

    /// Milliseconds since the start.
    fn clock(&self) -> u128 {
        (self.now - self.epoch).as_millis()
    }

    /// Lets time pass without an eye on the agenda: only for when nothing is due.
    fn pass(&mut self, time: Duration) {
        let due = self.poll_until(self.now + time);
        assert_eq!(due, [], "something was due by {} ms", self.clock());
    }

    /// Lets time pass; what became due, with the millisecond at which it did.
    fn poll_until(&mut self, end: Instant) -> Vec<(u128, Due)> {
        let mut all = Vec::new();
        while let Some(at) = self.cache.next_due().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            while let Some(due) = self.cache.poll(self.now) {
                all.push((self.clock(), due));
            }
            assert!(self.cache.next_due().is_none_or(|next| next > self.now), "the agenda does not move on");
            assert!(all.len() < 1000, "the agenda never rests");
        }
        self.now = end;
        all
    }

    fn poll_for(&mut self, time: Duration) -> Vec<(u128, Due)> {
        self.poll_until(self.now + time)
    }

    /// A lookup that takes no time.
    fn hear(&mut self, name: &Name, v4: Heard, v6: Heard) -> Look {
        self.cache.asked(name, self.now);
        self.cache.answered(name, Some(v4), Some(v6), self.now)
    }

    fn hear_v4(&mut self, name: &Name, lasts: &[u8], ttl: u64) -> Look {
        self.hear(name, v4(lasts, ttl), nodata(9))
    }

    fn look(&mut self, name: &Name) -> Look {
        self.cache.look(name, self.now)
    }

    /// What a connection's thread is served, without a question to the resolver's.
    fn read(&self, name: &Name) -> Option<Vec<String>> {
        self.snapshot.get(name, self.now).map(|answer| texts(&answer))
    }
}

/// A millisecond less than `seconds`.
fn almost(seconds: u32) -> Duration {
    (SECOND * seconds).saturating_sub(Duration::from_millis(1))
}

fn host(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ip4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

fn ip6(last: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()))
}

fn v4(lasts: &[u8], ttl: u64) -> Heard {
    Ok(Reply::Addresses { ips: lasts.iter().map(|&last| ip4(last)).collect(), ttl: Duration::from_secs(ttl) })
}

fn v6(lasts: &[u8], ttl: u64) -> Heard {
    Ok(Reply::Addresses { ips: lasts.iter().map(|&last| ip6(last)).collect(), ttl: Duration::from_secs(ttl) })
}

fn nodata(ttl: u64) -> Heard {
    Ok(Reply::NoData { ttl: Some(Duration::from_secs(ttl)) })
}

fn nxdomain(ttl: u64) -> Heard {
    Ok(Reply::NoName { ttl: Some(Duration::from_secs(ttl)) })
}

const SERVFAIL: Heard = Err("SERVFAIL");

fn texts(answer: &Answer) -> Vec<String> {
    let short = |ip: &IpAddr| ip.to_string().replace("192.0.2.", ".").replace("2001:db8::", "::");
    answer.addresses.iter().map(short).collect()
}

/// The addresses of a fresh answer, the prefixes left out.
fn fresh(look: &Look) -> Vec<String> {
    match look {
        Look::Fresh(answer) => texts(answer),
        other => panic!("{other:?} is not fresh"),
    }
}

fn stale(look: &Look) -> Vec<String> {
    match look {
        Look::Stale(answer) => texts(answer),
        other => panic!("{other:?} is not stale"),
    }
}

fn refresh(at: u128, name: &Name) -> (u128, Due) {
    (at, Due::Refresh(name.clone()))
}
