//! docs/access-log.md

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use sekisho::outcome::{ClosedBy, DstMatches, More, Offered, Outcome, Verdict};
use sekisho::reason::Reason;
use sekisho::record::{AccessLog, Event};
use sekisho::settings::AccessFormat;
use sekisho_name::Name;
use sekisho_policy::Protocol;
use serde_json::{Map, Value};

use crate::node;
use crate::page::{self, blocks, code, rows, section};

/// The operator's contract: these words keep their meaning.
const FIELDS: &str = "time event conn listener protocol client original_dst host port verdict rule reason upstream \
     bytes_up bytes_down duration_ms dns_ms connect_ms closed_by detail dst_matches alpn tls_versions ech ja4 method \
     vpce";
const EVENTS: &str = "start open close revoked lost reload checkpoint stop";

fn page() -> String {
    page::read("docs/access-log.md")
}

/// The page's two examples.
fn examples() -> [Outcome; 2] {
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_511_702);
    let micros = Duration::from_micros;
    let addr = |ip: [u8; 4], port: u16| SocketAddr::from((ip, port)).into();
    let offered = Offered { alpn: vec!["http/1.1".into()], versions: vec![0x0304, 0x0303], ech: false, ja4: None };
    let allowed = Outcome {
        conn: 0x9f3c_1a55_0000_0012,
        listener: 0,
        accepted: end + micros(481_207) - micros(412_906),
        client: addr([10, 20, 0, 15], 51_514),
        original_dst: Some(addr([52, 219, 0, 12], 443)),
        dst_matches: Some(DstMatches::Recent),
        host: Some(Name::parse("reports.s3.ap-northeast-1.amazonaws.com").expect("a name")),
        port: Some(443),
        protocol: Protocol::Tls,
        verdict: Verdict::Allowed,
        rule: Some("reports".into()),
        reason: None,
        detail: None,
        upstream: Some(addr([52, 219, 136, 40], 443)),
        bytes_up: 48_211,
        bytes_down: 6_120,
        duration: micros(412_906).into(),
        hello: Some(micros(900).into()),
        dns: Some(micros(4).into()),
        connect: Some(micros(2_113).into()),
        closed_by: Some(ClosedBy::Client),
        offered: Some(offered.into()),
        more: None,
    };
    let refused = Outcome {
        conn: allowed.conn + 1,
        accepted: end + micros(1_020_114) - micros(1_206),
        client: addr([10, 20, 0, 15], 51_516),
        original_dst: Some(addr([52, 219, 0, 30], 443)),
        dst_matches: None,
        host: Some(Name::parse("elsewhere.s3.ap-northeast-1.amazonaws.com").expect("a name")),
        verdict: Verdict::Refused,
        rule: None,
        reason: Some(Reason::NoRule),
        upstream: None,
        bytes_up: 0,
        bytes_down: 0,
        duration: micros(1_206).into(),
        dns: None,
        connect: None,
        closed_by: Some(ClosedBy::Gate),
        ..allowed.clone()
    };
    [allowed, refused]
}

