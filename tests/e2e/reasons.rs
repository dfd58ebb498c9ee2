//! What each input gets, row by row of the table: the exact bytes that the client receives, the log's line, the metric,
//! and what of it the servers' side sees.

use std::collections::BTreeSet;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::Options;

use crate::raw::{self, End};

mod by_address;
mod by_header;
mod by_hello;
mod by_policy;
mod by_way;
mod hello;
mod stage;

use by_address::{
    DESCRIPTORS, DIALS, DIRECT, FORBIDDEN, LOOKUPS, OVER_CLIENT, OVER_CONNECTIONS, OVER_UNDECIDED, STARVED,
};
use by_header::{HEADERS, PROBES};
use by_hello::{HELLOS, MALFORMED, NAMES};
use by_policy::{AUDITED, ENFORCED, OTHER_ALERT, policy};
use by_way::{OTHER_WAYS, REQUESTS};
use hello::Hello;
use stage::{Row, Stage, TO};

/// Every row that some test below proves.
const ALL: &[&[Row]] = &[
    HELLOS,
    MALFORMED,
    NAMES,
    ENFORCED,
    OTHER_ALERT,
    AUDITED,
    LOOKUPS,
    FORBIDDEN,
    DIALS,
    STARVED,
    OVER_CONNECTIONS,
    OVER_UNDECIDED,
    OVER_CLIENT,
    DIRECT,
    OTHER_WAYS,
    REQUESTS,
    HEADERS,
    PROBES,
];

fn options(settings: &str) -> Options {
    let mut options = Options::policy(&policy("enforce"));
    settings.clone_into(&mut options.settings);
    options
}

fn prove(name: &str, options: &Options, rows: &[Row]) -> Result<()> {
    let lab = Lab::new(name)?;
    Stage::start(&lab, options)?.prove(rows)
}

#[test]
fn a_hello_without_one_valid_reading_gets_its_alert_or_reset_and_nobody_is_dialled() -> Result<()> {
    let settings = format!("timeouts: {{ hello: {}s }}", by_hello::DEADLINE.as_secs());
    prove("hellos", &options(&settings), &[HELLOS, MALFORMED].concat())
}

