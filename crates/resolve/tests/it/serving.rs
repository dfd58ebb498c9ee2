//! How callers are served: one lookup for all, nobody waits for a name in use, and the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;
use sekisho_resolve::{LookupResult, Observer, Source};
use tokio::task::JoinSet;

use super::*;
use crate::server::Act;

async fn all(resolver: &Resolver, host: &str, count: usize) -> Vec<Result<Resolved, ResolveError>> {
    let mut callers = JoinSet::new();
    for _ in 0..count {
        let (resolver, name) = (resolver.clone(), name(host));
        callers.spawn(async move { resolver.resolve(&name).await });
    }
    callers.join_all().await
}

#[tokio::test]
async fn a_thousand_callers_at_once_make_one_question_per_family() {
    let server = Server::new(|asked| vec![Act::Later(millis(100), asked.addresses(&[1], &[6], 60))]);
    let resolver = start(&[&server]);
    let outcomes = all(&resolver, "b.example", 1000).await;
    assert_eq!(outcomes.len(), 1000);
    let first = outcomes[0].as_ref().unwrap().answer.clone();
    assert_eq!(first.addresses.len(), 2);
    assert!(outcomes.iter().all(|outcome| Arc::ptr_eq(&outcome.as_ref().unwrap().answer, &first)));
    let counts = (server.count("b.example", RecordType::A), server.count("b.example", RecordType::AAAA));
    assert_eq!(counts, (1, 1));
    assert_eq!(resolver.stats().lookups(LookupResult::Ok), 1);
}

#[tokio::test]
async fn a_thousand_callers_share_a_failure_and_a_denial_and_both_are_kept() {
    let server = Server::new(|asked| match asked.host().as_str() {
        "none.example." => asked.missing(30),
        _ => asked.code(ResponseCode::ServFail),
    });
    let resolver =
        Resolver::start(Settings { failure_ttl: millis(400)..=millis(400), ..settings(&[&server]) }).unwrap();
    for (host, expected) in
        [("none.example", ResolveError::NotFound), ("down.example", ResolveError::Failed("SERVFAIL"))]
    {
        let outcomes = all(&resolver, host, 1000).await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap_err() == &expected));
        let before = server.asked(host).len();
        assert_eq!(all(&resolver, host, 100).await.len(), 100);
        assert_eq!(server.asked(host).len(), before);
    }
    assert_eq!((server.asked("none.example").len(), server.asked("down.example").len()), (2, 4));
    // Once the failure is no longer kept, the servers are asked again.
    server.now(|asked| asked.answer(&[1], &[], 60));
    tokio::time::sleep(millis(450)).await;
    assert_eq!(addresses(&resolve(&resolver, "down.example").await.0.unwrap().answer), [ip4(1)]);
    assert_eq!(resolve(&resolver, "none.example").await.0.unwrap_err(), ResolveError::NotFound);
}

#[tokio::test]
async fn a_caller_that_leaves_leaves_the_lookup() {
    let server = Server::new(|asked| vec![Act::Later(millis(100), asked.addresses(&[1], &[], 60))]);
    let resolver = start(&[&server]);
    let b = name("b.example");
    assert!(tokio::time::timeout(millis(20), resolver.resolve(&b)).await.is_err());
    until("the cache is filled", || resolver.cached(&b).is_some()).await;
    assert_eq!(server.asked("b.example").len(), 2);
}

#[tokio::test]
async fn too_many_who_wait_are_refused_at_once_and_there_is_room_again_when_they_left() {
    let server = Server::silent();
    let settings = Settings { max_waiters: 10, timeout: Duration::from_secs(5), ..settings(&[&server]) };
    let resolver = Resolver::start(settings).unwrap();
    let mut waiting = JoinSet::new();
    for n in 0..10 {
        let (resolver, name) = (resolver.clone(), name(&format!("n{n}.example")));
        waiting.spawn(async move { resolver.resolve(&name).await });
    }
    until("ten wait", || server.all_asked().len() >= 20).await;
    for _ in 0..20 {
        let (refused, took) = resolve(&resolver, "n0.example").await;
        assert_eq!(refused.unwrap_err(), ResolveError::Overloaded);
        assert!(took < millis(500), "{took:?}");
    }
    // What has been answered before is not touched by it, and leavers make room.
    waiting.shutdown().await;
    tokio::time::sleep(millis(150)).await;
    server.now(|asked| asked.answer(&[1], &[], 60));
    assert_eq!(addresses(&resolve(&resolver, "new.example").await.0.unwrap().answer), [ip4(1)]);
}

