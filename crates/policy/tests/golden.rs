//! Each `golden/*.yaml` gives exactly the text beside it. `SEKISHO_BLESS=1` writes what is given; read the difference.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{NOW, codes};
use sekisho_policy::{FileError, Files, Policy};

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

#[test]
fn every_code_has_a_golden_file() {
    let mut shown = String::new();
    for entry in fs::read_dir(golden()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            shown.push_str(&fs::read_to_string(path).unwrap());
        }
    }
    // Faults of size are made where a file of that size is made: tests/faults.rs and the document's own tests.
    let by_size = ["file-too-large", "too-many-names", "too-many-rules", "too-many-values"];
    let all = codes();
    let missing: Vec<_> =
        all.iter().filter(|code| !by_size.contains(&code.as_str()) && !shown.contains(&format!("[{code}]"))).collect();
    assert!(missing.is_empty(), "no golden file shows {missing:?}");
}
