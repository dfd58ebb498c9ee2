use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_resolver::proto::op::{MessageType, OpCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, NS, SOA, TXT};

use super::*;

const WHO: &str = "b.s3.amazonaws.com.";

fn name(text: &str) -> Name {
    Name::from_str(text).unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

fn aaaa(owner: &str, ttl: u32, last: u16) -> Record {
    Record::from_rdata(name(owner), ttl, RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))))
}

fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn soa(owner: &str, ttl: u32, minimum: u32) -> Record {
    Record::from_rdata(name(owner), ttl, RData::SOA(SOA::new(name("ns."), name("mail."), 1, 2, 3, 4, minimum)))
}

/// A reply to the A question for [`WHO`].
fn reply(answers: Vec<Record>) -> Message {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.queries.push(Query::query(name(WHO), RecordType::A));
    message.answers = answers;
    message
}

fn denial(code: ResponseCode, authorities: Vec<Record>) -> Message {
    let mut message = reply(Vec::new());
    message.metadata.response_code = code;
    message.authorities = authorities;
    message
}

fn read_a(message: &Message) -> Result<Reply, &'static str> {
    // Over the wire and back, for that is what a server's reply has been through.
    let message = Message::from_vec(&message.to_vec().unwrap()).unwrap();
    read(&message, &name(WHO), RecordType::A)
}

fn addresses(lasts: &[u8], ttl: u64) -> Reply {
    let ips = lasts.iter().map(|&last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))).collect();
    Reply::Addresses { ips, ttl: Duration::from_secs(ttl) }
}

#[test]
fn the_question_is_absolute_recursive_and_offers_1232_bytes() {
    let question = question(&name(WHO), RecordType::AAAA, true);
    let sent = Message::from_vec(&question.to_vec().unwrap()).unwrap();
    assert_eq!(sent.queries, [Query::query(name(WHO), RecordType::AAAA)]);
    assert!(sent.queries[0].name().is_fqdn());
    assert_eq!(sent.message_type, MessageType::Query);
    assert!(sent.recursion_desired);
    let edns = sent.edns.as_ref().unwrap();
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok, edns.version()), (1232, false, 0));
    assert!(edns.options().as_ref().is_empty());
}

#[test]
fn a_server_that_knows_no_edns_is_asked_without_it() {
    let question = question(&name(WHO), RecordType::A, false);
    let sent = Message::from_vec(&question.to_vec().unwrap()).unwrap();
    assert!(sent.edns.is_none());
    assert!(sent.additionals.is_empty());
    // What hickory makes its buffer from.
    assert_eq!(question.max_payload(), 512);
}

#[test]
fn two_questions_have_different_ids() {
    let ids: std::collections::HashSet<u16> = (0..64).map(|_| question(&name(WHO), RecordType::A, true).id).collect();
    // Chance repeats one of 64 out of 65,536 in 3 % of runs, four or more never.
    assert!(ids.len() > 60, "{} ids in 64 questions", ids.len());
}

#[test]
fn addresses_come_in_the_reply_s_order_once_each_with_the_shortest_ttl() {
    let message = reply(vec![a(WHO, 60, 2), a(WHO, 5, 1), a(WHO, 3, 2), a(WHO, 9, 3)]);
    assert_eq!(read_a(&message), Ok(addresses(&[2, 1, 3], 3)));
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let mut message = reply(vec![cname("B.S3.AmazonAWS.com.", 9, "Front.example."), a("fRONT.eXAMPLE.", 9, 1)]);
    message.queries = vec![Query::query(name("b.S3.amazonaws.COM."), RecordType::A)];
    assert_eq!(read_a(&message), Ok(addresses(&[1], 9)));
}

#[test]
fn a_chain_is_followed_in_whatever_order_its_records_come() {
    let [one, two, end] =
        [cname(WHO, 300, "one.example."), cname("one.example.", 4, "two.example."), a("two.example.", 60, 9)];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let records = [&one, &two, &end];
        let message = reply(order.iter().map(|&i| records[i].clone()).collect());
        assert_eq!(read_a(&message), Ok(addresses(&[9], 4)), "{order:?}");
    }
}

#[test]
fn the_ttl_is_the_chain_s_where_that_is_shorter_than_the_addresses() {
    for (first, second, end, expected) in [(3, 60, 60, 3), (60, 3, 60, 3), (60, 60, 3, 3), (0, 60, 60, 0)] {
        let message = reply(vec![
            cname(WHO, first, "one.example."),
            cname("one.example.", second, "two.example."),
            a("two.example.", end, 9),
        ]);
        assert_eq!(read_a(&message), Ok(addresses(&[9], expected)));
    }
}

