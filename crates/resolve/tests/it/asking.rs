//! Which servers are asked what, and how.

use std::collections::HashSet;
use std::net::TcpStream;

use hickory_resolver::proto::op::{MessageType, ResponseCode};
use hickory_resolver::proto::rr::RecordType;
use sekisho_resolve::Source;

use super::*;
use crate::server::{Act, Asked};

#[tokio::test]
async fn both_families_are_asked_for_once_and_both_are_in_the_answer() {
    let server = Server::with(&[1, 2], &[6], 60);
    let resolver = start(&[&server]);
    let (found, _) = resolve(&resolver, "b.s3.example").await;
    let found = found.unwrap();
    let got: HashSet<IpAddr> = addresses(&found.answer).iter().copied().collect();
    assert_eq!(got, HashSet::from([ip4(1), ip4(2), ip6(6)]));
    assert_eq!(found.source, Source::Query);
    let families: HashSet<RecordType> = server.asked("b.s3.example").iter().map(Asked::family).collect();
    assert_eq!(families, HashSet::from([RecordType::A, RecordType::AAAA]));
    assert_eq!(server.all_asked().len(), 2);
    for asked in server.all_asked() {
        assert_eq!(asked.message.message_type, MessageType::Query);
        assert!(asked.message.recursion_desired && !asked.over_tcp);
        assert_eq!(asked.message.edns.as_ref().unwrap().max_payload(), 1232);
    }
    // And now it is known.
    let (again, _) = resolve(&resolver, "b.s3.example").await;
    assert_eq!(again.unwrap().source, Source::Cache);
    assert_eq!(server.all_asked().len(), 2);
}

#[tokio::test]
async fn no_name_is_special_and_none_is_searched_for() {
    let server = Server::with(&[7], &[], 60);
    let resolver = start(&[&server]);
    // The machine's hosts file, RFC 6761's special names and a search list would each answer differently.
    let hosts = ["localhost", "a.localhost", "printer", "host.invalid", "host.local", "host.onion", "ip6-localhost"];
    for host in hosts {
        let (found, _) = resolve(&resolver, host).await;
        assert_eq!(addresses(&found.unwrap().answer), [ip4(7)], "{host}");
    }
    let asked: HashSet<String> = server.all_asked().iter().map(Asked::host).collect();
    assert_eq!(asked, hosts.iter().map(|host| format!("{host}.")).collect());
    server.now(|asked| asked.missing(5));
    assert_eq!(resolve(&resolver, "nowhere").await.0.unwrap_err(), ResolveError::NotFound);
    assert_eq!(server.all_asked().len(), 2 * hosts.len() + 2);
}

