//! What the project promises of its speed, beside what was measured.

use std::fmt::Write as _;

use crate::figures::{self, Metric, Summary, number};
use crate::growth;
use crate::micro;
use crate::results::Results;

/// Above all peers.
pub(crate) const OURS: &str = "sekisho";
const FLOOR_COPY: &str = "floor-copy";
const FLOOR_SPLICE: &str = "floor-splice";
const DEBIAN: &str = "haproxy";

/// One promise.
pub(crate) struct Target {
    what: String,
    limit: String,
    /// What was measured, or why there is nothing.
    figure: String,
    /// Nothing where nothing was measured.
    met: Option<bool>,
}

/// A limit on a figure.
#[derive(Clone, Copy)]
enum Limit {
    Most(f64),
    Least(f64),
}

impl Limit {
    fn met(self, value: f64) -> bool {
        match self {
            Self::Most(most) => value <= most,
            Self::Least(least) => value >= least,
        }
    }

    fn shown(self, unit: &str) -> String {
        match self {
            Self::Most(most) => format!("≤ {}{unit}", number(most)),
            Self::Least(least) => format!("≥ {}{unit}", number(least)),
        }
    }
}

/// Every promise, in the order in which they were made.
pub(crate) fn all(results: &Results) -> Vec<Target> {
    use Limit::{Least, Most};
    let newer = results.gates.iter().map(|gate| gate.id.as_str()).find(|id| id.starts_with("haproxy-"));
    let (new, down, up, trips) = (
        &["new-large"][..],
        &["down-1", "down-8", "down-64"][..],
        &["up-1", "up-8", "up-64"][..],
        &["trips-1", "trips-64"][..],
    );
    let (per_connection, per_gb) = (figures::cpu_per_connection as Metric, figures::cpu_per_gb as Metric);
    let (throughput, rate) = (figures::throughput as Metric, figures::rate as Metric);
    let ratio = |what: &str, other: &str, works: &[&str], metric: Metric, limit: Limit| {
        let parts: Vec<_> = works.iter().map(|work| results.ratio(OURS, other, work, metric)).collect();
        let name = format!("{what}{}", connections(works));
        judged(name, &parts, limit, &format!(" × {other}"))
    };
    let mut all = vec![
        ratio("CPU per connection", FLOOR_COPY, new, per_connection, Most(1.10)),
        ratio("CPU per connection", DEBIAN, new, per_connection, Most(0.75)),
        ratio("CPU per connection", newer.unwrap_or("HAProxy 3.4"), new, per_connection, Most(0.80)),
    ];
    for (direction, works) in [("down", down), ("up", up)] {
        all.push(ratio(&format!("CPU per GB {direction}"), FLOOR_SPLICE, works, per_gb, Most(1.05)));
        all.push(ratio(&format!("CPU per GB {direction}"), DEBIAN, works, per_gb, Most(0.45)));
    }
    for (direction, works) in [("down", down), ("up", up)] {
        all.push(ratio(&format!("bulk throughput {direction}"), DEBIAN, works, throughput, Least(1.4)));
        all.push(ratio(&format!("bulk throughput {direction}"), FLOOR_SPLICE, works, throughput, Least(0.97)));
    }
    all.push(ratio("new connections per second", FLOOR_COPY, new, rate, Least(0.95)));
    all.push(first_of_peers(results));
    all.push(ratio("round trip p50", FLOOR_COPY, trips, figures::p50, Most(1.03)));
    all.push(ratio("round trip p99", FLOOR_COPY, trips, figures::p99, Most(1.10)));
    let idle = |metric| results.summary(OURS, "idle", metric);
    let in_mib = |kib: Option<Summary>| kib.map(|kib| kib.scaled(1.0 / 1024.0));
    let base = in_mib(idle(figures::memory_base));
    let left = in_mib(idle(figures::memory_left));
    all.push(judged("memory per idle connection".to_owned(), &[idle(figures::memory_each)], Most(1.2), " KiB"));
    all.push(judged("memory with 1,000 names".to_owned(), &[base], Most(8.0), " MiB"));
    all.push(judged("of it more after 9,000 connections".to_owned(), &[left], Most(2.0), " MiB"));
    let grown = |axis, above, below| growth::compared(&results.growth, axis, above, below);
    let refusal = results.ratio_of_works(OURS, ("refused", "new-large"), per_connection);
    all.push(judged("CPU of a refusal".to_owned(), &[refusal], Most(0.6), " × a served connection"));
    let threads = grown("threads", (2, 1), |two, one| (two / one - 1.0).abs() * 100.0);
    all.push(judged("CPU per connection, two threads against one".to_owned(), &[threads], Most(5.0), " % apart"));
    let added = |reloads: f64, quiet: f64| (reloads - quiet) / 1000.0;
    let reload = [grown("reload", (1, 0), added), grown("reload-new", (1, 0), added)];
    all.extend(of_micro(results));
    let what = "p99.9 that a reload of 1,000,000 names adds, to round trips / new connections";
    all.push(judged(what.to_owned(), &reload, Most(5.0), " ms"));
    all
}

