//! Rules as policy.yaml. Whatever comes from a log is either a valid name or an escaped comment.

use std::fmt::Write as _;

use ipnet::IpNet;
use sekisho_policy::Protocol;
use sekisho_policy::diagnostic::visible;

use crate::learn::rules::{Learned, LearnedRule, SetAside, Upstreams};
use crate::tally::{Seen, plural};

/// Comments about what is in no rule; the others are counted.
const MOST_ASIDE: usize = 1000;
/// The width of comments.
const WIDTH: usize = 110;

pub(super) fn yaml(learned: &Learned, heading: &str) -> String {
    let mut out = String::new();
    heading.lines().for_each(|line| comment(&mut out, "# ", line));
    if learned.beyond > 0 {
        let what = plural(learned.beyond, "connection");
        comment(
            &mut out,
            "# ",
            &format!("INCOMPLETE: {what} came after the cap on names or clients was reached, and are not in here."),
        );
    }
    out.push_str(&policy(&learned.rules));
    if learned.aside.is_empty() {
        return out;
    }
    out.push('\n');
    comment(&mut out, "# ", "In no rule. What is said of each is what to change, usually at the client.");
    for aside in learned.aside.iter().take(MOST_ASIDE) {
        out.push_str("#\n");
        self::aside(&mut out, aside);
    }
    if let Some(more @ 1..) = learned.aside.len().checked_sub(MOST_ASIDE) {
        out.push_str("#\n");
        comment(&mut out, "# ", &format!("And {more} more, each less often; `--format json` has all."));
    }
    out
}

/// The rules alone.
pub(super) fn policy(rules: &[LearnedRule]) -> String {
    let mut out = "version: 1\n".to_owned();
    if rules.is_empty() {
        out.push_str("rules: []\n");
        return out;
    }
    out.push_str("rules:\n");
    for rule in rules {
        self::rule(&mut out, rule);
    }
    out
}

// Writing to a String cannot fail.
fn rule(out: &mut String, rule: &LearnedRule) {
    let clients = plural(rule.clients_seen as u64, "client");
    comment(
        out,
        "  # ",
        &format!("{} by {clients}, {}", plural(rule.seen.connections(), "connection"), span(rule.seen)),
    );
    let _ = writeln!(out, "  - name: {}", scalar(&rule.name));
    let clients: Vec<_> = rule.clients.iter().map(network).collect();
    list(out, "clients", &clients);
    let protocol = if rule.protocol == Protocol::Http.label() { Protocol::Http } else { Protocol::Tls };
    if protocol == Protocol::Http {
        out.push_str("    protocols: [http]\n");
    }
    if rule.port != protocol.default_port() {
        let _ = writeln!(out, "    ports: [{}]", rule.port);
    }
    match &rule.upstream {
        Upstreams::Public => {}
        Upstreams::Only(nets) => {
            comment(
                out,
                "    # ",
                "the addresses that were dialled are private: write the networks of the interface endpoint if they may change",
            );
            let nets: Vec<_> = nets.iter().map(network).collect();
            list(out, "upstream", &nets);
        }
        Upstreams::Any => {
            comment(
                out,
                "    # ",
                "public and private addresses were dialled, or very many private ones: write the networks instead of `any` if you know them",
            );
            out.push_str("    upstream: any\n");
        }
    }
    if !rule.buckets.is_empty() {
        out.push_str("    buckets:\n");
    }
    for bucket in &rule.buckets {
        let endpoints = bucket.endpoints.join(", ");
        let (name, region) = (scalar(&bucket.bucket), scalar(&bucket.region));
        entry(out, bucket.seen, bucket.expired.as_deref(), None);
        let _ = writeln!(out, "      - {{ name: {name}, region: {region}, endpoints: [{endpoints}] }}");
    }
    if !rule.hosts.is_empty() {
        out.push_str("    hosts:\n");
    }
    for host in &rule.hosts {
        entry(out, host.seen, host.expired.as_deref(), host.note);
        let _ = writeln!(out, "      - {}", scalar(&host.host));
    }
}

/// The comment above an entry.
fn entry(out: &mut String, seen: Seen, expired: Option<&str>, note: Option<&str>) {
    let mut text = format!("{}, {}", plural(seen.connections(), "connection"), span(seen));
    if let Some(rule) = expired {
        let _ = write!(text, "; the rule `{}` allowed it until it expired", visible(rule));
    }
    if let Some(note) = note {
        let _ = write!(text, "; {note}");
    }
    comment(out, "      # ", &text);
}

fn aside(out: &mut String, aside: &SetAside) {
    let host = aside.host.as_deref().unwrap_or("(no name)");
    let clients = plural(aside.clients as u64, "client");
    let rule = aside.rule.as_deref().map(|rule| format!(" by the rule `{}`", visible(rule))).unwrap_or_default();
    let count = plural(aside.seen.connections(), "connection");
    comment(out, "# ", &format!("{host}: {}{rule}; {count} by {clients}, {}", visible(&aside.why), span(aside.seen)));
    comment(out, "#   ", &visible(&aside.change));
}

fn span(seen: Seen) -> String {
    let (first, last) = (seen.first(), seen.last());
    if first == last { first } else { format!("{first} to {last}") }
}

/// A flow list, broken where a line would be too long.
fn list(out: &mut String, key: &str, items: &[String]) {
    let whole = format!("    {key}: [{}]", items.join(", "));
    if whole.len() <= WIDTH {
        let _ = writeln!(out, "{whole}");
        return;
    }
    let _ = writeln!(out, "    {key}:");
    for item in items {
        let _ = writeln!(out, "      - {item}");
    }
}

/// Comment lines behind a mark like `# `, cut at blanks.
fn comment(out: &mut String, mark: &str, text: &str) {
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && mark.len() + line.len() + word.len() >= WIDTH {
            let _ = writeln!(out, "{mark}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{}", format!("{mark}{line}").trim_end());
}

/// A network of one is an address; what has colons stands in quotes.
fn network(net: &IpNet) -> String {
    let text = if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() };
    if text.contains(':') { format!("\"{text}\"") } else { text }
}

/// Text that is certainly text in YAML: names of hosts and of rules, all ASCII without quotes or backslashes.
fn scalar(text: &str) -> String {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b' '))
        && !WORDS.contains(&text);
    if plain { text.to_owned() } else { format!("\"{text}\"") }
}
