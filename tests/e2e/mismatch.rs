//! The failure that sekisho was made for: client and gate hold different addresses for one name, always. And who makes it
//! happen on purpose.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options};
use lab::net::{Counter, Redirect};
use lab::netns;
use lab::s3::{AUTHORIZATION, S3};
use serde_json::Value;

#[test]
fn of_500_connections_with_never_agreeing_dns_500_are_served_and_none_goes_where_the_client_dialled() -> Result<()> {
    let lab = Lab::new("mismatch")?;
    lab.gate_dns.set_pool(Lab::gate_pool());
    let s3 = S3::start(&lab, &["reports"])?;
    let gate = Gate::start(&lab, &Options::listing(&["reports"]))?;
    let _redirect = Redirect::nftables(&lab)?;
    let clients_choice = Counter::towards(&lab, lab::POOL)?;
    let gates_choice = Counter::towards(&lab, lab::GATE_POOL)?;

    let url = "https://reports.s3.ap-northeast-1.amazonaws.com/?list-type=2";
    let script = format!(
        "seq 500 | xargs -P 8 -I{{}} curl --silent --show-error --max-time 30 --cacert '{}' --header '{AUTHORIZATION}' \
         --output /dev/null --write-out '%{{http_code}} %{{remote_ip}}\\n' '{url}'",
        s3.authority.ca_file().display()
    );
    let printed = netns::run(lab.client.cmd("sh").args(["-c", &script]))?;
    let served = printed.lines().filter(|line| line.starts_with("200 198.18.1.")).count();
    ensure!(served == 500, "{served} of 500 served:\n{printed}");
    let mut dialled: Vec<_> = printed.lines().collect();
    dialled.sort_unstable();
    dialled.dedup();
    ensure!(dialled.len() >= 8, "the client's addresses hardly changed: {dialled:?}");

    let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() >= 500)?;
    ensure!(lines.len() == 500, "{} lines for 500 connections", lines.len());
    for line in &lines {
        let text = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
        ensure!(text("verdict") == "allowed", "{line}");
        ensure!(text("original_dst").starts_with("198.18.1.") && text("upstream").starts_with("198.18.2."), "{line}");
        ensure!(text("dst_matches") == "no", "{line}");
    }
    ensure!(gate.metrics()?.sum("sekisho_connections_total", &[("verdict", "allowed")]).to_bits() == 500f64.to_bits());
    ensure!(gates_choice.syns()? >= 500, "the servers saw {} connections", gates_choice.syns()?);
    ensure!(clients_choice.packets()? == 0, "{} packets went where the client dialled", clients_choice.packets()?);
    Ok(())
}

/// A bucket that the policy lists.
const LISTED: &str = "reports.s3.ap-northeast-1.amazonaws.com";
/// An address that no DNS server gives for it.
const HIS_OWN: &str = "198.18.66.6";