#[test]
fn a_chain_may_have_eight_steps_and_not_nine() {
    let chain = |steps: usize| {
        let owner = |step: usize| if step == 0 { WHO.to_owned() } else { format!("n{step}.example.") };
        let mut records: Vec<_> = (0..steps).map(|step| cname(&owner(step), 9, &owner(step + 1))).collect();
        records.push(a(&owner(steps), 9, 1));
        read_a(&reply(records))
    };
    assert_eq!(chain(8), Ok(addresses(&[1], 9)));
    assert_eq!(chain(9), Err("the CNAME chain is too long"));
}

#[test]
fn a_loop_of_names_ends() {
    let long = Err("the CNAME chain is too long");
    assert_eq!(read_a(&reply(vec![cname(WHO, 9, WHO)])), long);
    let two = vec![cname(WHO, 9, "one.example."), cname("one.example.", 9, WHO)];
    assert_eq!(read_a(&reply(two)), long);
    let with_address = vec![cname(WHO, 9, "one.example."), cname("one.example.", 9, "one.example."), a(WHO, 9, 1)];
    assert_eq!(read_a(&reply(with_address)), long);
}

#[test]
fn a_chain_without_an_end_is_to_be_followed() {
    let message = reply(vec![cname(WHO, 7, "one.example."), cname("one.example.", 5, "two.example.")]);
    let follow = Reply::Follow { target: name("two.example."), hops: 2, ttl: Duration::from_secs(5) };
    assert_eq!(read_a(&message), Ok(follow));
}

#[test]
fn a_chain_that_ends_without_an_address_under_a_soa_is_nodata() {
    let mut message = reply(vec![cname(WHO, 7, "one.example.")]);
    message.authorities = vec![soa("example.", 20, 10)];
    assert_eq!(read_a(&message), Ok(Reply::NoData { ttl: Some(Duration::from_secs(10)) }));
}

#[test]
fn records_of_other_names_are_ignored_in_every_section() {
    let other = "evil.example.";
    let mut message = reply(vec![a(other, 9, 66), a(WHO, 9, 1), cname(other, 9, WHO), a("s3.amazonaws.com.", 9, 67)]);
    message.authorities = vec![a(WHO, 9, 68)];
    message.additionals = vec![a(WHO, 9, 69), a(other, 9, 70)];
    assert_eq!(read_a(&message), Ok(addresses(&[1], 9)));
    assert_eq!(read_a(&reply(vec![a(other, 9, 66)])), Ok(Reply::NoData { ttl: None }));
}

#[test]
fn records_of_another_type_are_ignored() {
    let text = Record::from_rdata(name(WHO), 1, RData::TXT(TXT::new(vec!["192.0.2.66".to_owned()])));
    let message = reply(vec![text.clone(), aaaa(WHO, 1, 66), a(WHO, 9, 1)]);
    assert_eq!(read_a(&message), Ok(addresses(&[1], 9)));
    assert_eq!(read_a(&reply(vec![text, aaaa(WHO, 1, 66)])), Ok(Reply::NoData { ttl: None }));
    let mut message = reply(vec![a(WHO, 1, 66), aaaa(WHO, 9, 1)]);
    message.queries = vec![Query::query(name(WHO), RecordType::AAAA)];
    let ip = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let expected = Reply::Addresses { ips: vec![ip], ttl: Duration::from_secs(9) };
    assert_eq!(read(&message, &name(WHO), RecordType::AAAA), Ok(expected));
}

#[test]
fn records_of_another_class_are_ignored() {
    let chaos = |mut record: Record| {
        record.dns_class = DNSClass::CH;
        record
    };
    let message = reply(vec![chaos(a(WHO, 1, 66)), chaos(cname(WHO, 1, "evil.example.")), a(WHO, 9, 1)]);
    assert_eq!(read_a(&message), Ok(addresses(&[1], 9)));
    let denied = denial(ResponseCode::NXDomain, vec![chaos(soa("com.", 9, 9))]);
    assert_eq!(read_a(&denied), Ok(Reply::NoName { ttl: None }));
}

