//! Replies that are not the server's, or not to the question (RFC 5452).

use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Arc;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{Name as DnsName, RecordType};

use super::*;
use crate::server::{Act, Asked};

/// Resolves at a server that sends what `forge` makes before its own, true reply.
async fn against(forge: impl Fn(&Asked, Message) -> Vec<Act> + Send + 'static) -> (Vec<IpAddr>, Duration) {
    let server = Server::new(move |asked| {
        let mut acts = forge(asked, asked.addresses(&[66], &[0x66], 60));
        acts.push(Act::Later(millis(50), asked.addresses(&[1], &[], 60)));
        acts
    });
    let resolver = start(&[&server]);
    let (found, took) = resolve(&resolver, "b.example").await;
    // Not asked again either: the forgeries have not been taken for failures.
    assert_eq!(server.asked("b.example").len(), 2);
    (addresses(&found.unwrap().answer).to_vec(), took)
}

#[tokio::test]
async fn a_reply_with_another_id_is_ignored() {
    let (got, took) = against(|_, reply| {
        let other = |bits| {
            let mut message = reply.clone();
            message.metadata.id ^= bits;
            Act::Say(message)
        };
        (0..16).map(|bit| other(1 << bit)).collect()
    })
    .await;
    assert_eq!(got, [ip4(1)]);
    assert!(took >= millis(50), "{took:?}");
}

#[tokio::test]
async fn a_reply_from_another_port_is_ignored() {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let (got, took) = against(move |_, reply| vec![Act::From(socket.clone(), reply)]).await;
    assert_eq!(got, [ip4(1)]);
    assert!(took >= millis(50), "{took:?}");
}

#[tokio::test]
async fn a_reply_from_the_right_port_of_another_address_is_ignored() {
    let server = Server::silent();
    let other = Arc::new(UdpSocket::bind(("127.0.0.2", server.address.port())).unwrap());
    server.now(move |asked| {
        let forged = asked.addresses(&[66], &[0x66], 60);
        vec![Act::From(other.clone(), forged), Act::Later(millis(50), asked.addresses(&[1], &[], 60))]
    });
    let resolver = start(&[&server]);
    assert_eq!(addresses(&resolve(&resolver, "b.example").await.0.unwrap().answer), [ip4(1)]);
}

#[tokio::test]
async fn a_reply_to_another_question_is_ignored() {
    let (got, took) = against(|_, reply| {
        let change = |change: &dyn Fn(&mut Message)| {
            let mut message = reply.clone();
            change(&mut message);
            Act::Say(message)
        };
        vec![
            change(&|message| message.queries.clear()),
            change(&|message| message.queries[0].name = DnsName::from_ascii("c.example.").unwrap()),
            change(&|message| message.queries[0].query_type = RecordType::TXT),
        ]
    })
    .await;
    assert_eq!(got, [ip4(1)]);
    assert!(took >= millis(50), "{took:?}");
}

#[tokio::test]
async fn datagrams_that_are_no_messages_are_ignored_unless_they_have_the_id() {
    let (got, _) = against(|asked, _| {
        let other = (asked.message.id ^ 1).to_be_bytes();
        vec![
            Act::Bytes(Vec::new()),
            Act::Bytes(vec![0]),
            Act::Bytes(other.to_vec()),
            Act::Bytes([&other[..], &[0xff; 500]].concat()),
        ]
    })
    .await;
    assert_eq!(got, [ip4(1)]);
}

#[tokio::test]
async fn every_question_has_an_id_and_a_port_of_its_own_that_nobody_can_foresee() {
    let server = Server::with(&[1], &[], 60);
    let resolver = start(&[&server]);
    for n in 0..50 {
        resolve(&resolver, &format!("n{n}.example")).await.0.unwrap();
    }
    let asked = server.all_asked();
    assert_eq!(asked.len(), 100);
    for values in
        [asked.iter().map(|asked| asked.from.port()).collect(), asked.iter().map(|asked| asked.message.id).collect()]
    {
        let values: Vec<u16> = values;
        let distinct = values.iter().collect::<HashSet<_>>().len();
        assert!(distinct >= 97, "{distinct} distinct ones of 100: {values:?}");
        let near = values.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 256).count();
        // By chance 1 % of the steps are that small.
        assert!(near < 12, "{near} small steps: {values:?}");
        let spread = values.iter().max().unwrap() - values.iter().min().unwrap();
        assert!(spread > 32_768, "within {spread}: {values:?}");
    }
}
