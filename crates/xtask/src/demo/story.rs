//! The story. Every line of output is what a program really printed, and a step that does not end as told fails the demo.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::stage::{LISTED, OTHER, Printed, Stage};
use super::teller::{ended, meaning, output, step, typed};

const DOMAIN: &str = "s3.ap-northeast-1.amazonaws.com";
/// What `explain` is asked from: the client's address.
const CLIENT: &str = "10.20.0.2";

/// Tells it from the policy to the explanation.
pub(super) fn tell(stage: &Stage<'_>) -> Result<()> {
    let before = stage.gate.metrics()?;
    the_policy(stage);
    the_listed_bucket(stage)?;
    another_bucket(stage)?;
    curl_sees_the_same(stage)?;
    the_access_log(stage)?;

    step(6, "The metrics that moved");
    typed("gate", "curl -s http://127.0.0.1:9180/metrics");
    let shown = ["sekisho_connections_total", "sekisho_rule_decisions_total", "sekisho_rule_bytes_total"];
    let moved = stage.gate.metrics()?.moved_since(&before);
    let moved: Vec<_> = moved.into_iter().filter(|line| shown.iter().any(|name| line.starts_with(name))).collect();
    ensure!(!moved.is_empty(), "no metric moved");
    output(&moved.join("\n"), 10);
    meaning("Refusals that nobody expected are what to alarm on; deploy/ has the rules.");

    the_explanation(stage)
}

/// Where to go from here.
pub(super) fn what_next() {
    println!();
    meaning("What to try next:");
    meaning("  cargo xtask demo --shell    the same, and then a shell on the client's machine");
    meaning("  cargo xtask test            every suite, this network and harder ones included");
    meaning("  cargo run -- --help         sekisho's own commands; docs/ says how to put it into a network");
}

fn the_policy(stage: &Stage<'_>) {
    step(1, "One bucket is listed, and nothing else");
    output(
        "client 10.20.0.2 ──── gate 10.20.0.1 ──── S3 198.18.0.0/15\n\
         nft: ip saddr 10.20.0.0/24 tcp dport 443 redirect to :8443",
        2,
    );
    typed("gate", "cat policy.yaml");
    output(&stage.policy, 12);
    meaning(
        "The client has no proxy setting and is not configured for the gate in any way: the router redirects its port 443.",
    );
}

fn the_listed_bucket(stage: &Stage<'_>) -> Result<()> {
    step(2, "The AWS CLI reaches the listed bucket");
    let line = format!("aws s3 cp report.csv s3://{LISTED}/ --no-progress");
    let printed = run(stage, &line)?;
    ensure!(printed.succeeded, "the listed bucket was not reached");
    meaning("End to end TLS: sekisho read the name in the ClientHello, and carries bytes that it cannot read.");
    Ok(())
}

fn another_bucket(stage: &Stage<'_>) -> Result<()> {
    step(3, "Another bucket, with the same credentials, is refused");
    let printed = run(stage, &format!("AWS_MAX_ATTEMPTS=1 aws s3 cp report.csv s3://{OTHER}/ --no-progress"))?;
    ensure!(!printed.succeeded, "the other bucket was reached");
    ensure!(printed.text.to_lowercase().contains("access denied"), "the AWS CLI did not say why");
    meaning(
        "A TLS alert says why, so the program need not wait for a timeout, and a person understands it. (Without \
         AWS_MAX_ATTEMPTS=1 the CLI tries five times, over some seconds, and then prints the same.)",
    );
    Ok(())
}

fn curl_sees_the_same(stage: &Stage<'_>) -> Result<()> {
    step(4, "curl sees the same");
    let printed = run(stage, &format!("curl -sS \"$(aws s3 presign s3://{LISTED}/report.csv)\""))?;
    ensure!(printed.succeeded && printed.text.contains("visits"), "the presigned URL did not give the report");
    let printed = run(stage, &format!("curl -sS https://{OTHER}.{DOMAIN}/"))?;
    ensure!(printed.text.contains("access denied"), "curl did not say why");
    ensure!(printed.took < Duration::from_secs(2), "that took too long");
    let asked = stage.gate_asked_for(&format!("{OTHER}.{DOMAIN}"));
    ensure!(asked == 0, "the gate asked for the refused name");
    meaning("The gate decides before it does anything else: it has asked its DNS for that name 0 times.");
    Ok(())
}

fn the_access_log(stage: &Stage<'_>) -> Result<()> {
    step(5, "What the gate wrote down");
    let refused = |lines: &[Value]| lines.iter().filter(|line| text(line, "verdict") == "refused").count();
    // Four connections at least: an upload and a download, and the refusals of both programs.
    let lines = stage.gate.wait_closed(Duration::from_secs(5), |lines| lines.len() >= 4 && refused(lines) >= 2)?;
    typed("gate", "tail access.jsonl   # some of each line's keys");
    let mut shown: Vec<(String, usize)> = Vec::new();
    for line in &lines {
        let short = shortened(line);
        match shown.iter_mut().find(|(other, _)| text(line, "verdict") == "refused" && *other == short) {
            Some((_, times)) => *times += 1,
            None => shown.push((short, 1)),
        }
    }
    for (line, times) in &shown {
        let again = if *times > 1 { format!("   (and {} more like it)", times - 1) } else { String::new() };
        output(&format!("{line}{again}"), 1);
    }
    let strayed = stage.clients_choice.packets()?;
    ensure!(strayed == 0, "{strayed} packets went to addresses that the client chose");
    meaning(
        "The client dialled 198.18.1.…, because its DNS said so; the gate asked its own, and dialled 198.18.2.… . Where a \
         firewall compares addresses, every one of these fails. Of the client's choices, none was dialled: 0 packets.",
    );
    Ok(())
}

fn the_explanation(stage: &Stage<'_>) -> Result<()> {
    step(7, "Why was it refused, and what would have to change?");
    let arguments = format!("explain --config sekisho.yaml {OTHER}.{DOMAIN} --from {CLIENT}");
    typed("gate", &format!("sekisho {arguments}"));
    let printed = stage.sekisho(&arguments)?;
    output(&printed.text, 24);
    ensure!(printed.text.contains("no_rule"), "`sekisho explain` did not give the reason");
    Ok(())
}

/// Types a line at the client's machine and shows what came of it.
fn run(stage: &Stage<'_>, line: &str) -> Result<Printed> {
    typed("client", line);
    let printed = stage.client(line)?;
    output(&printed.text, 6);
    ended(printed.succeeded, if printed.succeeded { "done" } else { "failed" }, printed.took);
    Ok(printed)
}

/// The keys of an access log line that this story is about; the port and the last byte of an address change too often.
fn shortened(line: &Value) -> String {
    let keys = ["verdict", "rule", "reason", "host", "original_dst", "upstream", "bytes_up", "bytes_down"];
    let network = |address: &str| address.rsplit_once('.').map_or(String::new(), |(network, _)| format!("{network}.…"));
    let parts = keys.iter().filter_map(|&key| {
        let value = line.get(key)?;
        Some(match key {
            "original_dst" | "upstream" => format!("\"{key}\":\"{}\"", network(value.as_str()?)),
            _ => format!("\"{key}\":{value}"),
        })
    });
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}

fn text<'line>(line: &'line Value, key: &str) -> &'line str {
    line.get(key).and_then(Value::as_str).unwrap_or_default()
}