/// Of what a connection passes, by itself.
fn of_micro(results: &Results) -> [Target; 6] {
    use Limit::Most;
    let ns = |name: &str| micro::of(&results.micro, name).and_then(|ns| Summary::of(vec![ns]));
    let among = |kind: &str| ns(&format!("decide/{kind}/1000000"));
    let (whole, pieces) = (ns("peek/whole_in_one_read/awscrt"), ns("peek/in_64_pieces/awscrt"));
    let times = whole.zip(pieces).map(|(whole, pieces)| pieces.scaled(1.0 / whole.median));
    let seconds = among("load_a_list").map(|ns| ns.scaled(1e-9));
    let memory = growth::memory(&results.growth, "names");
    let at = |count: u32| memory.iter().find(|(at, _)| *at == count).map(|(_, kib)| *kib);
    let a_name = at(1_000_000).zip(at(1_000)).map(|(many, few)| (many - few) * 1024.0 / 999_000.0);
    let a_name = a_name.and_then(|bytes| Summary::of(vec![bytes]));
    let resolving = [1, 2].map(|threads| ns(&format!("resolve/a_thousand_hot_names/t={threads}")));
    let random = among("uniformly_random_names").map_or_else(|| "–".to_owned(), |ns| ns.to_string());
    let hot = judged("decide, 1,000 hot among 1,000,000 names".to_owned(), &[among("hot_names")], Most(150.0), " ns");
    [
        judged("peek, a hello of 1.5 KB in one read".to_owned(), &[whole], Most(600.0), " ns"),
        judged("peek, the same in 64 pieces".to_owned(), &[times], Most(4.0), " × that"),
        Target { figure: format!("{}; uniformly random: {random}", hot.figure), ..hot },
        judged("loading 1,000,000 names".to_owned(), &[seconds], Most(1.5), " s"),
        judged("memory of a name, of 1,000,000".to_owned(), &[a_name], Most(120.0), " B"),
        judged("resolving a hot name, on one thread / on two".to_owned(), &resolving, Most(200.0), " ns"),
    ]
}

/// Which numbers of connections the figures are for, where they are for several.
fn connections(works: &[&str]) -> String {
    let numbers: Vec<_> = works.iter().filter_map(|work| work.split('-').nth(1)).collect();
    if works.len() < 2 { String::new() } else { format!(", {} connections", numbers.join(" / ")) }
}

fn judged(what: String, parts: &[Option<Summary>], limit: Limit, unit: &str) -> Target {
    let shown = |part: &Option<Summary>| part.map_or_else(|| "–".to_owned(), |summary| summary.to_string());
    let figure = parts.iter().map(shown).collect::<Vec<_>>().join(" / ");
    let all: Option<Vec<f64>> = parts.iter().map(|part| part.map(|summary| summary.median)).collect();
    Target { what, limit: limit.shown(unit), figure, met: all.map(|all| all.iter().all(|value| limit.met(*value))) }
}

fn first_of_peers(results: &Results) -> Target {
    let rate = |gate: &str| results.summary(gate, "new-large", figures::rate).map(|summary| summary.median);
    let peers =
        results.gates.iter().filter(|gate| gate.id != OURS && gate.id != "direct" && !gate.id.starts_with("floor"));
    let best = peers.filter_map(|gate| Some((gate.id.as_str(), rate(&gate.id)?))).max_by(|a, b| a.1.total_cmp(&b.1));
    let ours = rate(OURS);
    let figure = match (ours, best) {
        (Some(ours), Some((peer, most))) => format!("{}; the next is {peer} with {}", number(ours), number(most)),
        _ => "–".to_owned(),
    };
    let met = ours.zip(best).map(|(ours, (_, most))| ours > most);
    Target { what: "new connections per second".to_owned(), limit: "more than every peer".to_owned(), figure, met }
}

/// As Markdown.
pub(crate) fn table(targets: &[Target]) -> String {
    let mut text = "| | target | measured | met |\n|---|---|---|---|\n".to_owned();
    for target in targets {
        let met = match target.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "not measured",
        };
        let _ = writeln!(text, "| {} | {} | {} | {met} |", target.what, target.limit, target.figure);
    }
    text
}
