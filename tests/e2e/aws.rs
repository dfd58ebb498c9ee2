//! The AWS programs, unchanged and unconfigured, through every kind of redirection and both families.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::net::Redirect;
use lab::netns::{self, Netns};
use lab::s3::S3;
use serde_json::Value;

const BIG: usize = 50 << 20;

const BOTO3: &str = r#"
import boto3, hashlib, sys
s3 = boto3.client("s3")
s3.put_object(Bucket="reports", Key="boto/small", Body=b"small")
assert s3.get_object(Bucket="reports", Key="boto/small")["Body"].read() == b"small"
s3.upload_file(sys.argv[1], "reports", "boto/big")
assert s3.head_object(Bucket="reports", Key="boto/big")["ETag"].endswith('-7"'), "not a multipart upload"
assert hashlib.sha256(s3.get_object(Bucket="reports", Key="boto/big")["Body"].read()).digest() \
    == hashlib.sha256(open(sys.argv[1], "rb").read()).digest()
keys = [o["Key"] for o in s3.list_objects_v2(Bucket="reports", Prefix="boto/")["Contents"]]
assert keys == ["boto/big", "boto/small"], keys
print(s3.generate_presigned_url("get_object", Params={"Bucket": "reports", "Key": "boto/small"}))
"#;

#[test]
fn aws_programs_work_through_nftables_over_ipv4() -> Result<()> {
    let lab = Lab::new("aws-nft-v4")?;
    through_the_gate(&lab, &lab.client, Redirect::nftables(&lab)?)
}

#[test]
fn aws_programs_work_through_nftables_over_ipv6() -> Result<()> {
    let lab = over_ipv6("aws-nft-v6")?;
    through_the_gate(&lab, &lab.client, Redirect::nftables(&lab)?)
}

#[test]
fn aws_programs_work_through_iptables_over_ipv4() -> Result<()> {
    let lab = Lab::new("aws-ipt-v4")?;
    through_the_gate(&lab, &lab.client, Redirect::iptables(&lab)?)
}

#[test]
fn aws_programs_work_through_iptables_over_ipv6() -> Result<()> {
    let lab = over_ipv6("aws-ipt-v6")?;
    through_the_gate(&lab, &lab.client, Redirect::iptables(&lab)?)
}

#[test]
fn aws_programs_work_through_a_hosts_own_output_over_ipv4() -> Result<()> {
    let lab = Lab::new("aws-output-v4")?;
    through_the_gate(&lab, &lab.gate, Redirect::own_output(&lab)?)
}

#[test]
fn aws_programs_work_through_a_hosts_own_output_over_ipv6() -> Result<()> {
    let lab = over_ipv6("aws-output-v6")?;
    through_the_gate(&lab, &lab.gate, Redirect::own_output(&lab)?)
}

fn over_ipv6(name: &str) -> Result<Lab> {
    let lab = Lab::new(name)?;
    lab.client_dns.set_pool(Lab::pool6());
    lab.gate_dns.set_pool(Lab::pool6());
    Ok(lab)
}

fn through_the_gate(lab: &Lab, from: &Netns, _redirect: Redirect<'_>) -> Result<()> {
    let s3 = S3::start(lab, &["reports"])?;
    let gate = Gate::start(lab, &Options::listing(&["reports"]))?;
    use_everything(lab, &s3, from)?;

    let bytes = |lines: &[Value], key: &str| -> u64 { lines.iter().filter_map(|line| line.get(key)?.as_u64()).sum() };
    let sent = 2 * u64::try_from(BIG)?;
    let lines = gate.wait_closed(Duration::from_secs(20), |lines| bytes(lines, "bytes_up") > sent)?;
    ensure!(bytes(&lines, "bytes_down") > sent, "the downloads did not come through the gate");
    for line in &lines {
        ensure!(line.get("verdict").and_then(Value::as_str) == Some("allowed"), "not allowed: {line}");
        ensure!(line.get("rule").and_then(Value::as_str) == Some("listed"), "by another rule: {line}");
    }
    Ok(())
}

/// awscli and boto3: put, get, list, 50 MB in parts both ways; a presigned URL by curl.
fn use_everything(lab: &Lab, s3: &S3, from: &Netns) -> Result<()> {
    let (big, back) = (lab.directory().join("big"), lab.directory().join("back"));
    // Not random, but no 16 KiB record of it is like another.
    let bytes: Vec<u8> = (0..BIG).map(|at| (at ^ (at >> 7) ^ (at >> 14)).to_le_bytes()[0]).collect();
    fs::write(&big, &bytes)?;
    let (big, back) = (big.to_str().context("path")?, back.to_str().context("path")?);

    netns::run(&mut s3.aws(from, ["s3", "cp", big, "s3://reports/cli/big", "--no-progress"]))?;
    netns::run(&mut s3.aws(from, ["s3", "cp", "s3://reports/cli/big", back, "--no-progress"]))?;
    ensure!(fs::read(back)? == bytes, "what came back is not what was sent");
    let list = netns::run(&mut s3.aws(from, ["s3", "ls", "s3://reports/cli/"]))?;
    ensure!(list.contains("52428800 big"), "not listed: {list}");

    let url = netns::run(&mut s3.python(from, BOTO3, [big]))?;
    let small = netns::run(&mut s3.curl(from, ["--fail", url.trim()]))?;
    ensure!(small == "small", "the presigned URL gave {small}");
    Ok(())
}
