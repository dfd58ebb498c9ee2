//! Packets that are neither TCP, UDP nor an echo: tunnels, SCTP, and whatever else root on a client can write.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::netns::Netns;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::{OUTSIDE, Rules};

/// IPv4 in IP, IPv6 in IP (6in4), GRE, ESP, AH, SCTP, UDP-Lite, one that nobody has a name for.
const NUMBERS: [i32; 8] = [4, 41, 47, 50, 51, 132, 136, 200];

#[test]
fn no_protocol_but_those_that_the_gate_takes_leaves_a_router() -> Result<()> {
    let lab = Lab::new("egress-protocols")?;
    let witness = Witness::start(&lab)?;
    // As many as were sent, so that what is counted below is what arrives.
    send(&lab.client)?;
    witness.wait_for(NUMBERS.len() * OUTSIDE.len())?;
    for rules in Rules::of_router(&lab)? {
        rules.load(&lab.gate)?;
        let before = witness.count()?;
        send(&lab.client)?;
        std::thread::sleep(Duration::from_millis(300));
        ensure!(witness.count()? == before, "{} packets went round the gate", witness.count()? - before);
        rules.undo(&lab.gate)?;
        send(&lab.client)?;
        witness.wait_for(before + NUMBERS.len() * OUTSIDE.len())?;
    }
    Ok(())
}

/// One packet of each protocol to each address.
fn send(client: &Netns) -> Result<()> {
    client.enter(|| -> Result<()> {
        for address in OUTSIDE {
            let to = SocketAddr::new(address.parse()?, 0);
            for number in NUMBERS {
                let socket = Socket::new(Domain::for_address(to), Type::RAW, Some(Protocol::from(number)))?;
                // As SCTP's INIT, a GRE or an ESP header may begin; longer than any of these headers.
                socket.send_to(&[0; 40], &to.into()).with_context(|| format!("protocol {number} to {address}"))?;
            }
        }
        Ok(())
    })?
}

/// Counts such packets where they would arrive.
struct Witness<'lab> {
    servers: &'lab Netns,
}

impl<'lab> Witness<'lab> {
    fn start(lab: &'lab Lab) -> Result<Self> {
        let numbers = NUMBERS.map(|number| number.to_string()).join(", ");
        let rules = format!(
            "table inet witness {{
                 counter strange {{ }}
                 chain arriving {{
                     type filter hook prerouting priority raw
                     ip daddr {} ip protocol {{ {numbers} }} counter name strange
                     ip6 daddr {} ip6 nexthdr {{ {numbers} }} counter name strange
                 }}
             }}",
            OUTSIDE[0], OUTSIDE[1]
        );
        lab.servers.run("nft", [rules.as_str()])?;
        Ok(Self { servers: &lab.servers })
    }

    fn count(&self) -> Result<usize> {
        let text = self.servers.run("nft", ["-j", "list", "counter", "inet", "witness", "strange"])?;
        let json: Value = serde_json::from_str(&text)?;
        let packets = json.pointer("/nftables/1/counter/packets").and_then(Value::as_u64).context("no counter")?;
        Ok(usize::try_from(packets)?)
    }

    fn wait_for(&self, packets: usize) -> Result<()> {
        for _ in 0..600 {
            if self.count()? >= packets {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        ensure!(self.count()? == packets, "{} packets arrived, not {packets}", self.count()?);
        Ok(())
    }
}
