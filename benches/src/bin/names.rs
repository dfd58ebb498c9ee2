//! The DNS server: answers every name as S3's do, with a CNAME and some of its addresses, others each time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use hickory_proto::op::{Edns, Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What an answer may be large, and its sender's question too.
const LARGEST: u16 = 1232;

/// Answers DNS queries over UDP, for ever.
#[derive(Debug, Parser)]
#[command(name = "names")]
struct Arguments {
    /// Where to listen; port 0 lets the kernel choose
    #[arg(long, value_name = "IP:PORT")]
    bind: SocketAddr,
    /// Addresses that names have
    #[arg(long, value_delimiter = ',', required = true, value_name = "IP")]
    answers: Vec<Ipv4Addr>,
    /// Seconds that an answer is good for
    #[arg(long, default_value_t = 5)]
    ttl: u32,
    /// Addresses in one answer, at most
    #[arg(long, default_value_t = 4, value_name = "N")]
    per_answer: usize,
}

fn main() -> Result<()> {
    let Arguments { bind, answers, ttl, per_answer } = Arguments::parse();
    ensure!(per_answer > 0, "--per-answer must be at least 1");
    let socket = UdpSocket::bind(bind).with_context(|| format!("cannot listen on {bind}"))?;
    let mut zone = Zone::new(answers, ttl, per_answer)?;
    println!("listening {}", socket.local_addr()?);
    let mut buffer = [0; LARGEST as usize];
    loop {
        // An error is about an earlier answer, whose asker is gone: the next query is still to be answered.
        let Ok((length, asker)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(reply) = zone.reply(buffer.get(..length).unwrap_or_default()) {
            let _ = socket.send_to(&reply, asker);
        }
    }
}

/// What is said of all names.
struct Zone {
    answers: Vec<Ipv4Addr>,
    ttl: u32,
    per_answer: usize,
    /// The first address of the next answer.
    next: usize,
    name: Name,
    /// What every name is an alias of.
    target: Name,
}

impl Zone {
    fn new(answers: Vec<Ipv4Addr>, ttl: u32, per_answer: usize) -> Result<Self> {
        let name = Name::from_ascii("amazonaws.com.")?;
        let target = Name::from_ascii("s3-r-w.ap-northeast-1.amazonaws.com.")?;
        Ok(Self { per_answer: per_answer.min(answers.len()), answers, ttl, next: 0, name, target })
    }

    /// The answer; none to what is no query.
    fn reply(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let asked = query.metadata.message_type == MessageType::Query && query.metadata.op_code == OpCode::Query;
        let question = query.queries.first().filter(|_| asked)?;
        let mut reply = Message::response(query.metadata.id, OpCode::Query);
        reply.metadata.authoritative = true;
        reply.metadata.recursion_desired = query.metadata.recursion_desired;
        reply.metadata.recursion_available = true;
        reply.add_query(question.clone());
        if query.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST);
            reply.set_edns(edns);
        }
        match question.query_type() {
            RecordType::A => self.add_addresses(&mut reply, question.name()),
            _ => drop(reply.add_authority(self.no_such_data())),
        }
        reply.to_vec().ok()
    }

    fn add_addresses(&mut self, reply: &mut Message, name: &Name) {
        let alias = RData::CNAME(CNAME(self.target.clone()));
        reply.add_answer(Record::from_rdata(name.clone(), self.ttl, alias));
        for address in self.answers.iter().cycle().skip(self.next).take(self.per_answer) {
            reply.add_answer(Record::from_rdata(self.target.clone(), self.ttl, RData::A(A(*address))));
        }
        self.next = (self.next + self.per_answer) % self.answers.len();
    }

    fn no_such_data(&self) -> Record {
        let soa = SOA::new(self.name.clone(), self.name.clone(), 1, 7200, 900, 1_209_600, self.ttl);
        Record::from_rdata(self.name.clone(), self.ttl, RData::SOA(soa))
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    fn zone() -> Zone {
        Zone::new((1..=6).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect(), 5, 4).unwrap()
    }

    fn query(kind: RecordType, edns: bool) -> Vec<u8> {
        let mut query = Message::query();
        query.metadata.id = 77;
        query.add_query(Query::query(Name::from_ascii("B0001.example.").unwrap(), kind));
        if edns {
            query.set_edns(Edns::new());
        }
        query.to_vec().unwrap()
    }

    fn ask(zone: &mut Zone, kind: RecordType, edns: bool) -> Message {
        Message::from_vec(&zone.reply(&query(kind, edns)).unwrap()).unwrap()
    }

    fn last_bytes(answer: &Message) -> Vec<u8> {
        let address = |record: &Record| match record.data {
            RData::A(A(address)) => Some(address.octets()[3]),
            _ => None,
        };
        answer.answers.iter().filter_map(address).collect()
    }

    #[test]
    fn each_answer_has_the_next_addresses() {
        let mut zone = zone();
        let answers = [(); 4].map(|()| last_bytes(&ask(&mut zone, RecordType::A, false)));
        assert_eq!(answers, [[1, 2, 3, 4], [5, 6, 1, 2], [3, 4, 5, 6], [1, 2, 3, 4]]);
    }

    #[test]
    fn a_name_is_an_alias_that_lives_shortly() {
        let answer = ask(&mut zone(), RecordType::A, false);
        assert_eq!(answer.metadata.id, 77);
        let RData::CNAME(CNAME(alias)) = &answer.answers[0].data else { panic!("{answer}") };
        assert!(answer.answers[1..].iter().all(|record| record.name == *alias));
        assert!(answer.answers.iter().all(|record| record.ttl == 5));
    }

    #[test]
    fn no_name_has_another_family() {
        let answer = ask(&mut zone(), RecordType::AAAA, false);
        assert_eq!(answer.metadata.response_code, hickory_proto::op::ResponseCode::NoError);
        assert!(answer.answers.is_empty());
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
    }

    #[test]
    fn edns_is_answered_where_it_was_asked() {
        assert!(ask(&mut zone(), RecordType::A, true).edns.is_some());
        assert!(ask(&mut zone(), RecordType::A, false).edns.is_none());
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let mut zone = zone();
        let answer = zone.reply(&query(RecordType::A, false)).unwrap();
        assert_eq!(zone.reply(&answer), None);
        assert_eq!(zone.reply(b"?"), None);
    }
}
