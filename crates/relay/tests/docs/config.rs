//! The operator guide's keys of sekisho.yaml.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sekisho::config::{Config, KEYS};

use crate::page::{self, code, rows, section};

/// One row of the page: a key, and what its other cells have in backticks.
struct Row {
    key: String,
    default: Option<String>,
    limits: Vec<String>,
}

fn documented() -> Vec<Row> {
    let page = page::read("docs/operator.md");
    let rows = rows(section(&page, 2, "sekisho.yaml"), "Key");
    assert!(!rows.is_empty(), "the page has its table");
    let cell = |text: &str| code(text).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let row = |row: &Vec<String>| Row {
        key: cell(&row[0]).remove(0),
        // A cell that is a value and nothing else; others describe it.
        default: row[2].strip_prefix('`').and_then(|cell| cell.strip_suffix('`')).map(str::to_owned),
        limits: cell(&row[3]),
    };
    rows.iter().map(row).collect()
}

/// The file's text with one more value in it: `a.b` becomes a mapping within a mapping.
fn with(settings: &[(&str, &str)]) -> String {
    let mut text = "listeners: [{ bind: \"0.0.0.0:8443\", destination: none }]\npolicy: policy.yaml\n".to_owned();
    let mut written = BTreeSet::new();
    for (key, _) in settings {
        let top = key.split('.').next().expect("a key");
        if !written.insert(top) {
            continue;
        }
        // Everything below one key of the file goes into one mapping.
        let below = |prefix: &str| {
            let inner =
                settings.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.strip_prefix('.')?, *value)));
            inner.collect::<Vec<_>>()
        };
        let plain = settings.iter().find(|(key, _)| *key == top);
        let value = plain.map_or_else(|| mapping(&below(top)), |(_, value)| quoted(value));
        writeln!(text, "{top}: {value}").expect("text");
    }
    text
}

fn mapping(settings: &[(&str, &str)]) -> String {
    let mut written = BTreeSet::new();
    let mut parts = Vec::new();
    for (key, value) in settings {
        match key.split_once('.') {
            None => parts.push(format!("{key}: {}", quoted(value))),
            Some((top, _)) if written.insert(top) => {
                let inner: Vec<_> = settings
                    .iter()
                    .filter_map(|(key, value)| Some((key.strip_prefix(top)?.strip_prefix('.')?, *value)))
                    .collect();
                parts.push(format!("{top}: {}", mapping(&inner)));
            }
            Some(_) => {}
        }
    }
    format!("{{ {} }}", parts.join(", "))
}

fn quoted(value: &str) -> String {
    if value.contains(':') || value == "-" { format!("\"{value}\"") } else { value.to_owned() }
}

fn load(text: &str) -> Config {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sekisho.yaml");
    std::fs::write(&path, text).expect("the file");
    Config::load(&path)
}

fn settings(text: &str) -> Option<String> {
    let Config { settings, faults, .. } = load(text);
    let Some(settings) = settings else {
        println!("{text}\n{}", faults.human());
        return None;
    };
    // Paths are relative to the file, whose directory is another each time.
    let directory = settings.policy.parent().map(|path| path.display().to_string()).unwrap_or_default();
    Some(format!("{settings:?}").replace(&directory, ""))
}

#[test]
fn every_key_is_documented_and_no_other_is() {
    let sections: BTreeSet<_> = KEYS.iter().map(|(section, _)| *section).collect();
    let known = KEYS.iter().flat_map(|(section, keys)| {
        let place = section.replacen("listeners", "listeners[]", 1);
        keys.iter().map(move |key| format!("{place}{}{key}", if place.is_empty() { "" } else { "." }))
    });
    let known: BTreeSet<_> = known.filter(|key| !sections.contains(&*key.replace("[]", ""))).collect();
    let rows: Vec<_> = documented().into_iter().map(|row| row.key).collect();
    let documented: BTreeSet<_> = rows.iter().cloned().collect();
    assert_eq!(documented, known);
    assert_eq!(rows.len(), documented.len(), "each key once");
}

#[test]
fn writing_out_every_default_changes_nothing() {
    let rows = documented();
    let defaults: Vec<_> = rows
        .iter()
        .filter(|row| !row.key.starts_with("listeners"))
        .filter_map(|row| Some((&*row.key, row.default.as_deref()?)))
        .collect();
    assert!(defaults.len() > 15, "the defaults are found");
    let spelt = settings(&with(&defaults)).expect("the defaults are valid");
    assert_eq!(spelt, settings(&with(&[])).expect("the short file is valid"));
}

#[test]
fn limits_are_where_the_page_says() {
    let mut tried = 0;
    for row in documented().iter().filter(|row| !row.key.starts_with("listeners")) {
        let [least, most] = &row.limits[..] else { continue };
        let taken = |value: &str| {
            let mut file = vec![(&*row.key, value)];
            // These two bound each other.
            match &*row.key {
                "dns.ttl.min" => file.push(("dns.ttl.max", "24h")),
                "dns.ttl.max" => file.push(("dns.ttl.min", "0s")),
                _ => {}
            }
            settings(&with(&file)).is_some()
        };
        assert!(taken(least) && taken(most), "{}: {least} to {most}", row.key);
        let (below, above) = beside(least, most);
        assert!(!taken(&above), "{}: {above} is beyond {most}", row.key);
        assert!(below.is_none_or(|below| !taken(&below)), "{} goes below {least}", row.key);
        tried += 1;
    }
    assert!(tried >= 15, "the limits are found: {tried}");
}

/// The nearest values that are out of bounds; there is nothing below 0.
fn beside(least: &str, most: &str) -> (Option<String>, String) {
    if let (Ok(least), Ok(most)) = (least.parse::<u64>(), most.parse::<u64>()) {
        return (least.checked_sub(1).map(|below| below.to_string()), (most + 1).to_string());
    }
    let ms = |text: &str| {
        let end = text.find(char::is_alphabetic).expect("a unit");
        let number: u64 = text[..end].parse().expect("a number");
        number
            * match &text[end..] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                other => panic!("the unit {other}"),
            }
    };
    (ms(least).checked_sub(1).map(|below| format!("{below}ms")), format!("{}ms", ms(most) + 1))
}
