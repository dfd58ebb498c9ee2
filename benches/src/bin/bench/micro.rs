//! What the microbenches printed, read back: `cargo xtask bench` runs them before anything else.

use serde::{Deserialize, Serialize};

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Micro {
    /// Program, function and argument, as `decide/hot_names/1000`.
    pub(crate) name: String,
    /// The median, in nanoseconds.
    pub(crate) ns: f64,
}

/// Reads divan's tables: a tree in which each leaf has `fastest │ slowest │ median │ mean │ samples │ iters`.
pub(crate) fn parse(text: &str) -> Vec<Micro> {
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    for line in text.lines() {
        let inner = line.trim_start_matches([' ', '│', '├', '╰', '─']);
        // Each level of the tree is three characters wide.
        let depth = (line.chars().count() - inner.chars().count()) / 3;
        let mut columns = inner.split('│');
        let first = columns.next().unwrap_or_default();
        let (Some(name), Some(median)) = (first.split("  ").next(), columns.nth(1)) else { continue };
        path.truncate(depth);
        path.push(name.trim().to_owned());
        if let Some(ns) = nanoseconds(median) {
            found.push(Micro { name: path.join("/"), ns });
        }
    }
    found
}

/// The median of the one that is called so.
pub(crate) fn of(all: &[Micro], name: &str) -> Option<f64> {
    all.iter().find(|one| one.name == name).map(|one| one.ns)
}

fn nanoseconds(text: &str) -> Option<f64> {
    let (value, unit) = text.trim().split_once(' ')?;
    let factor = match unit {
        "ps" => 1e-3,
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(value.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::{of, parse};

    const PRINTED: &str = "\
Timer precision: 20 ns
decide                            fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ hot_names                                    │               │               │               │         │
│  ├─ 10                          59.77 ns      │ 20.12 µs      │ 60.21 ns      │ 164.2 ns      │ 300     │ 300000
│  │                              max alloc:    │               │               │               │         │
│  │                                2           │ 2             │ 2             │ 2             │         │
│  ╰─ 1000000                     134.3 ns      │ 16.58 µs      │ 1.373 µs      │ 386.4 ns      │ 300     │ 300000
╰─ load                           1.1 s         │ 1.3 s         │ 1.2 s         │ 1.2 s         │ 3       │ 3

peek                   fastest       │ slowest       │ median        │ mean          │ samples │ iters
╰─ whole               459.1 ns      │ 1.2 µs        │ 462 ns        │ 470 ns        │ 100     │ 6400
";

    #[test]
    fn the_median_of_each_leaf_is_read_with_where_it_stands() {
        let all = parse(PRINTED);
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["decide/hot_names/10", "decide/hot_names/1000000", "decide/load", "peek/whole"]);
        assert_eq!(of(&all, "decide/hot_names/1000000"), Some(1373.0));
        assert_eq!(of(&all, "decide/load"), Some(1.2e9));
        assert_eq!(of(&all, "peek/whole"), Some(462.0));
        assert_eq!(of(&all, "decide/hot_names"), None);
    }
}
