//! docs/ARCHITECTURE.md

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::page::{self, code};

fn names(directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(page::root().join(directory)).expect("a directory");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn is_rust(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "rs")
}

#[test]
fn every_crate_and_every_file_of_the_gates_top_level_is_named() {
    let text = page::read("docs/ARCHITECTURE.md");
    let named: BTreeSet<_> = page::outside_fences(&text).flat_map(code).collect();
    for name in names("crates") {
        assert!(named.contains(&*format!("crates/{name}")), "crates/{name} is not named");
    }
    for file in names("crates/relay/src").iter().filter(|name| is_rust(name)) {
        assert!(named.contains(&**file), "{file} is not named");
    }
}

#[test]
fn every_file_that_is_named_exists() {
    let text = page::read("docs/ARCHITECTURE.md");
    let files = page::outside_fences(&text).flat_map(code).filter(|name| is_rust(name));
    let mut count = 0;
    for file in files {
        let below = if file.contains("crates/") { "" } else { "crates/relay/src/" };
        assert!(page::root().join(format!("{below}{file}")).is_file(), "{file} does not exist");
        count += 1;
    }
    assert!(count > 20, "the page names its files");
}