#[test]
fn nxdomain_and_nodata_are_told_apart_with_the_lesser_of_the_soa_s_ttls() {
    let [short, long] = [soa("amazonaws.com.", 15, 900), soa("amazonaws.com.", 900, 15)];
    let ttl = Some(Duration::from_secs(15));
    for soa in [short, long] {
        let missing = denial(ResponseCode::NXDomain, vec![soa.clone()]);
        assert_eq!(read_a(&missing), Ok(Reply::NoName { ttl }));
        assert_eq!(read_a(&denial(ResponseCode::NoError, vec![soa])), Ok(Reply::NoData { ttl }));
    }
    assert_eq!(read_a(&denial(ResponseCode::NXDomain, Vec::new())), Ok(Reply::NoName { ttl: None }));
    assert_eq!(read_a(&denial(ResponseCode::NoError, Vec::new())), Ok(Reply::NoData { ttl: None }));
}

#[test]
fn only_a_soa_above_the_name_says_for_how_long_there_is_none() {
    for (owner, ttl) in
        [(".", Some(5)), ("com.", Some(5)), (WHO, Some(5)), ("x.b.s3.amazonaws.com.", None), ("net.", None)]
    {
        let message = denial(ResponseCode::NXDomain, vec![soa(owner, 5, 5)]);
        assert_eq!(read_a(&message), Ok(Reply::NoName { ttl: ttl.map(Duration::from_secs) }), "{owner}");
    }
}

#[test]
fn nxdomain_stands_even_beside_addresses() {
    let mut message = reply(vec![a(WHO, 9, 1)]);
    message.metadata.response_code = ResponseCode::NXDomain;
    assert_eq!(read_a(&message), Ok(Reply::NoName { ttl: None }));
}

#[test]
fn a_referral_is_a_failure() {
    let ns = Record::from_rdata(name("amazonaws.com."), 9, RData::NS(NS(name("ns1.example."))));
    assert_eq!(read_a(&denial(ResponseCode::NoError, vec![ns.clone()])), Err("referral"));
    // With a SOA beside them the NS records are only courtesy (RFC 2308 §2.2, type 1).
    let both = denial(ResponseCode::NoError, vec![ns, soa("amazonaws.com.", 5, 5)]);
    assert_eq!(read_a(&both), Ok(Reply::NoData { ttl: Some(Duration::from_secs(5)) }));
}

#[test]
fn error_codes_are_failures_even_with_addresses() {
    for (code, text) in [
        (ResponseCode::ServFail, "SERVFAIL"),
        (ResponseCode::Refused, "REFUSED"),
        (ResponseCode::FormErr, "FORMERR"),
        (ResponseCode::NotImp, "NOTIMP"),
        (ResponseCode::YXDomain, "an error reply"),
    ] {
        let mut message = reply(vec![a(WHO, 9, 1)]);
        message.metadata.response_code = code;
        assert_eq!(read_a(&message), Err(text));
    }
}

#[test]
fn a_cut_reply_is_never_read() {
    let mut message = reply(vec![a(WHO, 9, 1)]);
    message.metadata.truncation = true;
    assert_eq!(read_a(&message), Err("truncated"));
    let mut missing = denial(ResponseCode::NXDomain, Vec::new());
    missing.metadata.truncation = true;
    assert_eq!(read_a(&missing), Err("truncated"));
}

#[test]
fn a_reply_to_another_question_is_a_failure() {
    let other = Err("the reply is to another question");
    let asked = |queries: Vec<Query>| {
        let mut message = reply(vec![a(WHO, 9, 1)]);
        message.queries = queries;
        read_a(&message)
    };
    let right = Query::query(name(WHO), RecordType::A);
    let mut chaos = right.clone();
    chaos.set_query_class(DNSClass::CH);
    assert_eq!(asked(vec![right.clone()]), Ok(addresses(&[1], 9)));
    assert_eq!(asked(vec![]), other);
    assert_eq!(asked(vec![right.clone(), right]), other);
    assert_eq!(asked(vec![Query::query(name("s3.amazonaws.com."), RecordType::A)]), other);
    assert_eq!(asked(vec![Query::query(name(WHO), RecordType::AAAA)]), other);
    assert_eq!(asked(vec![chaos]), other);
}

#[test]
fn at_most_64_addresses_are_taken() {
    let message = reply((0..200).map(|last| a(WHO, 9, last)).collect());
    let first: Vec<u8> = (0..64).collect();
    assert_eq!(read_a(&message), Ok(addresses(&first, 9)));
}

#[test]
fn a_ttl_with_its_top_bit_set_is_none() {
    assert_eq!(read_a(&reply(vec![a(WHO, 0x7fff_ffff, 1)])), Ok(addresses(&[1], 0x7fff_ffff)));
    assert_eq!(read_a(&reply(vec![a(WHO, 0x8000_0000, 1)])), Ok(addresses(&[1], 0)));
}