#[tokio::test]
async fn a_silent_server_costs_half_a_timeout_once() {
    let (silent, good) = (Server::silent(), Server::with(&[1], &[], 60));
    let resolver = start_patient(&[&silent, &good]);
    let (found, took) = resolve(&resolver, "one.example").await;
    assert_eq!(addresses(&found.unwrap().answer), [ip4(1)]);
    assert!((millis(900)..millis(1_900)).contains(&took), "{took:?}");
    // From then on it is asked only after the others.
    let (found, took) = resolve(&resolver, "two.example").await;
    assert_eq!(addresses(&found.unwrap().answer), [ip4(1)]);
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!((silent.asked("two.example").len(), good.asked("two.example").len()), (0, 2));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_like_a_silent_one() {
    let gone = Server::silent();
    let (gone_address, good) = (gone.address, Server::with(&[1], &[], 60));
    drop(gone);
    let servers = vec![gone_address, good.address];
    let resolver = Resolver::start(Settings { servers, timeout: Duration::from_secs(2), ..settings(&[]) }).unwrap();
    let (found, took) = resolve(&resolver, "one.example").await;
    assert_eq!(addresses(&found.unwrap().answer), [ip4(1)]);
    assert!(took < millis(1_900), "{took:?}");
}

#[tokio::test]
async fn the_next_server_is_asked_at_once_when_one_has_no_answer() {
    type Script = fn(&Asked) -> Vec<Act>;
    let faults: [(&str, Script); 6] = [
        ("REFUSED", |asked| asked.code(ResponseCode::Refused)),
        ("SERVFAIL", |asked| asked.code(ResponseCode::ServFail)),
        ("FORMERR", |asked| asked.code(ResponseCode::FormErr)),
        ("NOTIMP", |asked| asked.code(ResponseCode::NotImp)),
        ("garbage", |asked| vec![Act::Bytes([&asked.message.id.to_be_bytes()[..], &[0xff; 40]].concat())]),
        ("an empty message", |asked| vec![Act::Bytes(asked.message.id.to_be_bytes().to_vec())]),
    ];
    for (what, script) in faults {
        let (bad, good) = (Server::new(script), Server::with(&[1], &[], 60));
        let resolver = start_patient(&[&bad, &good]);
        let (found, took) = resolve(&resolver, "b.example").await;
        assert_eq!(addresses(&found.unwrap().answer), [ip4(1)], "{what}");
        assert!(took < AT_ONCE, "{what}: {took:?}");
        assert!(!bad.asked("b.example").is_empty(), "{what}");
    }
}

#[tokio::test]
async fn when_every_server_fails_the_reason_is_the_last_one_s() {
    let one = Server::new(|asked| asked.code(ResponseCode::ServFail));
    let two = Server::new(|asked| asked.code(ResponseCode::Refused));
    let resolver = start_patient(&[&one, &two]);
    let (failed, took) = resolve(&resolver, "b.example").await;
    assert_eq!(failed.unwrap_err(), ResolveError::Failed("REFUSED"));
    assert!(took < AT_ONCE, "{took:?}");
    // RFC 9520 §3.1: no more than a few questions for one name.
    assert_eq!((one.count("b.example", RecordType::A), two.count("b.example", RecordType::A)), (2, 2));

    let silent = Server::silent();
    let resolver = start(&[&silent]);
    let (failed, took) = resolve(&resolver, "b.example").await;
    assert_eq!(failed.unwrap_err(), ResolveError::Failed("no server answered in time"));
    // Half a timeout for the first attempt, a whole one for the second.
    assert!((millis(550)..millis(1_800)).contains(&took), "{took:?}");
    assert_eq!(silent.count("b.example", RecordType::A), 2);
}

#[tokio::test]
async fn a_cut_reply_is_asked_for_again_over_tcp() {
    let many: Vec<u8> = (1..=60).collect();
    let server = Server::new(move |asked| if asked.over_tcp { asked.answer(&many, &[6], 60) } else { asked.cut() });
    let resolver = start_patient(&[&server]);
    let (found, took) = resolve(&resolver, "many.example").await;
    let found = found.unwrap();
    let got: HashSet<IpAddr> = addresses(&found.answer).iter().copied().collect();
    assert_eq!(got, (1..=60).map(ip4).chain([ip6(6)]).collect());
    assert!(took < AT_ONCE, "{took:?}");
    let over_tcp = server.asked("many.example").iter().filter(|asked| asked.over_tcp).count();
    assert_eq!((server.asked("many.example").len(), over_tcp), (4, 2));
}

#[tokio::test]
async fn a_reply_of_1232_bytes_needs_no_tcp() {
    let most: Vec<u8> = (1..=64).collect();
    let server = Server::new(move |asked| asked.answer(&most, &[], 60));
    let resolver = start(&[&server]);
    let (found, _) = resolve(&resolver, "many.example").await;
    assert_eq!(found.unwrap().answer.addresses.len(), 64);
    assert!(server.all_asked().iter().all(|asked| !asked.over_tcp));
}

#[tokio::test]
async fn a_server_whose_tcp_fails_is_passed_over() {
    type Script = fn(&Asked) -> Vec<Act>;
    let faults: [(&str, Script); 4] = [
        ("cut again", Asked::cut),
        ("silent", |_| Vec::new()),
        ("garbage", |_| vec![Act::Bytes(vec![0xff; 40])]),
        ("of a stranger", |asked| {
            let mut message = asked.addresses(&[66], &[0x66], 60);
            message.queries[0].set_query_type(RecordType::TXT);
            vec![Act::Say(message)]
        }),
    ];
    for (what, script) in faults {
        let bad = Server::new(move |asked| if asked.over_tcp { script(asked) } else { asked.cut() });
        let good = Server::with(&[1], &[], 60);
        let resolver = start(&[&bad, &good]);
        let (found, took) = resolve(&resolver, "b.example").await;
        assert_eq!(addresses(&found.unwrap().answer), [ip4(1)], "TCP is {what}");
        assert!(took < millis(800), "TCP is {what}: {took:?}");
        assert!(bad.all_asked().iter().any(|asked| asked.over_tcp));
    }
    let bad = Server::new(Asked::cut);
    let resolver = start(&[&bad]);
    assert_eq!(resolve(&resolver, "b.example").await.0.unwrap_err(), ResolveError::Failed("truncated"));
}

#[tokio::test]
async fn a_tcp_connection_ends_with_its_answer() {
    let server = Server::new(|asked| if asked.over_tcp { asked.answer(&[1], &[], 60) } else { asked.cut() });
    let resolver = start(&[&server]);
    resolve(&resolver, "b.example").await.0.unwrap();
    let theirs: Vec<SocketAddr> =
        server.all_asked().iter().filter(|asked| asked.over_tcp).map(|asked| asked.from).collect();
    assert_eq!(theirs.len(), 2);
    // A local port can be bound to and dialled from once nobody is connected from it.
    until("the connections are gone", || !theirs.iter().any(|&from| established(from))).await;
    drop(TcpStream::connect(server.address).unwrap());
}

/// Whether a connection from this local address is open, as the kernel sees it.
fn established(from: SocketAddr) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!("0100007F:{:04X}", from.port());
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (fields.next(), fields.nth(1)) == (Some(port.as_str()), Some("01"))
    })
}

