//! The failure that sekisho was made for: client and gate hold different addresses for one name, always.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
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
    }
    ensure!(gate.metrics()?.sum("sekisho_connections_total", &[("verdict", "allowed")]).to_bits() == 500f64.to_bits());
    ensure!(gates_choice.syns()? >= 500, "the servers saw {} connections", gates_choice.syns()?);
    ensure!(clients_choice.packets()? == 0, "{} packets went where the client dialled", clients_choice.packets()?);
    Ok(())
}
