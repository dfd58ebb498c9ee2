//! docs/sizing.md

use crate::page::{self, code, rows, section};

#[test]
fn the_kernel_settings_are_those_that_are_shipped() {
    let page = page::read("docs/sizing.md");
    let rows = rows(section(&page, 2, "Kernel settings"), "Setting");
    let documented: Vec<_> = rows.iter().map(|row| (code(&row[0])[0], code(&row[1])[0])).collect();
    let file = page::read("deploy/sysctl.d/60-sekisho.conf");
    let settings = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let shipped: Vec<_> = settings.map(|line| line.split_once(" = ").expect("a setting")).collect();
    assert!(shipped.len() > 5, "the settings are found");
    assert_eq!(documented, shipped);
}

#[test]
fn every_limit_names_an_alert_or_a_metric_that_exists() {
    let page = page::read("docs/sizing.md");
    let alerts = page::read("deploy/prometheus/alerts.yaml");
    let words = page.split(|c: char| !c.is_ascii_alphanumeric());
    let named: Vec<_> = words.filter(|word| word.starts_with("Sekisho") && word.len() > 7).collect();
    assert!(named.len() > 8, "the alerts are named");
    for alert in named {
        assert!(alerts.contains(&format!("- alert: {alert}\n")), "{alert} is no alert");
    }
    let known: Vec<_> = sekisho::metrics::catalogue::ALL.iter().map(|metric| metric.name).collect();
    let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for metric in words.filter(|word| word.starts_with("sekisho_")) {
        let name = metric.strip_suffix("_bucket").unwrap_or(metric);
        assert!(known.contains(&name), "{metric} is no metric");
    }
}
