use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::proto::MetricType;

use super::*;
use crate::outcome::{DstMatches, Outcome, Verdict};
use crate::policy_store::{PolicyStore, ReloadResult};
use crate::reason::Reason;
use crate::sources::Sources;
use crate::testing;
use text::{Family, families};

mod text;

const POLICY: &str = r#"
version: 1
rules:
  - { name: reports, hosts: [a.example], expires: 2100-12-31 }
  - { name: 'the "second" \ 二', hosts: [b.example] }
"#;

/// A scrape, as families by name.
struct Scrape(Vec<Family>);

impl Scrape {
    fn of(metrics: &Metrics, policy: &PolicyStore) -> Self {
        let limits = testing::settings().limits;
        let facts =
            Facts { policy, resolver: None, limits: &limits, sources: &Sources::default(), lost: 7, ready: true };
        Self(families(&metrics.render(&facts).unwrap()).unwrap())
    }

    fn family(&self, name: &str) -> &Family {
        self.0.iter().find(|family| family.name == name).unwrap_or_else(|| panic!("{name} is missing"))
    }

    /// The value of the one series with these label values, in order.
    fn value(&self, name: &str, labels: &[&str]) -> f64 {
        let of =
            |sample: &&text::Sample| sample.labels.iter().map(|(_, value)| value.as_str()).eq(labels.iter().copied());
        let family = self.0.iter().find(|family| {
            name.starts_with(family.name.as_str()) && { family.samples.iter().any(|sample| sample.name == name) }
        });
        let samples: Vec<_> = family.into_iter().flat_map(|family| &family.samples).filter(of).collect();
        match samples.iter().filter(|sample| sample.name == name).collect::<Vec<_>>().as_slice() {
            [one] => one.value,
            others => panic!("{name}{labels:?}: {others:?}"),
        }
    }
}

fn ended(listener: u16, verdict: Verdict, reason: Option<Reason>) -> Outcome {
    Outcome { verdict, reason, ..Outcome::new(1, listener, ([10, 0, 0, 1], 1).into()) }
}

