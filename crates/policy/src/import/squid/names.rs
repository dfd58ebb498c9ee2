//! Sets of names as Squid lists them: hosts, and domains with all below them.

use std::collections::HashSet;

use super::super::draft::Host;
use crate::index::Shape;
use crate::pattern;

/// An entry of a `dstdomain` list; one that can match no server name has a fault.
pub(super) fn host(entry: &str) -> Host {
    let fault = if entry.contains([' ', '\t', '\r']) {
        Some("Squid takes the whole line for one name".to_owned())
    } else if entry.contains('*') {
        Some("Squid takes a `*` literally".to_owned())
    } else {
        pattern::parse(entry).err().map(|(why, _)| why)
    };
    let text = if fault.is_none() { entry.to_ascii_lowercase() } else { entry.to_owned() };
    Host { text, fault }
}

/// What both lists cover.
pub(super) fn both(a: &[Host], b: &[Host]) -> Vec<Host> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for (these, those) in [(a, b), (b, a)] {
        let known: HashSet<_> =
            those.iter().filter(|host| host.fault.is_none()).map(|host| host.text.as_str()).collect();
        let covered = these.iter().filter(|host| host.fault.is_none() && covers(&known, &host.text));
        all.extend(covered.filter(|host| seen.insert(host.text.clone())).cloned());
    }
    all
}

/// Whether a list covers all that an entry covers.
fn covers(list: &HashSet<&str>, entry: &str) -> bool {
    let Ok((shape, name)) = pattern::parse(entry) else { return false };
    let domains = std::iter::successors(Some(&*name), |name| name.split_once('.').map(|(_, rest)| rest));
    (shape == Shape::Exact && list.contains(entry))
        || domains.into_iter().any(|name| list.contains(&*format!(".{name}")))
}
