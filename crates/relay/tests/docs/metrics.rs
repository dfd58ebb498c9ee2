//! docs/metrics.md

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::MetricType;
use sekisho::metrics::catalogue::{self, Described};
use sekisho::metrics::{Facts, Metrics};
use sekisho::settings::AccessFormat;
use sekisho::sources::Sources;

use crate::node;
use crate::page::{self, blocks, code, rows};

fn page() -> String {
    page::read("docs/metrics.md")
}

/// A scrape of a node that has served nothing yet.
fn scrape() -> String {
    let settings = node::settings(None, AccessFormat::Json, 1);
    let metrics = Metrics::new(&settings);
    let (policy, sources) = (node::policy(), Sources::default());
    let facts =
        Facts { policy: &policy, resolver: None, limits: &settings.limits, sources: &sources, lost: 0, ready: true };
    metrics.render(&facts).expect("the text")
}

/// Of each reason that a connection can end with, the verdicts.
pub(crate) fn verdicts_by_reason() -> BTreeMap<String, BTreeSet<String>> {
    let mut verdicts: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in scrape().lines().filter(|line| line.starts_with("sekisho_connections_total{")) {
        let value = |label: &str| {
            let (_, rest) = line.split_once(&format!("{label}=\"")).expect("the label");
            rest.split('"').next().expect("its value").to_owned()
        };
        verdicts.entry(value("reason")).or_default().insert(value("verdict"));
    }
    verdicts
}

/// Name, type and labels, as the page writes them.
fn row_of(metric: &Described) -> [String; 3] {
    let kind = match metric.kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{other:?} is not documented as anything"),
    };
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    [format!("`{}`", metric.name), kind.to_owned(), labels.join(", ")]
}

#[test]
fn every_metric_has_its_row_and_no_other_has() {
    let mut known: BTreeSet<_> = catalogue::ALL.iter().map(row_of).collect();
    // The process's own are no part of the catalogue: their library knows them.
    for line in scrape().lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE process_").and_then(|rest| rest.split_once(' ')) {
            known.insert([format!("`process_{name}`"), kind.to_owned(), String::new()]);
        }
    }
    let documented: BTreeSet<_> =
        rows(&page(), "Metric").iter().map(|row| [0, 1, 2].map(|cell| row[cell].clone())).collect();
    assert_eq!(documented, known);
}

#[test]
fn every_metric_is_asked_for_in_an_example() {
    let queries = blocks(&page(), "promql").join("\n");
    let asked: BTreeSet<_> = words(&queries).map(base).collect();
    for row in rows(&page(), "Metric") {
        let name = code(&row[0])[0];
        assert!(asked.contains(name), "no example asks for {name}");
    }
}

#[test]
fn no_page_names_a_metric_that_does_not_exist() {
    let known: BTreeSet<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    for (path, text) in page::all() {
        for name in words(&text).filter(|word| word.starts_with("sekisho_")) {
            // Without a unit or a count at its end it may be a table of nftables, or a crate.
            let looks_like_one = ["_total", "_seconds", "_active", "_info"].iter().any(|end| base(name).ends_with(end));
            assert!(known.contains(base(name)) || !looks_like_one, "{path}: {name}");
        }
    }
}

#[test]
fn label_values_are_those_that_the_program_writes() {
    let text = page();
    let row = |name: &str| {
        let row = rows(&text, "Metric").into_iter().find(|row| row[0] == format!("`{name}`")).expect("its row");
        row[3].clone()
    };
    let labels = |values: &[&str]| values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>();
    let verdicts: Vec<_> = sekisho::outcome::Verdict::ALL.iter().map(|verdict| verdict.label()).collect();
    let reloads: Vec<_> = sekisho::policy_store::ReloadResult::ALL.iter().map(|result| result.label()).collect();
    let lookups: Vec<_> = sekisho_resolve::LookupResult::ALL.iter().map(|result| result.label()).collect();
    for (name, values) in [
        ("sekisho_connections_total", &verdicts),
        ("sekisho_rule_decisions_total", &verdicts),
        ("sekisho_policy_reloads_total", &reloads),
        ("sekisho_dns_lookups_total", &lookups),
    ] {
        let row = row(name);
        let written: Vec<_> = code(&row).into_iter().filter(|word| values.contains(word)).collect();
        assert_eq!(labels(&written), labels(values), "{name}");
    }
}

#[test]
fn buckets_are_those_that_the_program_counts_in() {
    let scrape = scrape();
    let bounds = scrape.lines().filter_map(|line| {
        line.strip_prefix("sekisho_hello_seconds_bucket{le=\"")?.split_once('"').map(|(bound, _)| bound)
    });
    let bounds: Vec<_> = bounds.filter(|bound| *bound != "+Inf").collect();
    let page = page().replace('\n', " ");
    assert!(page.contains(&format!("in seconds: {}, and beyond.", bounds.join(", "))), "{bounds:?}");
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// A histogram's name, of one of its series'.
pub(crate) fn base(name: &str) -> &str {
    let of_histogram = |base: &&str| base.ends_with("_seconds") && base.starts_with("sekisho_");
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).filter(of_histogram).unwrap_or(name)
}