#[tokio::test]
async fn callers_that_were_answered_wait_no_more() {
    let server = Server::with(&[1], &[], 60);
    let resolver = Resolver::start(Settings { max_waiters: 4, ..settings(&[&server]) }).unwrap();
    for n in 0..60 {
        resolve(&resolver, &format!("n{n}.example")).await.0.unwrap();
    }
}

#[tokio::test]
async fn addresses_of_one_family_do_not_wait_long_for_the_other() {
    let server = Server::new(|asked| {
        if asked.is_v4() {
            asked.answer(&[1], &[], 60)
        } else {
            vec![Act::Later(millis(300), asked.addresses(&[], &[6], 60))]
        }
    });
    let resolver = start(&[&server]);
    let b = name("b.example");
    let (found, took) = resolve(&resolver, "b.example").await;
    assert_eq!(addresses(&found.unwrap().answer), [ip4(1)]);
    assert!((millis(45)..millis(250)).contains(&took), "{took:?}");
    until("the late family joins", || addresses(&resolver.cached(&b).unwrap()).contains(&ip6(6))).await;
    assert!(addresses(&resolver.cached(&b).unwrap()).contains(&ip4(1)));
}

#[tokio::test]
async fn no_addresses_of_one_family_do_wait_for_the_other() {
    let server = Server::new(|asked| {
        if asked.is_v4() {
            asked.answer(&[], &[], 60)
        } else {
            vec![Act::Later(millis(150), asked.addresses(&[], &[6], 60))]
        }
    });
    let resolver = start(&[&server]);
    assert_eq!(addresses(&resolve(&resolver, "six.example").await.0.unwrap().answer), [ip6(6)]);
}

#[tokio::test]
async fn a_name_in_use_is_refreshed_before_its_ttl_ends_and_nobody_ever_waits() {
    let mut turn = 0;
    let server = Server::new(move |asked| {
        turn += u8::from(asked.is_v4());
        asked.answer(&[turn], &[], 1)
    });
    let resolver = Resolver::start(Settings { timeout: millis(200), ..settings(&[&server]) }).unwrap();
    let b = name("b.example");
    resolve(&resolver, "b.example").await.0.unwrap();
    let begun = Instant::now();
    let mut latest = ip4(1);
    while begun.elapsed() < millis(3_000) {
        let answer = resolver.cached(&b).expect("nobody waits");
        assert!(answer.expires >= Instant::now(), "nothing stale while the servers answer");
        latest = answer.addresses[0];
        tokio::time::sleep(millis(2)).await;
    }
    // At 0.775 s, 1.55 s and 2.325 s.
    let asked: Vec<_> = server.asked("b.example").into_iter().filter(server::Asked::is_v4).collect();
    assert_eq!((asked.len(), latest), (4, ip4(4)));
    for pair in asked.windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!((millis(750)..millis(1_000)).contains(&gap), "{gap:?}");
    }
    // Every answer of late is still there, the latest first.
    assert_eq!(addresses(&resolver.cached(&b).unwrap()), [ip4(4), ip4(3), ip4(2), ip4(1)]);
    assert_eq!(resolver.entries().len(), 1);
}

/// Holds up the resolver's thread while `gate` is shut, and remembers what it was told.
#[derive(Default)]
struct Watcher {
    gate: Mutex<Option<mpsc::Receiver<()>>>,
    held: AtomicBool,
    told: Mutex<Vec<(LookupResult, f64)>>,
}

