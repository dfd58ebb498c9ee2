//! DNS messages: the question that is sent, and what a reply to it says. Pure functions.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// The longest chain of CNAMEs that is followed.
pub(crate) const MAX_CHAIN: usize = 8;
/// The most addresses that are taken from one reply.
pub(crate) const MAX_ADDRESSES: usize = 64;
/// The UDP payload that is offered (RFC 9715 §3.1: small enough never to be fragmented).
const EDNS_PAYLOAD: u16 = 1232;

/// What a server's reply says of one name and one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Its addresses, at least one; `ttl` is the shortest of the records and the chain that led to them.
    Addresses { ips: Vec<IpAddr>, ttl: Duration },
    /// The name exists without an address of this family (NODATA).
    NoData { ttl: Option<Duration> },
    /// The name does not exist (NXDOMAIN).
    NoName { ttl: Option<Duration> },
    /// The chain leaves this reply without an end: `target` must be asked for by itself.
    Follow { target: Name, hops: usize, ttl: Duration },
}

/// The question for `name`'s addresses of one family.
pub(crate) fn question(name: &Name, family: RecordType, edns: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.use_edns = edns;
    options.edns_payload_len = EDNS_PAYLOAD;
    DnsRequest::from_query(Query::query(name.clone(), family), options)
}

/// Reads the reply to [`question`].
///
/// Records that belong neither to `name` nor to its CNAME chain are ignored, whatever section they are in.
///
/// # Errors
/// What is wrong with the reply, or the failure that it reports; another server may know better.
pub(crate) fn read(message: &Message, name: &Name, family: RecordType) -> Result<Reply, &'static str> {
    if message.truncation {
        return Err("truncated");
    }
    match message.queries.as_slice() {
        [query] if query.name() == name && query.query_type() == family && query.query_class() == DNSClass::IN => {}
        _ => return Err("the reply is to another question"),
    }
    let exists = match message.response_code {
        ResponseCode::NoError => true,
        ResponseCode::NXDomain => false,
        other => return Err(failure(other)),
    };
    let (end, hops, mut ttl) = end_of_chain(&message.answers, name)?;
    let mut ips = Vec::new();
    for record in answers_for(&message.answers, end) {
        let ip = match record.data {
            RData::A(a) if family == RecordType::A => IpAddr::V4(a.0),
            RData::AAAA(aaaa) if family == RecordType::AAAA => IpAddr::V6(aaaa.0),
            _ => continue,
        };
        ttl = ttl.min(seconds(record.ttl));
        if ips.len() < MAX_ADDRESSES && !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    let negative_ttl = negative_ttl(&message.authorities, end);
    if !exists {
        return Ok(Reply::NoName { ttl: negative_ttl });
    }
    if !ips.is_empty() {
        return Ok(Reply::Addresses { ips, ttl });
    }
    match negative_ttl {
        Some(ttl) => Ok(Reply::NoData { ttl: Some(ttl) }),
        None if hops > 0 => Ok(Reply::Follow { target: end.clone(), hops, ttl }),
        // RFC 2308 §2.2: NS records without a SOA are a referral, which says nothing of the name.
        None if message.authorities.iter().any(|r| r.record_type() == RecordType::NS) => Err("referral"),
        None => Ok(Reply::NoData { ttl: None }),
    }
}

/// Follows CNAMEs from `name` within `answers`: the last name, the steps taken and their shortest TTL.
fn end_of_chain<'a>(answers: &'a [Record], name: &'a Name) -> Result<(&'a Name, usize, Duration), &'static str> {
    let (mut end, mut ttl) = (name, Duration::MAX);
    for hops in 0..=MAX_CHAIN {
        let Some((record, target)) = answers_for(answers, end).find_map(|record| match &record.data {
            RData::CNAME(target) => Some((record, &target.0)),
            _ => None,
        }) else {
            return Ok((end, hops, ttl));
        };
        ttl = ttl.min(seconds(record.ttl));
        end = target;
    }
    Err("the CNAME chain is too long")
}

fn answers_for<'a>(answers: &'a [Record], name: &Name) -> impl Iterator<Item = &'a Record> {
    answers.iter().filter(move |record| record.dns_class == DNSClass::IN && record.name == *name)
}

/// For how long "there is none" holds: the lesser of the TTL and the minimum of the SOA (RFC 2308 §5), which is that
/// of a zone that `name` is in.
fn negative_ttl(authorities: &[Record], name: &Name) -> Option<Duration> {
    let above = authorities.iter().filter(|record| record.dns_class == DNSClass::IN && record.name.zone_of(name));
    above.filter_map(soa_ttl).min()
}

fn soa_ttl(record: &Record) -> Option<Duration> {
    match &record.data {
        RData::SOA(soa) => Some(seconds(record.ttl).min(seconds(soa.minimum))),
        _ => None,
    }
}

/// RFC 2181 §8: a TTL with its top bit set is zero.
fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(if ttl > i32::MAX.unsigned_abs() { 0 } else { ttl.into() })
}

fn failure(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::NotImp => "NOTIMP",
        _ => "an error reply",
    }
}

#[cfg(test)]
mod tests;
