//! Each `golden/*.yaml` gives exactly the text beside it. `SEKISHO_BLESS=1` writes what is given; read the difference.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sekisho_policy::{FileError, Files, Policy};

/// 2026-11-24 12:00:00 UTC.
const NOW: i64 = 1_795_521_600;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The golden directory, without its path in the faults.
struct Here;

impl Files for Here {
    fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
        sekisho_policy::Disk.read(&golden().join(path), limit)
    }
}

fn given(name: &str) -> String {
    match Policy::load_from(Path::new(name), &Here, NOW) {
        Ok(loaded) if loaded.warnings.is_empty() => format!("no fault, {} rules\n", loaded.policy.rules().len()),
        Ok(loaded) => loaded.warnings.human(),
        Err(faults) => faults.human(),
    }
}

#[test]
fn each_file_gives_its_faults() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let given = given(path.file_name().unwrap().to_str().unwrap());
        let beside = path.with_extension("expected");
        if std::env::var_os("SEKISHO_BLESS").is_some() {
            fs::write(&beside, given).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default() != given {
            wrong.push(format!("{}:\n{given}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes of all faults that the source can give.
fn codes(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            for start in ["Diagnostic::error(\"", "Diagnostic::warning(\"", "self.fault(\""] {
                found.extend(text.split(start).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_code_has_a_golden_file_and_its_place_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = BTreeSet::new();
    codes(&root.join("src"), &mut all);
    assert!(all.len() > 30, "{all:?}");
    let mut shown = String::new();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            shown.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    // Faults of size are made where a file of that size is made: tests/faults.rs and the document's own tests.
    let by_size = ["file-too-large", "too-many-names", "too-many-rules", "too-many-values"];
    let missing: Vec<_> =
        all.iter().filter(|code| !by_size.contains(&code.as_str()) && !shown.contains(&format!("[{code}]"))).collect();
    assert!(missing.is_empty(), "no golden file shows {missing:?}");
    let reference = fs::read_to_string(root.join("../../docs/policy.md")).unwrap();
    let missing: Vec<_> = all.iter().filter(|code| !reference.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/policy.md does not explain {missing:?}");
}