#[test]
fn a_name_that_is_none_gets_illegal_parameter_and_forges_no_line() -> Result<()> {
    let lab = Lab::new("names")?;
    let mut stage = Stage::start(&lab, &options(""))?;
    stage.prove(NAMES)?;
    // The other text in a hello that is logged.
    let forged: &[u8] = b"h2\"],\"verdict\":\"allowed\"}\n{\"host\":\"forged.example\"}";
    let names = [hello::server_names(&[(0, b"other.example")]), hello::protocols(&[&forged[..40]])];
    let seen = stage.say(&Hello::with(&names).bytes())?;
    ensure!(seen.bytes.last() == Some(&49), "not refused: {seen:?}");
    let lines = stage.gate.wait_closed(Duration::from_secs(5), |lines| lines.len() > NAMES.len())?;
    let alpn = lines.last().and_then(|line| line.pointer("/alpn/0")?.as_str()).context("no alpn")?;
    ensure!(alpn.starts_with("h2\\\"],") && !alpn.contains('\n'), "not escaped: {alpn}");
    let text = std::fs::read_to_string(stage.gate.directory().join("access.jsonl"))?;
    // The first line is `start`.
    ensure!(text.lines().count() == lines.len() + 1, "a line was forged:\n{text}");
    ensure!(text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')), "bytes that a terminal may obey:\n{text:?}");
    ensure!(!text.contains("forged"), "a refused name was written down:\n{text}");
    Ok(())
}

#[test]
fn the_policys_refusals_get_access_denied_at_once_and_its_audited_ones_their_connection() -> Result<()> {
    prove("enforced", &options(""), ENFORCED)
}

#[test]
fn the_policys_refusals_get_the_other_alert_where_it_is_configured() -> Result<()> {
    prove("other-alert", &options("refusal_alert: unrecognized_name"), OTHER_ALERT)
}

#[test]
fn audit_mode_lets_through_what_the_policy_alone_would_refuse_and_nothing_else() -> Result<()> {
    prove("audited", &Options::policy(&policy("audit")), AUDITED)
}

#[test]
fn a_name_that_does_not_resolve_says_why() -> Result<()> {
    prove("lookups", &options(""), LOOKUPS)
}

#[test]
fn an_address_that_may_not_be_dialled_is_not() -> Result<()> {
    let mut options = options("");
    options.listeners.extend(by_address::listeners_that_dial_own_ports());
    prove("forbidden", &options, FORBIDDEN)
}

#[test]
fn a_dial_that_fails_says_why() -> Result<()> {
    prove("dials", &options("timeouts: { connect: 1s }"), DIALS)
}

#[test]
fn a_gate_at_a_cap_accepts_and_resets() -> Result<()> {
    let lab = Lab::new("caps")?;
    for (settings, rows) in [
        ("limits: { connections: 2 }", OVER_CONNECTIONS),
        ("limits: { undecided: 2 }", OVER_UNDECIDED),
        ("limits: { connections_per_client: 2 }", OVER_CLIENT),
    ] {
        Stage::start(&lab, &options(settings))?.prove(rows).context(settings)?;
    }
    Ok(())
}

#[test]
fn a_client_that_dials_a_redirect_listener_itself_is_reset() -> Result<()> {
    prove("direct", &options(""), DIRECT)
}

#[test]
fn slow_and_silent_clients_of_other_ways_in_and_a_second_hello_have_their_reasons() -> Result<()> {
    prove("other-ways", &by_way::options(), OTHER_WAYS)
}

#[test]
fn a_request_or_a_tunnel_that_is_not_served_says_why() -> Result<()> {
    prove("requests", &by_way::options(), REQUESTS)
}

#[test]
fn a_proxy_header_without_a_single_reading_or_from_elsewhere_gets_a_reset_and_a_health_check_no_alarm() -> Result<()> {
    let mut options = options(&format!("timeouts: {{ hello: {}s }}", by_header::DEADLINE.as_secs()));
    options.listeners = by_header::LISTENERS.map(str::to_owned).into();
    prove("headers", &options, &[HEADERS, PROBES].concat())
}

fn starved() -> Options {
    let mut options = options("timeouts: { hello: 1m }");
    options.descriptors = DESCRIPTORS;
    options.dns = options.dns.replace("{ ", "{ ttl: { min: 5m, max: 5m }, ");
    options
}

#[test]
fn a_gate_without_a_descriptor_to_dial_with_says_so() -> Result<()> {
    prove("starved-dial", &starved(), STARVED)
}

#[test]
fn a_gate_without_a_descriptor_to_accept_with_pauses_does_not_spin_and_recovers() -> Result<()> {
    let lab = Lab::new("starved-accept")?;
    let mut stage = Stage::start(&lab, &starved())?;
    let said = stage.gate.process().stderr();
    let warning = format!("limits.connections 50000 needs 101000 open files and this process may have {DESCRIPTORS}");
    ensure!(said.contains(&warning), "no warning at the start: {said}");
    let held = stage.starve(0)?;
    // The kernel takes these in the gate's stead.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = stage.connect(None, TO)?;
        stream.write_all(&Hello::to("other.example").bytes())?;
        waiting.push(stream);
    }
    let before = stage.gate.process().cpu_time()?;
    sleep(Duration::from_secs(3));
    let used = stage.gate.process().cpu_time()?.saturating_sub(before);
    println!("{used:?} of CPU time in 3 s without a descriptor");
    ensure!(used < Duration::from_millis(300), "{used:?} of CPU time went by in 3 s without a descriptor");
    let warnings = stage.gate.process().stderr().matches("accepting pauses").count();
    // Each of the two workers may tell once.
    ensure!((1..=2).contains(&warnings), "{warnings} warnings");

    drop(held);
    for stream in waiting {
        let seen = raw::converse_on(stream, |_| Ok(()))?;
        ensure!(seen.bytes.last() == Some(&49) && seen.end == End::Finished, "not served afterwards: {seen:?}");
    }
    stage.wait_active(0)
}