#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without_it() {
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = Server::new(move |asked| match asked.message.edns {
            Some(_) => asked.code(code),
            None => asked.answer(&[1], &[], 60),
        });
        let resolver = start(&[&old]);
        assert_eq!(addresses(&resolve(&resolver, "b.example").await.0.unwrap().answer), [ip4(1)]);
    }
}

#[tokio::test]
async fn a_chain_that_is_left_open_is_followed_under_its_shortest_ttl() {
    let server = Server::new(|asked| match asked.host().as_str() {
        "b.s3.example." => asked.alias("s3-w.example.", 60),
        "s3-w.example." => asked.alias("s3-r-w.example.", 3),
        _ => asked.answer(&[1], &[], 60),
    });
    let resolver = start(&[&server]);
    let begun = Instant::now();
    let found = resolve(&resolver, "b.s3.example").await.0.unwrap();
    assert_eq!(addresses(&found.answer), [ip4(1)]);
    let ttl = found.answer.expires - begun;
    assert!((millis(3_000)..millis(3_500)).contains(&ttl), "{ttl:?}");
}

#[tokio::test]
async fn a_chain_without_an_end_fails() {
    let server = Server::new(|asked| match asked.host().as_str() {
        "one.example." => asked.alias("two.example.", 60),
        _ => asked.alias("one.example.", 60),
    });
    let resolver = start_patient(&[&server]);
    let (failed, took) = resolve(&resolver, "one.example").await;
    assert_eq!(failed.unwrap_err(), ResolveError::Failed("the CNAME chain is too long"));
    assert!(took < AT_ONCE, "{took:?}");
    assert!(server.all_asked().len() <= 2 * 9, "{} questions", server.all_asked().len());
}

#[tokio::test]
async fn a_server_is_reached_over_ipv6_too() {
    let server = Server::on("[::1]:0", |asked| if asked.over_tcp { asked.answer(&[1], &[], 60) } else { asked.cut() });
    let resolver = start(&[&server]);
    assert_eq!(resolver.servers(), [server.address]);
    assert_eq!(addresses(&resolve(&resolver, "b.example").await.0.unwrap().answer), [ip4(1)]);
}
