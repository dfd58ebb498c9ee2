use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::compact::Addr;
use crate::outcome::{ClosedBy, DstMatches, Offered, Verdict};
use crate::reason::Reason;
use crate::settings::AccessFormat;

mod files;
mod squid;

/// Settings of which only the access log matters.
fn settings(path: Option<&Path>, format: AccessFormat, queue: usize) -> Settings {
    let access_log = settings::AccessLog { path: path.map(Path::to_owned), format, queue, ja4: false };
    Settings { access_log: Some(access_log), ..crate::testing::settings() }
}

fn start(path: &Path) -> AccessLog {
    AccessLog::start(&settings(Some(path), AccessFormat::Json, 100_000), "the digest").unwrap()
}

/// A connection that was accepted at a certain time, and nothing else is known of it.
fn outcome(conn: u64) -> Outcome {
    let mut outcome = Outcome::new(conn, 0, "10.20.0.15:51514".parse().unwrap());
    outcome.accepted = SystemTime::UNIX_EPOCH + Duration::new(1_795_511_702, 99_999_000);
    outcome
}

fn addr(text: &str) -> Addr {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

/// A connection of which everything is known.
fn allowed() -> Outcome {
    let offered = Offered {
        alpn: vec!["h2".into(), "http/1.1".into()],
        versions: vec![0x304, 0x303],
        ech: false,
        ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1".into()),
    }
    .into();
    Outcome {
        original_dst: Some(addr("52.219.0.12:443")),
        dst_matches: Some(DstMatches::Recent),
        host: Some(sekisho_name::Name::parse("reports.s3.ap-northeast-1.amazonaws.com").unwrap()),
        port: Some(443),
        verdict: Verdict::Allowed,
        rule: Some("レポート".into()),
        upstream: Some(addr("[2600:1fa0::1]:443")),
        bytes_up: 48_211,
        bytes_down: 6_120,
        duration: Duration::from_micros(412_906).into(),
        hello: Some(Duration::from_millis(1).into()),
        dns: Some(Duration::from_nanos(4_999).into()),
        connect: Some(Duration::from_micros(2_113).into()),
        closed_by: Some(ClosedBy::Client),
        offered: Some(offered),
        ..outcome(0x9f3c_1a55_0000_0012)
    }
}

fn close(outcome: &Outcome) -> Event {
    Event::Close(Box::new(outcome.clone()))
}

/// The whole lines of a file.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    text.lines().map(str::to_owned).collect()
}