#[track_caller]
fn same(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

#[test]
fn every_metric_of_the_catalogue_is_there_with_its_kind_help_and_labels() {
    let (_dir, policy) = testing::policy(POLICY);
    let scrape = Scrape::of(&Metrics::new(&testing::settings()), &policy);
    for known in catalogue::ALL {
        let family = scrape.family(known.name);
        let kind = match known.kind {
            MetricType::COUNTER => "counter",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        assert_eq!((family.kind.as_str(), family.help.as_str()), (kind, known.help));
        for sample in family.samples.iter().filter(|_| kind != "histogram") {
            let labels: Vec<_> = sample.labels.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(labels, known.labels, "{}", known.name);
        }
    }
    // Of the two rules one expires.
    assert_eq!(scrape.family("sekisho_rule_expires_timestamp_seconds").samples.len(), 1);
    same(scrape.value("sekisho_rule_expires_timestamp_seconds", &["reports"]), 4_133_980_799.0);
    let ours = scrape.0.iter().filter(|family| !family.name.starts_with("process_")).count();
    assert_eq!(ours, catalogue::ALL.len(), "and no other");
    for process in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        scrape.family(process);
    }
}

#[test]
fn what_can_happen_is_there_at_zero_from_the_start_and_nothing_else_is() {
    let (_dir, policy) = testing::policy(POLICY);
    let metrics = Metrics::new(&testing::settings());
    let scrape = Scrape::of(&metrics, &policy);
    let series = |scrape: &Scrape| -> BTreeSet<(String, String)> {
        let family = scrape.family("sekisho_connections_total");
        family.samples.iter().map(|s| (s.label("verdict").to_owned(), s.label("reason").to_owned())).collect()
    };
    // behaviour.md's table, by what its rows make of a connection.
    let refused = "no_rule denied_by_rule rule_expired ech_denied no_sni forbidden_address destination_mismatch duplicate_extension multiple_names malformed \
        invalid_name hello_too_large obsolete_protocol not_tls hello_timeout over_connection_limit over_client_limit \
        not_redirected sni_changed sni_mismatch proxy_header_missing proxy_header_malformed proxy_header_untrusted \
        bad_request method_not_allowed target_not_allowed";
    let failed = "name_not_found dns_failed connect_failed connect_timeout ports_exhausted descriptors_exhausted \
        client_closed probe";
    let audited = "no_rule denied_by_rule rule_expired forbidden_address audit_rule ech_denied destination_mismatch";
    let mut expected: BTreeSet<_> = [("allowed".to_owned(), String::new())].into();
    for (verdict, reasons) in [("refused", refused), ("failed", failed), ("audited", audited)] {
        expected.extend(reasons.split_whitespace().map(|reason| (verdict.to_owned(), reason.to_owned())));
    }
    assert_eq!(series(&scrape), expected);
    assert!(scrape.family("sekisho_connections_total").samples.iter().all(|sample| sample.value == 0.0));

    // What should not happen shows if it does.
    metrics.shard().closed(&ended(0, Verdict::Failed, None));
    same(Scrape::of(&metrics, &policy).value("sekisho_connections_total", &["in", "failed", ""]), 1.0);
    assert_eq!(series(&Scrape::of(&metrics, &policy)).len(), expected.len() + 1);
}

#[test]
fn the_workers_counters_add_up() {
    let (_dir, policy) = testing::policy(POLICY);
    let mut settings = testing::settings();
    let second = crate::settings::Listener { name: "the \"other\" \\ \n".into(), ..settings.listeners[0].clone() };
    settings.listeners.push(second);
    let metrics = Metrics::new(&settings);
    let shards = [metrics.shard(), metrics.shard(), metrics.shard()];
    for (number, shard) in (1..).zip(&shards) {
        for _ in 0..number {
            shard.opened(0);
            shard.opened(1);
            shard.opened(1);
            shard.closed(&ended(1, Verdict::Allowed, None));
            shard.closed(&ended(0, Verdict::Refused, Some(Reason::NoRule)));
        }
        shard.add_bytes(number, 100 * number);
        // A listener that there is not is no reason to stop.
        shard.opened(2);
        shard.closed(&ended(2, Verdict::Allowed, None));
    }
    let scrape = Scrape::of(&metrics, &policy);
    let other = "the \"other\" \\ \n";
    same(scrape.value("sekisho_connections_total", &["in", "refused", "no_rule"]), 6.0);
    same(scrape.value("sekisho_connections_total", &[other, "allowed", ""]), 6.0);
    same(scrape.value("sekisho_connections_total", &["in", "allowed", ""]), 0.0);
    same(scrape.value("sekisho_connections_active", &["in"]), 0.0);
    same(scrape.value("sekisho_connections_active", &[other]), 6.0);
    assert_eq!((metrics.active(0), metrics.active(1), metrics.active(2)), (0, 6, 0));
    same(scrape.value("sekisho_bytes_total", &["up"]), 6.0);
    same(scrape.value("sekisho_bytes_total", &["down"]), 600.0);
    drop(shards);
    same(Scrape::of(&metrics, &policy).value("sekisho_bytes_total", &["down"]), 600.0);
}

#[test]
fn what_clients_had_dialled_is_counted_where_it_is_known() {
    let (_dir, policy) = testing::policy(POLICY);
    let metrics = Metrics::new(&testing::settings());
    let shards = [metrics.shard(), metrics.shard()];
    let matches = [None, Some(DstMatches::Yes), Some(DstMatches::No), Some(DstMatches::No), Some(DstMatches::Recent)];
    for (dst_matches, shard) in matches.into_iter().chain([Some(DstMatches::No)]).zip(shards.iter().cycle()) {
        shard.closed(&Outcome { dst_matches, ..ended(0, Verdict::Allowed, None) });
    }
    let scrape = Scrape::of(&metrics, &policy);
    for (label, expected) in [("yes", 1.0), ("recent", 1.0), ("no", 3.0)] {
        same(scrape.value("sekisho_destination_matches_total", &["in", label]), expected);
    }
}

#[test]
fn open_connections_are_never_fewer_than_none() {
    let metrics = Metrics::new(&testing::settings());
    let (stop, end) = (AtomicBool::new(false), ended(0, Verdict::Allowed, None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let shard = metrics.shard();
            let (stop, end) = (&stop, &end);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    shard.opened(0);
                    shard.closed(end);
                }
            });
        }
        for _ in 0..100_000 {
            let active = metrics.active(0);
            // As many as were opened between two reads may be too many, but a wrapped count is far beyond.
            assert!(active < 1 << 40, "{active}");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(metrics.active(0), 0);
}

