//! A strict reader of Prometheus's text format: what it takes, Prometheus takes. Stricter still, it wants a type and a help
//! line for every family, samples together, and the naming that promtool asks for.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) help: String,
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str()).unwrap()
    }
}

/// Every family, or the first line that is wrong.
pub(super) fn families(text: &str) -> Result<Vec<Family>, String> {
    let mut families: Vec<Family> = Vec::new();
    let mut lines = text.strip_suffix('\n').ok_or("the last line has no end")?.split('\n').peekable();
    while let Some(line) = lines.next() {
        let words = |line: &str, keyword| {
            let rest = line.strip_prefix(keyword)?;
            rest.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.to_owned()))
        };
        let (name, help) = words(line, "# HELP ").ok_or_else(|| format!("no help: {line}"))?;
        let (typed, kind) =
            lines.next().and_then(|line| words(line, "# TYPE ")).ok_or_else(|| format!("no type: {line}"))?;
        if typed != name || !is_name(&name) || families.iter().any(|family| family.name == name) || help.is_empty() {
            return Err(format!("misnamed or twice: {name}"));
        }
        let mut samples = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            samples.push(sample(line).ok_or_else(|| format!("no sample: {line}"))?);
        }
        let family = Family { name, help, kind, samples };
        check(&family)?;
        families.push(family);
    }
    Ok(families)
}

fn check(family: &Family) -> Result<(), String> {
    let Family { name, kind, samples, .. } = family;
    let mut series = BTreeSet::new();
    for sample in samples {
        let suffix = sample.name.strip_prefix(name.as_str());
        let right = match kind.as_str() {
            "counter" => suffix == Some("") && name.ends_with("_total") && sample.value >= 0.0,
            "gauge" => suffix == Some("") && !name.ends_with("_total"),
            "histogram" => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            _ => false,
        };
        if !right || !series.insert((&sample.name, &sample.labels)) {
            return Err(format!("not a sample of the {kind} {name}, or twice: {sample:?}"));
        }
    }
    if samples.is_empty() || (kind == "histogram" && !is_histogram(samples)) {
        return Err(format!("incomplete: {name}"));
    }
    Ok(())
}

/// One series: buckets that only grow, up to infinity, then the sum and as high a count.
fn is_histogram(samples: &[Sample]) -> bool {
    let Some((count, [buckets @ .., _sum])) = samples.split_last() else { return false };
    let bounds: Option<Vec<f64>> = buckets
        .iter()
        .map(|bucket| match bucket.labels.as_slice() {
            [(name, bound)] if name == "le" => bound.parse().ok(),
            _ => None,
        })
        .collect();
    let counts: Vec<_> = buckets.iter().chain([count]).map(|sample| sample.value).collect();
    bounds.is_some_and(|bounds| bounds.is_sorted_by(|a, b| a < b) && bounds.last() == Some(&f64::INFINITY))
        && counts.is_sorted()
        && buckets.last().is_some_and(|last| last.value.total_cmp(&count.value).is_eq())
        && count.name.ends_with("_count")
}

/// `name{label="value",…} value`
fn sample(line: &str) -> Option<Sample> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    let mut ordered = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            let wrong = !is_name(label) || label.contains(':') || labels.insert(label, value.clone()).is_some();
            ordered.push((label.to_owned(), value));
            if wrong {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let value = rest.strip_prefix(' ').filter(|value| !value.contains(' '))?.parse().ok()?;
    is_name(name).then(|| Sample { name: name.to_owned(), labels: ordered, value })
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (end, '"') => return Some((value, &text[end + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            (_, c) => value.push(c),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

#[test]
fn the_reader_takes_no_slip() {
    let right = "# HELP a_total a\n# TYPE a_total counter\na_total{x=\"1\",y=\"\\\\\\\"\\n\"} 1\na_total{x=\"2\",y=\"\"} 2\n\
        # HELP h h\n# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3.5\nh_count 2\n";
    let families = families(right).unwrap();
    assert_eq!((families.len(), families[0].samples[0].label("y")), (2, "\\\"\n"));
    for (part, slip) in [
        ("y=\"\"} 2\n", "y=\"\"} 2"),
        ("# HELP a_total a\n", ""),
        ("# TYPE a_total counter\n", ""),
        ("TYPE a_total counter", "TYPE b_total counter"),
        ("a_total counter", "a_total gauge"),
        ("a_total counter", "a_total count"),
        ("x=\"2\",y=\"\"", "x=\"1\",y=\"\\\\\\\"\\n\""),
        ("x=\"2\"", "x=\"2"),
        ("x=\"2\"", "x=\"2\\t\""),
        ("x=\"2\"", "y=\"2\""),
        ("x=\"2\"", "2=\"2\""),
        ("x=\"2\",", "x=\"2\" "),
        ("y=\"\"} 2", "y=\"\"} -2"),
        ("y=\"\"} 2", "y=\"\"} two"),
        ("y=\"\"} 2", "y=\"\"}"),
        ("a_total{x=\"2\"", "b_total{x=\"2\""),
        ("le=\"0.5\"} 1", "le=\"0.5\"} 3"),
        ("le=\"+Inf\"} 2", "le=\"1\"} 2"),
        ("le=\"+Inf\"} 2", "le=\"0.5\"} 2"),
        ("h_count 2", "h_count 3"),
        ("h_sum 3.5\n", ""),
        ("# HELP h h", "# HELP a_total a"),
        ("h_count 2\n", "h_count 2\n\n"),
    ] {
        let text = right.replacen(part, slip, 1);
        assert!(text != right && super::text::families(&text).is_err(), "{part} → {slip}");
    }
}
