//! The gate is not there: real clients and servers exchange the same bytes on both sides of it, and agree on the same as
//! without it. `docs/transparency.md` is the table of them; `SEKISHO_BLESS=1` writes it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::capture::{Capture, Conversation};
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use serde_json::Value;

mod cast;
mod clients;
mod lying;
mod rows;
mod rustls_side;
mod servers;
mod table;
mod wire;

use cast::Cast;
use rows::Row;

/// Servers have names of their own in here.
const DOMAIN: &str = "pairs.example";
/// For whatever is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// What the programs of a pair say, and what the wire shows of their connections.
#[derive(Debug, Default)]
struct Seen {
    client: Vec<String>,
    wire: Vec<String>,
}

#[test]
fn real_pairs_exchange_the_same_bytes_on_both_sides_and_agree_on_the_same_as_without_the_gate() -> Result<()> {
    let lab = Lab::new("pairs")?;
    // As on a network card's wire: nothing is larger than a packet.
    lab.client.run("ip", ["link", "set", "north", "gso_max_segs", "1"])?;
    // All, or for whoever works on some, those whose names have what SEKISHO_PAIRS says in them.
    let (all, part) = (rows::all()?, std::env::var("SEKISHO_PAIRS").unwrap_or_default());
    let rows: Vec<&Row> = all.iter().filter(|row| row.name.contains(&part)).collect();
    let cast = Cast::start(&lab, &rows)?;

    let wire = Capture::start(&lab, &lab.gate, "south", 443, "direct")?;
    let said = clients::run_all(&cast, &rows, "direct")?;
    let direct = seen(&rows, said, &by_row(wire.finish(LIMIT, rows.len())?))?;

    let gate = Gate::start(&lab, &policy())?;
    let _redirect = Redirect::nftables(&lab)?;
    let south = Capture::start(&lab, &lab.gate, "south", 443, "south")?;
    let north = Capture::start(&lab, &lab.gate, "north", 443, "north")?;
    let said = clients::run_all(&cast, &rows, "gate")?;
    let south = south.finish(LIMIT, rows.len())?;
    let north = north.finish(LIMIT, south.len())?;
    let lines = gate.wait_closed(LIMIT, |lines| lines.len() >= south.len())?;
    let (south, north) = (by_row(south), by_row(north));
    let through = seen(&rows, said, &south)?;

    let mut faults = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let wires = (conversations(&south, at), conversations(&north, at));
        let checked = wire::same_on_both_sides(wires.0, wires.1)
            .and_then(|()| as_logged(row, wires.0, &lines))
            .and_then(|()| cast.server_saw_the_same_twice(at, row, wires.0.len()))
            .and_then(|server| row.check(&direct[at], &through[at], &server));
        if let Err(fault) = checked {
            faults.push(format!("{}: {fault:#}", row.name));
        }
    }
    ensure!(faults.is_empty(), "{} of {}:\n{}", faults.len(), rows.len(), faults.join("\n"));
    if rows.len() == all.len() { table::compare(&all) } else { Ok(()) }
}

/// All pairs' servers are listed.
fn policy() -> Options {
    Options::policy(&format!("version: 1\nrules:\n  - name: pairs\n    {UPSTREAM}\n    hosts: [\"*.{DOMAIN}\"]\n"))
}

/// Which row a conversation belongs to, by the address of its server.
fn by_row(all: Vec<Conversation>) -> BTreeMap<usize, Vec<Conversation>> {
    let mut rows: BTreeMap<usize, Vec<Conversation>> = BTreeMap::new();
    for conversation in all {
        let [.., host] = conversation.server.ip().octets();
        rows.entry(usize::from(host)).or_default().push(conversation);
    }
    rows
}

fn conversations(rows: &BTreeMap<usize, Vec<Conversation>>, at: usize) -> &[Conversation] {
    rows.get(&(at + 1)).map(Vec::as_slice).unwrap_or_default()
}

fn seen(rows: &[&Row], said: Vec<Vec<String>>, wires: &BTreeMap<usize, Vec<Conversation>>) -> Result<Vec<Seen>> {
    ensure!(rows.len() == said.len());
    let one = |(at, client): (usize, Vec<String>)| {
        let wire = conversations(wires, at).iter().map(wire::facts).collect::<Result<_>>();
        Ok(Seen { client, wire: wire.with_context(|| rows[at].name)? })
    };
    said.into_iter().enumerate().map(one).collect()
}

/// The access log tells of as many connections, all allowed, and of as many bytes as the wire has.
fn as_logged(row: &Row, wire: &[Conversation], lines: &[Value]) -> Result<()> {
    let own: Vec<_> = lines.iter().filter(|line| line["host"] == row.host()).collect();
    ensure!(own.iter().all(|line| line["verdict"] == "allowed"), "{own:?}");
    let mut logged: Vec<_> = own.iter().map(|line| (line["bytes_up"].as_u64(), line["bytes_down"].as_u64())).collect();
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).ok();
    let mut there: Vec<_> = wire.iter().map(|one| (length(&one.up.bytes), length(&one.down.bytes))).collect();
    logged.sort_unstable();
    there.sort_unstable();
    ensure!(logged == there, "logged are {logged:?}, on the wire {there:?}");
    Ok(())
}