/// What curl is told that asks for the listed bucket at `address`: the status, and by whose word it got there.
fn dial(lab: &Lab, s3: &S3, address: &str) -> Result<String> {
    let mut curl = lab.client.cmd("curl");
    curl.args(["--silent", "--max-time", "30", "--output", "/dev/null", "--write-out", "%{http_code} %{remote_ip}"])
        .args(["--header", AUTHORIZATION, "--cacert"])
        .arg(s3.authority.ca_file())
        .args(["--resolve", &format!("{LISTED}:443:{address}"), &format!("https://{LISTED}/?list-type=2")]);
    let output = curl.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn who_dials_his_own_server_under_a_listed_name_gets_to_the_real_one_and_it_shows() -> Result<()> {
    let lab = Lab::new("own-server")?;
    lab.gate_dns.set_pool(Lab::gate_pool());
    let s3 = S3::start(&lab, &["reports"])?;
    let his = Counter::towards(&lab, HIS_OWN)?;
    // Without a gate the address is reached: there is somebody to keep the data from.
    ensure!(dial(&lab, &s3, HIS_OWN)? == format!("200 {HIS_OWN}") && his.payloads()? > 0);
    let untouched = his.packets()?;

    let gate = Gate::start(&lab, &Options::listing(&["reports"]))?;
    let _redirect = Redirect::nftables(&lab)?;
    let real = Counter::towards(&lab, lab::GATE_POOL)?;
    ensure!(
        dial(&lab, &s3, HIS_OWN)? == format!("200 {HIS_OWN}"),
        "the connection is served, for all that he can tell"
    );
    ensure!(his.packets()? == untouched, "{} packets went to his server", his.packets()? - untouched);
    ensure!(real.payloads()? > 0, "nobody got the request");

    let lines = gate.wait_closed(Duration::from_secs(30), |lines| !lines.is_empty())?;
    let text = |key| lines[0].get(key).and_then(Value::as_str).unwrap_or_default();
    ensure!(text("original_dst") == format!("{HIS_OWN}:443") && text("upstream").starts_with("198.18.2."), "{lines:?}");
    ensure!((text("dst_matches"), text("verdict")) == ("no", "allowed"), "{lines:?}");
    let count = gate.metrics()?.sum("sekisho_destination_matches_total", &[("match", "no")]);
    ensure!(count.to_bits() == 1f64.to_bits(), "{count}");

    // A rule may refuse that. Then nobody is dialled at all.
    let strict = Options::listing(&["reports"]).policy.replace("    buckets:", "    on_mismatch: refuse\n    buckets:");
    gate.replace_policy(&strict)?;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let served = real.packets()?;
    while dial(&lab, &s3, HIS_OWN)?.starts_with("200") {
        ensure!(std::time::Instant::now() < deadline, "still served under the new policy");
        std::thread::sleep(Duration::from_millis(300));
    }
    let all = gate.wait_closed(Duration::from_secs(30), |lines| {
        lines.iter().any(|line| line.get("verdict").and_then(Value::as_str) == Some("refused"))
    })?;
    let refused = all.last().and_then(|line| line.get("reason")).and_then(Value::as_str);
    ensure!(refused == Some("destination_mismatch"), "{all:?}");
    let before = real.packets()?;
    ensure!(before >= served && his.packets()? == untouched, "his server was reached");
    dial(&lab, &s3, HIS_OWN)?;
    ensure!(real.packets()? == before && his.packets()? == untouched, "somebody was dialled");
    Ok(())
}

#[test]
fn an_address_of_the_last_answer_matches_and_one_of_an_earlier_answer_did_lately() -> Result<()> {
    let lab = Lab::new("matching")?;
    let answer = |last: u8| Behaviour::Addresses(vec![std::net::Ipv4Addr::new(198, 18, 2, last).into()]);
    lab.gate_dns.set_name(LISTED, answer(1));
    let s3 = S3::start(&lab, &["reports"])?;
    let mut options = Options::listing(&["reports"]);
    options.dns = r#"{ servers: ["198.18.0.54:53"], ttl: { min: 1s, max: 5m } }"#.to_owned();
    let gate = Gate::start(&lab, &options)?;
    let _redirect = Redirect::nftables(&lab)?;
    let mut dialled = 0;
    let mut matches = |address: &str| -> Result<String> {
        dialled += 1;
        dial(&lab, &s3, address)?;
        let lines = gate.wait_closed(Duration::from_secs(30), |lines| lines.len() >= dialled)?;
        let word = lines.last().and_then(|line| line.get("dst_matches")).and_then(Value::as_str);
        Ok(word.unwrap_or_default().to_owned())
    };
    ensure!(matches("198.18.2.1")? == "yes");
    ensure!(matches("198.18.2.2")? == "no");
    lab.gate_dns.set_name(LISTED, answer(2));
    // Once the gate has asked again, what was the answer is one of lately.
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while matches("198.18.2.2")? != "yes" {
        ensure!(std::time::Instant::now() < deadline, "the gate does not learn of the new answer");
        std::thread::sleep(Duration::from_millis(300));
    }
    ensure!(matches("198.18.2.1")? == "recent");
    Ok(())
}
