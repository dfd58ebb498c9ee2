//! Servers that fail and come back.

use hickory_resolver::proto::op::ResponseCode;
use sekisho_resolve::{LookupResult, Source};

use super::*;
use crate::server::{Act, Asked};

const HOSTS: [&str; 2] = ["b.s3.example", "c.s3.example"];

/// Reads the names every few milliseconds for `time`; how many reads found an expired answer. A machine under load may
/// wake the resolver's thread too late for a read or two, which then wait for it and for nothing else.
async fn read(resolver: &Resolver, time: Duration) -> usize {
    let (begun, mut stale, mut waited) = (Instant::now(), 0, 0);
    while begun.elapsed() < time {
        for host in HOSTS {
            let answer = if let Some(answer) = resolver.cached(&name(host)) {
                answer
            } else {
                waited += 1;
                let (found, took) = resolve(resolver, host).await;
                assert!(took < millis(150), "a name in use waited for {took:?}");
                found.unwrap().answer
            };
            stale += usize::from(answer.expires < Instant::now());
        }
        tokio::time::sleep(millis(3)).await;
    }
    assert!(waited < 5, "{waited} reads of names in use had to wait");
    stale
}

/// Names in use through an outage of some TTLs, in which the server does `fault`.
async fn through(fault: fn(&Asked) -> Vec<Act>) {
    let server = Server::with(&[1], &[6], 1);
    let resolver = start(&[&server]);
    for host in HOSTS {
        resolve(&resolver, host).await.0.unwrap();
    }
    assert_eq!(read(&resolver, millis(500)).await, 0);

    server.now(fault);
    let stale = read(&resolver, millis(3_000)).await;
    assert!(stale > 100, "{stale} reads of an expired answer");
    let (found, took) = resolve(&resolver, HOSTS[0]).await;
    assert_eq!(found.unwrap().source, Source::Stale);
    assert!(took < millis(150), "{took:?}");
    assert!(resolver.stats().lookups(LookupResult::Stale) > 2);
    assert!(resolver.entries().iter().all(|entry| entry.stale));
    // A name that nobody knows fails, in the time of a lookup.
    let (failed, took) = resolve(&resolver, "new.example").await;
    assert!(matches!(failed, Err(ResolveError::Failed(_))));
    assert!(took < millis(1_800), "{took:?}");

    server.now(|asked| asked.answer(&[2], &[7], 60));
    let back = |host| {
        let answer = resolver.cached(&name(host));
        answer.is_some_and(|answer| answer.addresses.contains(&ip4(2)) && answer.expires > Instant::now())
    };
    until("the names recover", || HOSTS.into_iter().all(back)).await;
    assert!(resolver.entries().iter().all(|entry| !entry.stale));
}

#[tokio::test]
async fn names_in_use_go_on_while_the_server_is_silent() {
    through(|_| Vec::new()).await;
}

#[tokio::test]
async fn names_in_use_go_on_while_the_server_fails() {
    through(|asked| asked.code(ResponseCode::ServFail)).await;
}

#[tokio::test]
async fn names_in_use_go_on_while_the_server_talks_nonsense() {
    through(|asked| vec![Act::Bytes([&asked.message.id.to_be_bytes()[..], &[0xff; 30]].concat())]).await;
}

#[tokio::test]
async fn a_denial_in_an_outage_ends_what_served_stale() {
    type Script = fn(&Asked) -> Vec<Act>;
    let denials: [Script; 2] = [|asked| asked.missing(30), |asked| asked.answer(&[], &[], 30)];
    for denial in denials {
        let server = Server::with(&[1], &[], 1);
        let resolver = start(&[&server]);
        let b = name("b.example");
        resolve(&resolver, "b.example").await.0.unwrap();
        server.now(|asked| asked.code(ResponseCode::ServFail));
        until("it serves stale", || resolver.cached(&b).is_some_and(|answer| answer.expires < Instant::now())).await;
        server.now(denial);
        until("the denial is heard", || resolver.cached(&b).is_none()).await;
        assert_eq!(resolve(&resolver, "b.example").await.0.unwrap_err(), ResolveError::NotFound);
        assert!(resolver.entries().is_empty());
    }
}

#[tokio::test]
async fn nothing_serves_longer_than_serve_stale() {
    let server = Server::with(&[1], &[], 1);
    let resolver = Resolver::start(Settings { serve_stale: millis(1_000), ..settings(&[&server]) }).unwrap();
    let b = name("b.example");
    let expires = resolve(&resolver, "b.example").await.0.unwrap().answer.expires;
    server.now(|_| Vec::new());
    while Instant::now() < expires + millis(980) {
        assert!(resolver.cached(&b).is_some());
        tokio::time::sleep(millis(3)).await;
    }
    tokio::time::sleep_until((expires + millis(1_020)).into()).await;
    assert!(resolver.cached(&b).is_none());
    assert!(matches!(resolve(&resolver, "b.example").await.0, Err(ResolveError::Failed(_))));
}

#[tokio::test]
async fn the_second_server_keeps_names_fresh_while_the_first_is_down() {
    let (first, second) = (Server::with(&[1], &[], 1), Server::with(&[2], &[], 1));
    let resolver = start(&[&first, &second]);
    for host in HOSTS {
        resolve(&resolver, host).await.0.unwrap();
    }
    first.now(|_| Vec::new());
    assert_eq!(read(&resolver, millis(2_500)).await, 0);
    assert_eq!(resolver.stats().lookups(LookupResult::Stale), 0);
    assert_eq!(resolver.cached(&name(HOSTS[0])).unwrap().addresses[0], ip4(2));
}
