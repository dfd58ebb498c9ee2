//! Which of a name's addresses is dialled: one that is silent delays a connection by a moment, once.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::{Outage, Redirect};

use crate::peer::{self, Server};

const HOST: &str = "relay.example";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_silent_address_delays_one_connection_by_a_moment_and_is_then_tried_last() -> Result<()> {
    for (silent, good, network) in
        [("198.18.9.1", "198.18.1.1", "198.18.9.0/24"), ("2001:db8:18::9:1", "198.18.1.1", "2001:db8:18::9:0/112")]
    {
        let lab = Lab::new("stagger")?;
        let _server = Server::start(&lab)?;
        let addresses: Vec<IpAddr> = vec![silent.parse()?, good.parse()?];
        lab.gate_dns.set_name(HOST, Behaviour::Addresses(addresses));
        let mut options =
            Options::policy(&format!("version: 1\nrules:\n  - name: relay\n    {UPSTREAM}\n    hosts: [{HOST}]\n"));
        // Each worker remembers for itself what was silent.
        options.settings = "threads: 1".to_owned();
        let gate = Gate::start(&lab, &options)?;
        let _redirect = Redirect::nftables(&lab)?;
        let _outage = Outage::silent(&lab, network)?;
        peer::clients(&lab.client, LIMIT, || async {
            for _ in 0..40 {
                peer::echo_once("198.18.1.7:443".parse()?, HOST, b"here").await?;
            }
            anyhow::Ok(())
        })??;
        let lines = gate.wait_closed(Duration::from_secs(10), |lines| lines.len() == 40)?;
        let took: Vec<f64> = lines.iter().filter_map(|line| line["connect_ms"].as_f64()).collect();
        // RFC 8305 section 5: the next address is tried beside the silent one after 250 ms.
        let slow: Vec<f64> = took.iter().copied().filter(|ms| *ms >= 200.0).collect();
        ensure!(slow.len() == 1 && slow[0] < 2000.0, "{silent}: {slow:?} of {took:?}");
        for line in &lines {
            let upstream = line["upstream"].as_str().unwrap_or_default();
            ensure!(upstream.starts_with(good), "{line}");
        }
    }
    Ok(())
}