/// What the log writes of these events between `start` and `stop`.
fn written(format: AccessFormat, events: impl IntoIterator<Item = Event>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    let log = AccessLog::start(&settings(Some(&path), format, 100), "the digest").unwrap();
    events.into_iter().for_each(|event| log.record(event));
    assert!(log.finish());
    assert_eq!(log.lost(), 0);
    let mut lines = lines(&path);
    if format == AccessFormat::Json {
        assert!(lines.pop().unwrap().ends_with(r#""event":"stop"}"#));
        assert!(lines.remove(0).contains(r#""event":"start""#));
    }
    lines
}

#[test]
fn an_allowed_connection_has_every_field() {
    let lines = written(AccessFormat::Json, [close(&allowed())]);
    let expected = concat!(
        r#"{"time":"2026-11-24T09:15:02.512905Z","event":"close","conn":"9f3c1a5500000012","listener":"in","#,
        r#""protocol":"tls","client":"10.20.0.15:51514","original_dst":"52.219.0.12:443","dst_matches":"recent","#,
        r#""host":"reports.s3.ap-northeast-1.amazonaws.com","port":443,"verdict":"allowed","rule":"レポート","#,
        r#""upstream":"[2600:1fa0::1]:443","bytes_up":48211,"bytes_down":6120,"duration_ms":412.906,"dns_ms":0.004,"#,
        r#""connect_ms":2.113,"closed_by":"client","alpn":["h2","http/1.1"],"tls_versions":["0x0304","0x0303"],"ech":false,"#,
        r#""ja4":"t13d1516h2_8daaf6152771_e5627efa2ab1"}"#
    );
    assert_eq!(lines, [expected]);
}

#[test]
fn what_is_not_known_is_absent() {
    let refused = Outcome {
        verdict: Verdict::Refused,
        reason: Some(Reason::NotTls),
        detail: Some("not a handshake record"),
        closed_by: Some(ClosedBy::Gate),
        ..outcome(1)
    };
    let audited = Outcome { verdict: Verdict::Audited, reason: Some(Reason::NoRule), ..allowed() };
    let failed = Outcome { verdict: Verdict::Failed, reason: Some(Reason::DnsFailed), upstream: None, ..allowed() };
    let events = [close(&refused), close(&audited), close(&failed)];
    let lines = written(AccessFormat::Json, events);
    let values: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "time": "2026-11-24T09:15:02.099999Z", "event": "close", "conn": "0000000000000001", "listener": "in",
        "protocol": "tls", "client": "10.20.0.15:51514", "verdict": "refused", "reason": "not_tls",
        "detail": "not a handshake record", "bytes_up": 0, "bytes_down": 0, "duration_ms": 0.0, "closed_by": "gate",
    });
    assert_eq!(values[0], expected);
    assert_eq!((&values[1]["verdict"], &values[1]["reason"]), (&json!("audited"), &json!("no_rule")));
    assert_eq!((&values[2]["verdict"], &values[2]["reason"]), (&json!("failed"), &json!("dns_failed")));
    assert!(values[2].get("upstream").is_none());
    assert!(lines.iter().all(|line| !line.contains("null") && !line.contains(r#""""#)));
}

#[test]
fn the_nodes_own_events_say_what_the_node_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    let log = start(&path);
    log.record(Event::Reload { result: "loaded", digest: "another".to_owned() });
    log.record(Event::Open(Box::new(Outcome { closed_by: None, ..allowed() })));
    log.record(Event::Revoked(Box::new(Outcome { verdict: Verdict::Refused, closed_by: None, ..allowed() })));
    assert!(log.finish());
    let values: Vec<Value> = lines(&path).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();

    assert_eq!(keys(&values[0]), set(&["time", "event", "pid", "version", "node", "policy"]));
    assert_eq!((&values[0]["event"], &values[0]["policy"]), (&json!("start"), &json!("the digest")));
    assert_eq!(values[0]["pid"], json!(std::process::id()));
    assert_eq!(keys(&values[1]), set(&["time", "event", "result", "policy"]));
    assert_eq!((&values[1]["result"], &values[1]["policy"]), (&json!("loaded"), &json!("another")));
    assert_eq!((&values[2]["event"], &values[2]["conn"]), (&json!("open"), &json!("9f3c1a5500000012")));
    assert_eq!((&values[3]["event"], &values[3]["verdict"]), (&json!("revoked"), &json!("refused")));
    assert!(values[2].get("closed_by").is_none() && keys(&values[2]) == keys(&values[3]));
    assert_eq!(keys(&values[4]), set(&["time", "event"]));
    for value in &values {
        // 2026-11-24T09:15:02.512905Z
        let time = value["time"].as_str().unwrap();
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00T00:00:00.000000Z");
        assert!(time.parse::<jiff::Timestamp>().is_ok());
    }
}

#[test]
fn nothing_that_a_connection_brings_can_forge_a_line() {
    let forged =
        "x\"}\n{\"time\":\"2026-11-24T09:15:02.000000Z\",\"event\":\"close\",\"verdict\":\"allowed\"}\r\n\0\u{1b}[2J";
    let offered = Offered { alpn: vec![forged.into()], versions: Vec::new(), ech: true, ja4: None };
    let outcome = Outcome { rule: Some(forged.into()), offered: Some(offered.into()), ..allowed() };
    let lines = written(AccessFormat::Json, [close(&outcome)]);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].chars().all(|c| !c.is_control()));
    let value: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&value["rule"], &value["alpn"]), (&json!(forged), &json!([forged])));
    for name in ["a\nb.example", "a\0.example", "a\".example", "a b.example", "a\u{2028}.example", "a\u{7f}.example"] {
        assert!(sekisho_name::Name::parse(name).is_err(), "no host holds such bytes: {name:?}");
    }
}

