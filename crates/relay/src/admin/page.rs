//! The status page: one request, no script, every value escaped.

use std::fmt::Write as _;

use super::status::{Features, Status};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a40000;font-weight:600}.ok{color:#176117;font-weight:600}\
code{font-size:.9em}@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}\
.bad{color:#ff8f8f}.ok{color:#8fd98f}}";

pub(super) fn html(status: &Status) -> String {
    let mut out = String::with_capacity(8192);
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"10\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>sekisho: {stage}</title><style>{STYLE}</style></head><body>\
         <h1>sekisho {version} — <span class=\"{class}\">{stage}</span></h1>",
        stage = escape(status.stage),
        version = escape(status.version),
        class = if status.ready { "ok" } else { "bad" },
    );
    if let Some(why) = &status.policy.differs {
        let since = status.policy.differs_since.as_deref().unwrap_or_default();
        let (why, since) = (escape(why), escape(since));
        let _ = write!(out, "<p class=\"bad\">The policy's files are not what is in force, since {since}: {why}</p>");
    }
    if status.access_log.lost > 0 {
        let _ = write!(out, "<p class=\"bad\">{} access log records were lost</p>", status.access_log.lost);
    }
    node(&mut out, status);
    recent(&mut out, status);
    rules(&mut out, status);
    out.push_str(
        "<p><a href=\"/status.json\">the same as JSON</a> · <a href=\"/metrics\">metrics</a></p></body></html>",
    );
    out
}

fn node(out: &mut String, status: &Status) {
    let Status { connections, policy, dns, .. } = status;
    out.push_str("<h2>Node</h2><table>");
    let sources = status.sources.iter().map(|source| {
        let address = source.address.map_or("the kernel's choice".to_owned(), |address| address.to_string());
        format!("{address}: no port left {} times", source.exhausted)
    });
    let servers: Vec<String> = dns.servers.iter().map(ToString::to_string).collect();
    for (key, value) in [
        ("up since", format!("{} ({} s)", status.started, status.uptime_seconds)),
        ("policy", format!("{} — {} rules, {}, loaded {}", policy.path, policy.rules, policy.mode, policy.loaded)),
        ("policy digest", policy.digest.clone()),
        (
            "connections",
            format!("{} open of {}, {} undecided", connections.open, connections.limit, connections.undecided),
        ),
        ("DNS", format!("{} — {} names, {} stale", servers.join(", "), dns.names, dns.stale)),
        ("bulk data", bulk(&status.features)),
        ("dialled from", sources.collect::<Vec<_>>().join("; ")),
    ] {
        row(out, &[Cell::Text(key), Cell::Text(&value)]);
    }
    for listener in &status.listeners {
        let address = listener.address.map(|address| address.to_string()).unwrap_or_default();
        let value = format!("{} at {address}: {} open", listener.name, listener.active);
        row(out, &[Cell::Text("listener"), Cell::Text(&value)]);
    }
    out.push_str("</table>");
}

fn bulk(features: &Features) -> String {
    if !features.splice || features.pipe_bytes == 0 {
        return "copied: the kernel does not splice for this process, or had no pipe for it".to_owned();
    }
    format!("spliced through pipes of {} KiB at the least", features.pipe_bytes / 1024)
}

fn recent(out: &mut String, status: &Status) {
    out.push_str("<h2>Not simply allowed, by host and reason</h2>");
    if status.recent.is_empty() {
        out.push_str("<p>Nothing since the start.</p>");
        return;
    }
    out.push_str("<table><tr><th>host<th>verdict<th>reason<th class=\"n\">connections<th>last<th>client</tr>");
    for one in &status.recent {
        let (count, client) = (one.count.to_string(), one.client.to_string());
        let host = one.host.as_deref().unwrap_or("—");
        let cells = [host, one.verdict, one.reason].map(Cell::Text);
        let more = [Cell::Number(&count), Cell::Text(&one.last), Cell::Text(&client)];
        row(out, &[&cells[..], &more[..]].concat());
    }
    out.push_str("</table>");
}

fn rules(out: &mut String, status: &Status) {
    out.push_str(
        "<h2>Rules</h2><table><tr><th>rule<th>action<th>owner<th>expires<th class=\"n\">allowed<th class=\"n\">refused",
    );
    out.push_str(
        "<th class=\"n\">audited<th class=\"n\">failed<th class=\"n\">bytes up<th class=\"n\">bytes down</tr>",
    );
    for rule in &status.rules {
        let action = if rule.mode == "audit" { format!("{} (audit)", rule.action) } else { rule.action.to_owned() };
        let numbers = [rule.allowed, rule.refused, rule.audited, rule.failed, rule.bytes_up, rule.bytes_down];
        let numbers = numbers.map(|number| number.to_string());
        let mut cells = vec![Cell::Text(&rule.name), Cell::Text(&action)];
        cells.extend([rule.owner.as_deref(), rule.expires.as_deref()].map(|text| Cell::Text(text.unwrap_or_default())));
        cells.extend(numbers.iter().map(|number| Cell::Number(number)));
        row(out, &cells);
    }
    out.push_str("</table>");
}

#[derive(Clone, Copy)]
enum Cell<'a> {
    Text(&'a str),
    Number(&'a str),
}

fn row(out: &mut String, cells: &[Cell<'_>]) {
    out.push_str("<tr>");
    for cell in cells {
        let (class, text) = match cell {
            Cell::Text(text) => ("", text),
            Cell::Number(text) => (" class=\"n\"", text),
        };
        let _ = write!(out, "<td{class}>{}</td>", escape(text));
    }
    out.push_str("</tr>");
}

/// For HTML text and quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_becomes_markup() {
        assert_eq!(escape("<b a=\"x\" b='y'>&"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
        let mut out = String::new();
        row(&mut out, &[Cell::Text("<script>"), Cell::Number("1")]);
        assert_eq!(out, "<tr><td>&lt;script&gt;</td><td class=\"n\">1</td></tr>");
    }
}
