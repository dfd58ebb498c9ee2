//! What the golden files and the policy reference are both compared with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOW: i64 = 1_795_521_600;

/// The codes of all faults that the source can give.
pub(crate) fn codes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "{found:?}");
    found
}

fn collect(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            for start in ["Diagnostic::error(\"", "Diagnostic::warning(\"", "self.fault(\""] {
                found.extend(text.split(start).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
}