#[test]
fn squids_form_has_a_line_for_each_end_and_no_other() {
    let refused = Outcome { verdict: Verdict::Refused, reason: Some(Reason::NoSni), ..outcome(1) };
    let failed = Outcome { verdict: Verdict::Failed, reason: Some(Reason::ConnectFailed), ..allowed() };
    let audited = Outcome { verdict: Verdict::Audited, upstream: Some(addr("192.0.2.1:443")), ..allowed() };
    let events = [
        Event::Open(Box::new(allowed())),
        Event::Revoked(Box::new(allowed())),
        Event::Reload { result: "loaded", digest: String::new() },
        close(&allowed()),
        close(&refused),
        close(&failed),
        close(&audited),
    ];
    let host = "reports.s3.ap-northeast-1.amazonaws.com:443";
    let expected = [
        format!("1795511702.512    412 10.20.0.15 TCP_TUNNEL/200 6120 CONNECT {host} - HIER_DIRECT/2600:1fa0::1 -"),
        "1795511702.099      0 10.20.0.15 TCP_DENIED/403 0 CONNECT -:0 - HIER_NONE/- -".to_owned(),
        format!("1795511702.512    412 10.20.0.15 TCP_TUNNEL/503 6120 CONNECT {host} - HIER_DIRECT/2600:1fa0::1 -"),
        format!("1795511702.512    412 10.20.0.15 TCP_TUNNEL/200 6120 CONNECT {host} - HIER_DIRECT/192.0.2.1 -"),
    ];
    assert_eq!(written(AccessFormat::Squid, events), expected);
}

#[test]
fn what_a_full_queue_does_not_take_is_counted_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access");
    let (sender, messages) = channel();
    let (finished, done) = channel();
    let shared = Arc::new(Signals::default());
    let log = AccessLog {
        queue: Some(Queue { messages: sender, room: 2 }),
        shared: Arc::clone(&shared),
        done: Mutex::new(Some(done)),
    };
    // Nobody writes yet.
    (1..=5).for_each(|conn| log.record(close(&outcome(conn))));
    assert_eq!(log.lost(), 3);
    assert_eq!(shared.waiting.load(Ordering::Relaxed), 2);
    let target = Target::open(Some(&path)).unwrap();
    let writer = Writer::new(target, AccessFormat::Json, 2, vec![("in".into(), "tls")], Arc::clone(&shared));
    let thread = std::thread::spawn(move || finished.send(writer.run(&messages)).unwrap());
    assert!(log.finish());
    thread.join().unwrap();
    assert_eq!(shared.waiting.load(Ordering::Relaxed), 0, "there is room again");

    let values: Vec<Value> = lines(&path).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = values.iter().map(|value| value["event"].as_str().unwrap()).collect();
    assert_eq!(events.iter().filter(|&&event| event == "close").count(), 2);
    let lost: u64 = values.iter().filter_map(|value| value["count"].as_u64()).sum();
    assert_eq!((lost, events.iter().filter(|&&event| event == "lost").count()), (3, 1));
    assert_eq!(events.last(), Some(&"stop"));

    log.record(close(&outcome(6)));
    assert_eq!(log.lost(), 4, "after the end");
    assert!(log.finish(), "once is enough");
}

#[test]
fn without_an_access_log_nothing_is_kept_and_nothing_lost() {
    let log = AccessLog::start(&crate::testing::settings(), "").unwrap();
    log.record(close(&outcome(1)));
    log.reopen();
    assert!(log.finish());
    assert_eq!(log.lost(), 0);
}