#[test]
fn durations_fall_into_their_buckets() {
    let (_dir, policy) = testing::policy(POLICY);
    let metrics = Metrics::new(&testing::settings());
    let shards = [metrics.shard(), metrics.shard()];
    let micros = Duration::from_micros;
    let observed =
        [micros(0), micros(500), micros(501), micros(10_000_000), micros(10_000_001), Duration::from_secs(3600)];
    for (hello, shard) in observed.into_iter().zip(shards.iter().cycle()) {
        shard.closed(&Outcome { hello: Some(hello.into()), connect: None, ..ended(0, Verdict::Allowed, None) });
    }
    shards[0].closed(&Outcome { connect: Some(micros(2_500).into()), ..ended(0, Verdict::Allowed, None) });
    let dns = metrics.dns_observer();
    for seconds in [0.000_4, 0.25, 60.0, f64::NAN, -1.0] {
        dns.lookup(LookupResult::Ok, seconds);
    }
    let scrape = Scrape::of(&metrics, &policy);
    let hello = |bound: &str| scrape.value("sekisho_hello_seconds_bucket", &[bound]).to_string();
    assert_eq!([hello("0.0005"), hello("0.001"), hello("5"), hello("10"), hello("+Inf")], ["2", "3", "3", "4", "6"]);
    same(scrape.value("sekisho_hello_seconds_sum", &[]), 3_620.001_002);
    let connect = |bound: &str| scrape.value("sekisho_connect_seconds_bucket", &[bound]).to_string();
    assert_eq!([connect("0.001"), connect("0.0025"), connect("+Inf")], ["0", "1", "1"]);
    same(scrape.value("sekisho_connect_seconds_sum", &[]), 0.0025);
    same(scrape.value("sekisho_connect_seconds_count", &[]), 1.0);
    let dns = |bound: &str| scrape.value("sekisho_dns_lookup_seconds_bucket", &[bound]).to_string();
    // What is no duration counts as none at all.
    assert_eq!([dns("0.0005"), dns("0.1"), dns("0.25"), dns("10"), dns("+Inf")], ["3", "3", "4", "4", "5"]);
}

#[test]
fn the_policys_metrics_follow_the_policy() {
    let (dir, policy) = testing::policy(POLICY);
    let metrics = Metrics::new(&testing::settings());
    let second = r#"the "second" \ 二"#;
    let mut outcome = ended(0, Verdict::Audited, Some(Reason::AuditRule));
    (outcome.rule, outcome.bytes_up, outcome.bytes_down) = (Some(second.into()), 3, 4);
    policy.current().count(0, &outcome);
    let scrape = Scrape::of(&metrics, &policy);
    same(scrape.value("sekisho_rule_bytes_total", &[second, "up"]), 3.0);
    same(scrape.value("sekisho_rule_bytes_total", &[second, "down"]), 4.0);
    same(scrape.value("sekisho_rule_decisions_total", &[second, "audited"]), 1.0);
    same(scrape.value("sekisho_rule_decisions_total", &["reports", "allowed"]), 0.0);
    assert_eq!(scrape.family("sekisho_rule_decisions_total").samples.len(), 2 * Verdict::ALL.len());
    same(scrape.value("sekisho_policy_info", &[policy.current().policy.digest()]), 1.0);
    assert_eq!(scrape.family("sekisho_policy_info").samples.len(), 1);
    for (name, expected) in [("rules", 2.0), ("differs", 0.0)] {
        same(scrape.value(&format!("sekisho_policy_{name}"), &[]), expected);
    }

    std::fs::write(dir.path().join("policy.yaml"), "rules: [").unwrap();
    assert_eq!(policy.reload(), ReloadResult::Failed);
    std::fs::write(dir.path().join("policy.yaml"), "version: 1\nrules: []\n").unwrap();
    let scrape = Scrape::of(&metrics, &policy);
    same(scrape.value("sekisho_policy_differs", &[]), 1.0);
    for (result, expected) in [("failed", 1.0), ("loaded", 0.0), ("unchanged", 0.0)] {
        same(scrape.value("sekisho_policy_reloads_total", &[result]), expected);
    }
    // A policy without rules is in force as well: it refuses all, and there is nothing to say of its rules.
    assert_eq!(policy.reload(), ReloadResult::Loaded);
    let scrape = Scrape::of(&metrics, &policy);
    same(scrape.value("sekisho_policy_rules", &[]), 0.0);
    same(scrape.value("sekisho_policy_differs", &[]), 0.0);
    assert!(scrape.0.iter().all(|family| !family.name.starts_with("sekisho_rule_")));
}

#[test]
fn the_nodes_own_facts_are_told() {
    let (_dir, policy) = testing::policy(POLICY);
    let scrape = Scrape::of(&Metrics::new(&testing::settings()), &policy);
    for (name, expected) in [
        ("sekisho_access_log_lost_total", 7.0),
        ("sekisho_ready", 1.0),
        ("sekisho_connections_limit", 50_000.0),
        ("sekisho_connections_per_client_limit", 1_000.0),
    ] {
        same(scrape.value(name, &[]), expected);
    }
    same(scrape.value("sekisho_build_info", &[env!("CARGO_PKG_VERSION")]), 1.0);
    let open = scrape.value("sekisho_descriptors", &[]);
    assert!(open >= 3.0 && open <= scrape.value("sekisho_descriptors_limit", &[]), "{open}");
    for result in LookupResult::ALL {
        same(scrape.value("sekisho_dns_lookups_total", &[result.label()]), 0.0);
    }
}
