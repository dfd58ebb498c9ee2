//! The alert rules, docs/runbook.md beside them, and the metrics that both rely on.

use std::collections::BTreeSet;

use sekisho::metrics::catalogue;
use sekisho::outcome::Verdict;
use sekisho::policy_store::ReloadResult;
use sekisho::reason::Reason;
use sekisho_resolve::LookupResult;

use crate::page::{self, headings};
use crate::{links, metrics};

const RULES: &str = "deploy/prometheus/alerts.yaml";

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let known: BTreeSet<_> = catalogue::ALL.iter().map(|metric| metric.name).collect();
    let text = page::read(RULES);
    let asked: BTreeSet<_> =
        metrics::words(&text).filter(|word| word.starts_with("sekisho_")).map(metrics::base).collect();
    assert!(asked.len() > 8, "the rules are found: {asked:?}");
    for name in asked {
        assert!(known.contains(name), "{RULES}: {name}");
    }
}

#[test]
fn alerts_ask_for_label_values_that_exist() {
    let text = page::read(RULES);
    let words = |labels: Vec<&'static str>| BTreeSet::from_iter(labels);
    for (label, known) in [
        ("reason", words(Reason::ALL.iter().map(|reason| reason.label()).collect())),
        ("verdict", words(Verdict::ALL.iter().map(|verdict| verdict.label()).collect())),
        ("direction", words(vec!["up", "down"])),
        (
            "result",
            words(
                (ReloadResult::ALL.iter().map(|result| result.label()))
                    .chain(LookupResult::ALL.iter().map(|result| result.label()))
                    .collect(),
            ),
        ),
    ] {
        let values = [format!("{label}=\""), format!("{label}=~\"")];
        let asked =
            values.iter().flat_map(|token| text.split(&**token).skip(1)).filter_map(|rest| rest.split('"').next());
        let asked: BTreeSet<_> = asked.flat_map(|value| value.split('|')).collect();
        assert!(!asked.is_empty(), "{RULES} asks for no {label}");
        assert!(asked.is_subset(&known), "{RULES}: {label} of {asked:?}");
    }
}

#[test]
fn every_alert_has_its_entry_in_the_runbook_and_no_other_has() {
    let rules = page::read(RULES);
    let value = |key: &str| {
        let lines = rules.lines().filter_map(|line| line.trim().strip_prefix("- ").or(Some(line.trim())));
        lines.filter_map(|line| line.strip_prefix(key)).map(str::trim).collect::<Vec<_>>()
    };
    let (alerts, entries) = (value("alert:"), value("runbook:"));
    assert!(!alerts.is_empty(), "the alerts are found");
    let expected: Vec<_> = alerts.iter().map(|alert| format!("docs/runbook.md#{}", alert.to_lowercase())).collect();
    assert_eq!(entries, expected, "each alert names its entry");

    let runbook = page::read("docs/runbook.md");
    let anchors: BTreeSet<_> = links::anchors(&runbook).collect();
    for alert in &alerts {
        assert!(anchors.contains(&alert.to_lowercase()), "docs/runbook.md has no entry for {alert}");
    }
    for heading in (2..=4).flat_map(|level| headings(&runbook, level)) {
        let alert = heading.starts_with("Sekisho") && !heading.contains(' ');
        assert!(!alert || alerts.contains(&heading), "{heading} is no alert");
    }
}