/// A record with everything in it.
fn full() -> Outcome {
    let [mut outcome, _] = examples();
    let offered = outcome.offered.as_deref().cloned();
    outcome.offered =
        offered.map(|offered| Offered { ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1".into()), ..offered }.into());
    let more = More { method: Some("CONNECT".into()), status: Some(200), vpce: Some("vpce-08d2bf15fac5001c9".into()) };
    let more = Some(Box::new(more));
    Outcome { reason: Some(Reason::ForbiddenAddress), detail: Some("private address"), more, ..outcome }
}

/// The lines that the program writes of these events, its `start` first and its `stop` last.
fn log(format: AccessFormat, queue: usize, tell: impl FnOnce(&AccessLog)) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("access.log");
    let log = AccessLog::start(&node::settings(Some(path.clone()), format, queue), &"0".repeat(64)).expect("a log");
    tell(&log);
    assert!(log.finish(), "the writer has written all");
    fs::read_to_string(path).expect("the log").lines().map(str::to_owned).collect()
}

/// Of each event, the fields of its lines.
fn written() -> BTreeMap<String, BTreeSet<String>> {
    let mut lines = log(AccessFormat::Json, 100, |log| {
        let open = Outcome { closed_by: None, ..full() };
        log.record(Event::Open(Box::new(open.clone())));
        log.record(Event::Revoked(Box::new(open)));
        log.record(Event::Close(Box::new(full())));
        log.record(Event::Reload { result: "loaded", digest: "0".repeat(64) });
    });
    lines.extend(log(AccessFormat::Json, 1, |log| {
        let reload = Event::Reload { result: "loaded", digest: String::new() };
        (0..1_000_000).take_while(|_| log.lost() == 0).for_each(|_| log.record(reload.clone()));
        assert!(log.lost() > 0, "a queue for one record loses some");
    }));
    let mut fields: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in lines {
        let line: Map<String, Value> = serde_json::from_str(&line).expect("JSON");
        let event = line["event"].as_str().expect("a word").to_owned();
        fields.entry(event).or_default().extend(line.keys().cloned());
    }
    fields
}

#[test]
fn every_event_and_every_field_of_it_is_documented_and_no_other_is() {
    let page = page();
    let events: Vec<_> = rows(&page, "Event").iter().map(|row| code(&row[0])[0].to_owned()).collect();
    let mut documented: BTreeMap<String, BTreeSet<String>> =
        events.iter().map(|event| (event.clone(), BTreeSet::new())).collect();
    for row in rows(&page, "Field") {
        let of: Vec<_> = if row[1] == "all" { events.clone() } else { row[1].split(", ").map(str::to_owned).collect() };
        for event in of {
            let fields = documented.get_mut(&event).unwrap_or_else(|| panic!("{event} is no event"));
            fields.insert(code(&row[0])[0].to_owned());
        }
    }
    assert_eq!(documented, written());
}

#[test]
fn the_contracts_words_are_written_or_kept_free() {
    let page = page();
    let taken: BTreeSet<_> = code(section(&page, 3, "Names that are taken")).into_iter().collect();
    let written = written();
    let fields: BTreeSet<_> = written.values().flatten().map(String::as_str).collect();
    for field in FIELDS.split_whitespace() {
        assert!(fields.contains(field) != taken.contains(field), "{field}");
    }
    for event in EVENTS.split_whitespace() {
        assert!(written.contains_key(event) != taken.contains(event), "{event}");
    }
}

#[test]
fn verdicts_and_ends_are_those_that_the_program_knows() {
    let page = page();
    let values = |heading| {
        let rows = rows(section(&page, 3, heading), "Value");
        rows.iter().map(|row| code(&row[0])[0].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values("verdict"), Verdict::ALL.iter().map(|verdict| verdict.label()).collect::<Vec<_>>());
    assert_eq!(values("closed_by"), ends().iter().map(|end| end.label()).collect::<Vec<_>>());
}

/// Each end, by naming what follows it: a new one does not compile until it has its place.
fn ends() -> Vec<ClosedBy> {
    let next = |end: &ClosedBy| match end {
        ClosedBy::Client => Some(ClosedBy::Upstream),
        ClosedBy::Upstream => Some(ClosedBy::ClientReset),
        ClosedBy::ClientReset => Some(ClosedBy::UpstreamReset),
        ClosedBy::UpstreamReset => Some(ClosedBy::Gate),
        ClosedBy::Gate => Some(ClosedBy::Idle),
        ClosedBy::Idle => Some(ClosedBy::HalfClosed),
        ClosedBy::HalfClosed => Some(ClosedBy::Revoked),
        ClosedBy::Revoked => Some(ClosedBy::Shutdown),
        ClosedBy::Shutdown => None,
    };
    std::iter::successors(Some(ClosedBy::Client), next).collect()
}

#[test]
fn the_examples_are_what_the_program_writes() {
    let tell = |log: &AccessLog| examples().into_iter().for_each(|one| log.record(Event::Close(Box::new(one))));
    let json = log(AccessFormat::Json, 100, tell);
    assert_eq!(blocks(&page(), "json"), [json[1..3].join("\n")]);
    let squid = log(AccessFormat::Squid, 100, tell);
    assert_eq!(blocks(section(&page(), 2, "Squid's form"), ""), [squid.join("\n")]);
}

/// `learn` and `usage` read what the gate writes.
#[test]
fn lines_read_back_as_what_they_were_written_of() {
    use sekisho_journal::{Event as Told, Record, Verdict as Word};
    for verdict in Verdict::ALL {
        let outcome = Outcome { verdict: *verdict, ..full() };
        let lines = log(AccessFormat::Json, 100, |log| log.record(Event::Close(Box::new(outcome.clone()))));
        let records: Vec<_> = lines.iter().map(|line| Record::parse(line.as_bytes()).expect("a record")).collect();
        let events: Vec<_> = records.iter().map(|record| record.event).collect();
        assert_eq!(events, [Told::Other, Told::Close, Told::Other], "start, close, stop");
        let record = &records[1];
        let word = match verdict {
            Verdict::Allowed => Word::Allowed,
            Verdict::Refused => Word::Refused,
            Verdict::Audited => Word::Audited,
            Verdict::Failed => Word::Failed,
        };
        assert_eq!(record.verdict, Some(word));
        assert_eq!(record.time, 1_795_511_702);
        assert_eq!((record.client, record.upstream), (Some(outcome.client_ip()), outcome.upstream.map(|up| up.ip())));
        assert_eq!(
            (record.host.as_deref(), Some(record.port)),
            (outcome.host.as_ref().map(Name::as_str), outcome.port)
        );
        assert_eq!((record.rule.as_deref(), record.reason.as_deref()), (Some("reports"), Some("forbidden_address")));
    }
}

#[test]
fn each_reason_is_learned_from_or_has_a_word_on_what_to_change() {
    use sekisho_journal::learn::{Learner, Options};
    for reason in Reason::ALL {
        let verdict = Verdict::of(*reason);
        let outcome = Outcome { verdict, reason: Some(*reason), rule: None, ..full() };
        let lines = log(AccessFormat::Json, 100, |log| log.record(Event::Close(Box::new(outcome))));
        let mut learner = Learner::new(Options::default(), None);
        for line in &lines {
            learner.take(&sekisho_journal::Record::parse(line.as_bytes()).expect("a record")).expect("a good line");
        }
        let learned = learner.finish();
        // Only audit mode gives this one, and never to what is refused.
        if *reason != Reason::AuditRule {
            let why: Vec<_> = learned.aside.iter().map(|aside| aside.why.as_str()).collect();
            assert_eq!(why, [reason.label()]);
        }
    }
}
