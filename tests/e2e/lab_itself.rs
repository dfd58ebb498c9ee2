//! The lab without a gate: what the other tests stand on.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::metrics::Metrics;
use lab::net::{Counter, Outage};
use lab::netns;
use lab::s3::S3;

const HOST: &str = "reports.s3.ap-northeast-1.amazonaws.com";

#[test]
fn the_aws_cli_reaches_a_bucket_by_plain_routing_over_both_families() -> Result<()> {
    let lab = Lab::new("straight")?;
    let s3 = S3::start(&lab, &["reports"])?;
    let ipv4 = Counter::towards(&lab, lab::POOL)?;
    netns::run(&mut s3.aws(&lab.client, ["s3api", "put-object", "--bucket", "reports", "--key", "a"]))?;
    ensure!(lab.client_dns.queries(HOST) > 0, "the name was not asked for");
    ensure!(ipv4.syns()? >= 1 && ipv4.payloads()? >= 1, "nothing was counted");

    let ipv6 = Counter::towards(&lab, lab::POOL6)?;
    lab.client_dns.set_pool(Lab::pool6());
    netns::run(&mut s3.aws(&lab.client, ["s3", "ls", "s3://reports/"]))?;
    ensure!(ipv6.syns()? >= 1, "IPv6 was not used");
    Ok(())
}

#[test]
fn dns_answers_rotate_and_misbehave_on_demand() -> Result<()> {
    let lab = Lab::new("dns")?;
    let ask = || lab.client.run("getent", ["ahostsv4", HOST]);
    let (first, second) = (ask()?, ask()?);
    ensure!(first != second, "two answers are the same:\n{first}");
    ensure!(first.lines().count() >= 8, "fewer than eight addresses:\n{first}");
    lab.client_dns.set_name(HOST, Behaviour::Addresses(vec![IpAddr::from([169, 254, 169, 254])]));
    ensure!(ask()?.starts_with("169.254.169.254 "));
    lab.client_dns.set_name(HOST, Behaviour::NxDomain);
    ensure!(ask().is_err());
    lab.client_dns.set_name(HOST, Behaviour::Truncated);
    ensure!(ask()?.starts_with("198.18.1.") && lab.client_dns.queries_over_tcp() > 0);
    Ok(())
}

#[test]
fn an_outage_begins_and_ends() -> Result<()> {
    let lab = Lab::new("outage")?;
    let connect = || {
        let reached = lab.client.enter(|| std::net::TcpStream::connect("198.18.3.1:53").map(drop))?;
        reached.map_err(|error| error.kind()).or_else(|kind| {
            if kind == std::io::ErrorKind::ConnectionRefused { Ok(()) } else { Err(anyhow::anyhow!("{kind}")) }
        })
    };
    connect()?;
    let counter = Counter::towards(&lab, "198.18.3.0/24")?;
    let outage = Outage::resetting(&lab, "198.18.3.0/24")?;
    connect()?;
    drop(outage);
    ensure!(counter.syns()? == 1 && counter.payloads()? == 0);
    Ok(())
}

#[test]
fn nothing_is_left_behind_and_nothing_reaches_the_host() -> Result<()> {
    let links = || netns::run(Command::new("ip").args(["-brief", "link"]));
    let before = links()?;
    let lab = Lab::new("leftovers")?;
    let name = lab.client.name().to_owned();
    let directory = lab.directory().to_owned();
    let sleeper = lab.client.cmd("sleep").arg("600").spawn().context("no sleep")?;
    ensure!(links()? == before, "the host sees a new interface");
    drop(lab);
    ensure!(!std::path::Path::new("/run/netns").join(&name).exists() && !directory.exists());
    ensure!(!std::path::Path::new("/etc/netns").join(&name).exists());
    let mut sleeper = sleeper;
    ensure!(!sleeper.wait()?.success(), "a process outlived its namespace");
    Ok(())
}

#[test]
fn a_scrapes_series_are_summed_by_some_of_their_labels() -> Result<()> {
    let text = "# HELP x y\nx{a=\"1\",b=\"\"} 2\nx{a=\"1\",b=\"q\"} 3\nx{a=\"2\",b=\"q\"} 5\nplain 7\n";
    let metrics = Metrics::parse(text)?;
    for (name, labels, sum) in [("x", &[("a", "1")][..], 5f64), ("x", &[("b", "")], 2.0), ("plain", &[], 7.0)] {
        ensure!(
            metrics.sum(name, labels).to_bits() == sum.to_bits(),
            "{name}{labels:?} is {}",
            metrics.sum(name, labels)
        );
    }
    ensure!(Metrics::parse("nonsense").is_err());
    Ok(())
}
