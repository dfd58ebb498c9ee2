//! Every page's links.

use std::collections::HashMap;

use crate::page;

#[test]
fn every_relative_link_leads_somewhere() {
    let pages: HashMap<_, _> = page::all().into_iter().collect();
    assert!(pages.contains_key("README.md"));
    let mut broken = Vec::new();
    for (path, text) in &pages {
        for target in targets(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            let file = if file.is_empty() { path.clone() } else { join(directory, file) };
            let there = page::root().join(&file).exists();
            let heading = anchor.is_empty() || pages.get(&file).is_some_and(|text| anchors(text).any(|a| a == anchor));
            if !there || !heading {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_index_lists_every_page() {
    let index = page::read("docs/README.md");
    for (path, _) in page::all() {
        if let Some(name) = path.strip_prefix("docs/").filter(|name| *name != "README.md") {
            assert!(targets(&index).any(|target| target == name), "docs/README.md does not list {name}");
        }
    }
}

/// Where the links outside code lead, web addresses left out.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let outside = page::outside_fences(text);
    outside
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)))
}

/// The anchors that GitHub makes of a page's headings.
pub(crate) fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = (1..=4).flat_map(move |level| page::headings(text, level));
    headings.map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    })
}

fn join(directory: &str, file: &str) -> String {
    let mut parts: Vec<_> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn links_are_found_and_followed() {
    let text = "# A `b.c` page\nsee [x](y.md#z), [w](https://a/) and\n```\n[no](no.md)\n```\n";
    assert_eq!(targets(text).collect::<Vec<_>>(), ["y.md#z"]);
    assert_eq!(anchors(text).collect::<Vec<_>>(), ["a-bc-page"]);
    assert_eq!(join("docs", "../deploy/x"), "deploy/x");
}