#[test]
fn an_alert_survives_what_the_client_sent_beside_its_hello() -> Result<()> {
    let lab = Lab::new("unread")?;
    let stage = Stage::start(&lab, &options(""))?;
    let more = vec![0x17; 100 << 10];
    let bytes = [Hello::to("other.example").bytes(), more.clone()].concat();
    for slowly in [false, true] {
        let seen = raw::converse(&lab.client, TO.parse()?, |stream| {
            stream.write_all(&bytes)?;
            if slowly {
                // What arrives after the alert was sent.
                for part in more.chunks(10 << 10).take(3) {
                    sleep(Duration::from_millis(100));
                    stream.write_all(part)?;
                }
            }
            // Whatever could destroy the alert has come before it is read.
            sleep(Duration::from_millis(200));
            Ok(())
        })?;
        ensure!(seen.bytes == [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 49], "the client read {:02x?}", seen.bytes);
        ensure!(seen.end == End::Finished, "then {:?}", seen.end);
    }
    stage.wait_active(0)
}

#[test]
fn every_reason_that_there_is_has_a_row() {
    let source = include_str!("../../crates/relay/src/reason.rs");
    let (_, list) = source.split_once("\nreasons! {").expect("the list of reasons");
    let (list, _) = list.split_once("\n}").expect("its end");
    let there_are: BTreeSet<_> =
        list.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \"")).map(|(_, l)| l).collect();
    assert!(there_are.len() >= 24, "the list was not read: {there_are:?}");
    let proved: BTreeSet<_> = ALL.iter().flat_map(|rows| rows.iter()).map(|row| row.reason).collect();
    assert_eq!(proved, there_are);
}

#[test]
fn every_detail_of_a_header_that_the_documentation_lists_has_a_row() {
    let listed = details(section("PROXY headers"));
    assert!(listed.len() >= 16, "the details were not read: {listed:?}");
    let rows = HEADERS.iter().filter(|row| row.reason.starts_with("proxy_header_"));
    assert_eq!(rows.filter_map(|row| row.detail).collect::<BTreeSet<_>>(), listed);
}

#[test]
fn every_detail_of_a_hello_that_the_documentation_lists_has_a_row() {
    let section = section("The ClientHello");
    let mut listed = details(section);
    assert!(listed.len() >= 38, "the details were not read: {listed:?}");
    // A host name without bytes is malformed before it is invalid.
    listed.remove("server name is empty");
    // A socket takes so short an answer whether its client reads or not, unless it is full of answers that nobody read.
    listed.remove("did not read that its tunnel stood");
    // The section's reasons. Rows of other ways in have others besides.
    let reasons: BTreeSet<_> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rows = [HELLOS, MALFORMED, NAMES, OTHER_WAYS, REQUESTS, HEADERS, PROBES].concat();
    let proved: BTreeSet<_> =
        rows.iter().filter(|row| reasons.contains(row.reason)).filter_map(|row| row.detail).collect();
    assert_eq!(proved, listed);
}

/// A section of the documentation; nothing if there is none.
fn section(title: &str) -> &'static str {
    let page = include_str!("../../docs/reasons.md");
    let sections = page.split("\n## ");
    sections.filter_map(|section| section.split_once('\n')).find(|(own, _)| *own == title).unwrap_or_default().1
}

/// The details that it lists.
fn details(section: &'static str) -> BTreeSet<&'static str> {
    let mut listed = BTreeSet::new();
    let mut in_list = false;
    for line in section.lines() {
        in_list = line.starts_with("- Detail") || line.starts_with("| `") || (in_list && line.starts_with("  "));
        if in_list {
            // A table's other columns are no details.
            let cell = if line.starts_with('|') { line.split('|').nth(1).unwrap_or_default() } else { line };
            listed.extend(cell.split('`').skip(1).step_by(2));
        }
    }
    listed
}
