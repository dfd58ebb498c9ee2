//! Squid's form, by what a client asked and was told.

use super::*;
use crate::outcome::More;
use crate::record::squid::line;

fn squid(protocol: &str, outcome: &Outcome) -> String {
    let mut out = Vec::new();
    line(&mut out, outcome, protocol);
    let text = String::from_utf8(out).unwrap();
    // Behind time and client, which are the same in all.
    text.split_once("10.20.0.15 ").unwrap().1.to_owned()
}

fn asked(method: &str, status: Option<u16>) -> More {
    More { method: Some(method.into()), status, vpce: None }
}

#[test]
fn a_request_is_written_as_squid_writes_one() {
    let host = "http://reports.s3.ap-northeast-1.amazonaws.com";
    let peer = "HIER_DIRECT/2600:1fa0::1";
    let served = Outcome { more: Some(asked("HEAD", Some(301)).into()), port: Some(80), ..allowed() };
    assert_eq!(squid("http", &served), format!("TCP_MISS/301 6120 HEAD {host}/ - {peer} -\n"));
    let elsewhere = Outcome { port: Some(8080), ..served.clone() };
    assert_eq!(squid("connect", &elsewhere), format!("TCP_MISS/301 6120 HEAD {host}:8080/ - {peer} -\n"));
    let unanswered = Outcome { more: Some(asked("GET", None).into()), ..served.clone() };
    assert_eq!(squid("http", &unanswered), format!("TCP_MISS_ABORTED/000 6120 GET {host}/ - {peer} -\n"));
    for (reason, told) in [
        (Reason::NoRule, "TCP_DENIED/403"),
        (Reason::MethodNotAllowed, "TCP_DENIED/405"),
        (Reason::BadRequest, "TCP_DENIED/400"),
        (Reason::NameNotFound, "TCP_MISS/502"),
        (Reason::ConnectTimeout, "TCP_MISS/504"),
    ] {
        let stopped = Outcome {
            verdict: Verdict::of(reason),
            reason: Some(reason),
            upstream: None,
            bytes_down: 0,
            ..served.clone()
        };
        assert_eq!(squid("http", &stopped), format!("{told} 0 HEAD {host}/ - HIER_NONE/- -\n"));
    }
}

#[test]
fn a_tunnel_has_the_status_that_its_client_was_told() {
    let host = "CONNECT reports.s3.ap-northeast-1.amazonaws.com:443";
    let served = Outcome { more: Some(asked("CONNECT", None).into()), upstream: None, bytes_down: 0, ..allowed() };
    for (reason, told) in [
        (None, "TCP_TUNNEL/200"),
        (Some(Reason::NoRule), "TCP_DENIED/403"),
        (Some(Reason::SniMismatch), "TCP_DENIED/403"),
        (Some(Reason::NameNotFound), "TCP_TUNNEL/502"),
        (Some(Reason::ConnectTimeout), "TCP_TUNNEL/504"),
    ] {
        let ended = Outcome { verdict: reason.map_or(Verdict::Allowed, Verdict::of), reason, ..served.clone() };
        assert_eq!(squid("connect", &ended), format!("{told} 0 {host} - HIER_NONE/- -\n"));
    }
    let address = Outcome { verdict: Verdict::Refused, reason: Some(Reason::TargetNotAllowed), ..outcome(1) };
    assert_eq!(squid("connect", &address), "TCP_DENIED/403 0 CONNECT -:0 - HIER_NONE/- -\n");
}

#[test]
fn what_was_no_request_has_squids_word_for_it() {
    let bad = Outcome { verdict: Verdict::Refused, reason: Some(Reason::BadRequest), ..outcome(1) };
    assert_eq!(squid("http", &bad), "NONE_NONE/400 0 NONE error:invalid-request - HIER_NONE/- -\n");
    let gone = Outcome { reason: Some(Reason::ClientClosed), ..outcome(1) };
    let unsaid = "NONE_NONE/000 0 NONE error:transaction-end-before-headers - HIER_NONE/- -\n";
    assert_eq!(squid("connect", &gone), unsaid);
}
