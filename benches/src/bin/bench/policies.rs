//! Policies of any size, for how cost grows.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;

use crate::lab::{Lab, NAMES};

/// How many names the rules of [`ranges`] list.
pub(crate) const OF_RANGES: usize = 10;

const HEAD: &str = "version: 1\nlint: { require: [] }\nrules:\n";
const UPSTREAM: &str = "upstream: [10.91.2.0/24]";

/// So many names in one rule, those that the load asks for among them.
pub(crate) fn names(lab: &Lab, count: usize) -> Result<String> {
    let file = lab.directory.join(format!("{count}-names.txt"));
    let usual = fs::read_to_string(lab.names(true))?;
    let mut text: String = usual.split_inclusive('\n').take(count).collect();
    for at in NAMES..count {
        let _ = writeln!(text, "n{at:07}.s3.ap-northeast-1.amazonaws.com");
    }
    fs::write(&file, text)?;
    Ok(format!("{HEAD}  - {{ name: listed, {UPSTREAM}, hosts_files: [\"{}\"] }}\n", file.display()))
}

/// So many rules that list the same names for other clients, before the one that lets everybody through.
pub(crate) fn ranges(count: u32) -> String {
    let hosts: Vec<_> = (0..OF_RANGES).map(|at| format!("b{at:04}.s3.ap-northeast-1.amazonaws.com")).collect();
    let hosts = hosts.join(", ");
    let mut text = HEAD.to_owned();
    for at in 0..count {
        let [_, high, middle, low] = (at << 4).to_be_bytes();
        let _ = writeln!(
            text,
            "  - {{ name: others {at}, {UPSTREAM}, clients: [172.{}.{middle}.{low}/28], hosts: [{hosts}] }}",
            16 + high
        );
    }
    let _ = writeln!(text, "  - {{ name: everybody, {UPSTREAM}, hosts: [{hosts}] }}");
    text
}
