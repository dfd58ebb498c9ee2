//! What people read who ask for a bucket that is not listed: real programs' own words, at once.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::net::{Counter, Redirect};
use lab::netns;
use lab::s3::S3;
use serde_json::Value;

const SECRET: &str = "secret.s3.ap-northeast-1.amazonaws.com";

const BOTO3: &str = r#"
import boto3
boto3.client("s3").get_object(Bucket="secret", Key="plans")
"#;

const JAVA: &str = r#"
public class Ask {
    public static void main(String[] args) throws Exception {
        new java.net.URI("https://secret.s3.ap-northeast-1.amazonaws.com/plans").toURL().openStream();
    }
}
"#;

const NODE: &str = r#"
require("https").get("https://secret.s3.ap-northeast-1.amazonaws.com/plans")
    .on("error", error => { console.error(error.code, error.message); process.exit(1); });
"#;

/// A program that must fail: what it prints, and what it must say.
struct Program {
    name: &'static str,
    command: Command,
    says: &'static str,
    limit: Duration,
}

#[test]
fn programs_say_access_denied_for_a_bucket_that_is_not_listed() -> Result<()> {
    let lab = Lab::new("messages")?;
    let s3 = S3::start(&lab, &["reports", "secret"])?;
    let gate = Gate::start(&lab, &Options::listing(&["reports"]))?;
    let _redirect = Redirect::nftables(&lab)?;
    // So that what fails below fails for the bucket's name alone.
    netns::run(&mut s3.aws(&lab.client, ["s3", "ls", "s3://reports/"]))?;
    let mut seen = gate.wait_closed(Duration::from_secs(5), |lines| !lines.is_empty())?.len();
    let upstream = Counter::towards(&lab, "0.0.0.0/0")?;

    for mut program in programs(&lab, &s3)? {
        let begun = Instant::now();
        let output = program.command.output().with_context(|| format!("{} is not installed", program.name))?;
        let took = begun.elapsed();
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(!output.status.success(), "{} did not fail: {printed}", program.name);
        ensure!(printed.contains(program.says), "{} says {printed}", program.name);

        let lines = gate.wait_closed(Duration::from_secs(5), |lines| lines.len() > seen)?;
        let attempts = lines.get(seen..).unwrap_or_default();
        seen = lines.len();
        for line in attempts {
            let text = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
            ensure!((text("verdict"), text("reason"), text("host")) == ("refused", "no_rule", SECRET), "{line}");
            // From accepting it to the alert: a JVM on a busy machine takes half of this for its hello.
            let refused_after = line.get("duration_ms").and_then(Value::as_f64).context("no duration")?;
            ensure!(refused_after < 2_000.0, "{line}");
        }
        println!("{}: {} attempts, {took:.1?} in all", program.name, attempts.len());
        ensure!(took < program.limit, "{} took {took:?}", program.name);
    }
    let (connections, payloads) = (upstream.syns()?, upstream.payloads()?);
    ensure!((connections, payloads) == (0, 0), "the servers saw {connections} connections");
    Ok(())
}

fn programs(lab: &Lab, s3: &S3) -> Result<[Program; 7]> {
    let source = lab.directory().join("Ask.java");
    fs::write(&source, JAVA)?;
    let mut java = lab.client.cmd("java");
    java.arg(source);
    let mut node = lab.client.cmd("node");
    node.args(["-e", NODE]);
    let aws = |args: &str| s3.aws(&lab.client, args.split(' '));
    // AWS's programs try three to five times, with random pauses between. With a bare close it would be 30 s and more.
    let retrying = Duration::from_secs(25);
    // Starting takes Java and Node a while where much else runs; their own time is no concern of the gate's.
    let starting = Duration::from_secs(20);
    let alert = "tlsv1 alert access denied";
    Ok([
        Program {
            name: "curl",
            command: s3.curl(&lab.client, [format!("https://{SECRET}/plans")]),
            says: "alert access denied",
            limit: Duration::from_secs(2),
        },
        Program { name: "aws s3 cp", command: aws("s3 cp s3://secret/plans -"), says: alert, limit: retrying },
        Program { name: "aws s3 ls", command: aws("s3 ls s3://secret/"), says: alert, limit: retrying },
        Program {
            name: "aws s3api",
            command: aws("s3api get-object --bucket secret --key plans /dev/null"),
            says: alert,
            limit: retrying,
        },
        Program { name: "boto3", command: s3.python(&lab.client, BOTO3, [""; 0]), says: alert, limit: retrying },
        Program { name: "java", command: java, says: "Received fatal alert: access_denied", limit: starting },
        Program { name: "node", command: node, says: alert, limit: starting },
    ])
}