impl Observer for Watcher {
    fn lookup(&self, result: LookupResult, seconds: f64) {
        self.told.lock().unwrap().push((result, seconds));
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            self.held.store(true, Ordering::SeqCst);
            gate.recv_timeout(Duration::from_secs(10)).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_cached_is_read_while_the_resolver_s_thread_stands_still() {
    let server = Server::with(&[1], &[], 60);
    let watcher = Arc::new(Watcher::default());
    let resolver = Resolver::start_observed(settings(&[&server]), watcher.clone()).unwrap();
    let b = name("b.example");
    resolve(&resolver, "b.example").await.0.unwrap();
    let (open, gate) = mpsc::channel();
    *watcher.gate.lock().unwrap() = Some(gate);
    let other = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.resolve(&name("other.example")).await }
    });
    until("the thread is held", || watcher.held.load(Ordering::SeqCst)).await;
    let begun = Instant::now();
    for _ in 0..100_000 {
        assert!(resolver.cached(&b).is_some());
    }
    let took = begun.elapsed();
    assert_eq!(resolve(&resolver, "b.example").await.0.unwrap().source, Source::Cache);
    assert!(!other.is_finished());
    assert!(took < Duration::from_secs(3), "{took:?} for 100,000 reads");
    open.send(()).unwrap();
    assert_eq!(addresses(&other.await.unwrap().unwrap().answer), [ip4(1)]);
}

#[tokio::test]
async fn readers_see_a_name_throughout_while_others_come_and_go() {
    let server = Server::with(&[1], &[], 60);
    let resolver = Resolver::start(Settings { max_names: 64, ..settings(&[&server]) }).unwrap();
    let b = name("b.example");
    resolve(&resolver, "b.example").await.0.unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (resolver, b, ended) = (resolver.clone(), b.clone(), ended.clone());
            std::thread::spawn(move || {
                let mut misses = 0_u32;
                while !ended.load(Ordering::Relaxed) {
                    misses += u32::from(resolver.cached(&b).is_none());
                    std::thread::yield_now();
                }
                misses
            })
        })
        .collect();
    for n in 0..300 {
        resolve(&resolver, &format!("n{n}.example")).await.0.unwrap();
        // The clock of use counts seconds, and eviction is by it.
        if n % 60 == 59 {
            tokio::time::sleep(millis(1_050)).await;
        }
    }
    ended.store(true, Ordering::Relaxed);
    let misses: Vec<u32> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert_eq!(misses, [0, 0]);
    assert!(resolver.entries().len() <= 64);
}

#[tokio::test]
async fn every_lookup_is_counted_and_told_of() {
    let server = Server::new(|asked| match asked.host().as_str() {
        "b.example." => vec![Act::Later(millis(60), asked.addresses(&[1], &[], 60))],
        "none.example." => asked.missing(5),
        _ => asked.code(ResponseCode::Refused),
    });
    let watcher = Arc::new(Watcher::default());
    let resolver = Resolver::start_observed(settings(&[&server]), watcher.clone()).unwrap();
    for host in ["b.example", "none.example", "down.example", "b.example"] {
        let _ = resolve(&resolver, host).await;
    }
    let counts: Vec<_> =
        LookupResult::ALL.iter().map(|&result| (result.label(), resolver.stats().lookups(result))).collect();
    assert_eq!(counts, [("ok", 1), ("not_found", 1), ("failed", 1), ("stale", 0)]);
    let told = watcher.told.lock().unwrap();
    let results: Vec<LookupResult> = told.iter().map(|(result, _)| *result).collect();
    assert_eq!(results, [LookupResult::Ok, LookupResult::NotFound, LookupResult::Failed]);
    assert!((0.06..0.4).contains(&told[0].1), "{} s", told[0].1);
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle_even_in_the_middle_of_a_lookup() {
    let server = Server::silent();
    let watcher = Arc::new(Watcher::default());
    let resolver = Resolver::start_observed(settings(&[&server]), watcher.clone()).unwrap();
    let thread = Arc::downgrade(&watcher);
    drop(watcher);
    let other = resolver.clone();
    drop(resolver);
    assert!(tokio::time::timeout(millis(50), other.resolve(&name("b.example"))).await.is_err());
    assert_eq!(server.asked("b.example").len(), 2);
    assert!(thread.upgrade().is_some());
    let begun = Instant::now();
    drop(other);
    assert!(begun.elapsed() < millis(350), "{:?}", begun.elapsed());
    // What the thread held is gone, so the thread is.
    assert!(thread.upgrade().is_none());
}
