//! `sekisho explain` with DNS: the addresses of a host, and the guard's word on each.

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use serde_json::{Value, json};

const HOST: &str = "relay.listed.example";
const PERMITTED: &str = "198.18.1.9";
const PRIVATE: &str = "10.99.0.1";
const LINK_LOCAL: &str = "169.254.169.254";

fn policy(mode: &str) -> String {
    format!("version: 1\nmode: {mode}\nrules:\n  - {{ name: listed, hosts: [.listed.example], {UPSTREAM} }}\n")
}

fn explain(gate: &Gate<'_>, args: &[&str]) -> Result<String> {
    let out = gate.command(&[&["explain", "--from", "10.20.0.2"], args].concat())?;
    ensure!(out.status.success(), "{args:?}: {} {}", out.status, String::from_utf8_lossy(&out.stderr));
    Ok(String::from_utf8(out.stdout)?)
}

fn explain_json(gate: &Gate<'_>, host: &str) -> Result<Value> {
    serde_json::from_str(&explain(gate, &["--format", "json", host])?).context("not JSON")
}

/// What the answer says of each address.
fn addresses(answer: &Value) -> Result<Vec<Value>> {
    let mut all = answer["addresses"].as_array().context("no addresses")?.clone();
    all.sort_by_key(|one| one["address"].to_string());
    Ok(all)
}

#[test]
fn explain_asks_the_gates_servers_and_says_of_each_address_whether_it_may_be_dialled() -> Result<()> {
    let lab = Lab::new("explain")?;
    let gate = Gate::start(&lab, &Options::policy(&policy("enforce")))?;
    let given = [PERMITTED, PRIVATE, LINK_LOCAL].map(str::parse);
    lab.gate_dns.set_name(HOST, Behaviour::Addresses(given.into_iter().collect::<Result<_, _>>()?));

    let human = explain(&gate, &[HOST])?;
    ensure!(lab.gate_dns.queries(HOST) > 0, "the node's own server was not asked");
    for (address, says) in [
        (PERMITTED, "reserved address, may be dialled"),
        (PRIVATE, "private address, forbidden_address: not permitted by the rule's `upstream:`"),
        (LINK_LOCAL, "address that is never dialled, forbidden_address: no `upstream:` permits it"),
    ] {
        let line = format!("  {address}  {says}");
        ensure!(human.lines().any(|one| one == line), "no line `{line}` in:\n{human}");
    }

    let answer = explain_json(&gate, HOST)?;
    let expected = [
        json!({ "address": PRIVATE, "dialled": false, "class": "private address" }),
        json!({ "address": LINK_LOCAL, "dialled": false, "class": "address that is never dialled" }),
        json!({ "address": PERMITTED, "dialled": true, "class": "reserved address" }),
    ];
    ensure!(answer["verdict"] == "allowed" && addresses(&answer)? == expected, "{answer:#}");
    ensure!(answer.get("unresolved").is_none(), "{answer:#}");

    // Audit mode lets private addresses through, and never the link-local one.
    gate.replace_policy(&policy("audit"))?;
    let answer = explain_json(&gate, HOST)?;
    let may: Vec<_> = addresses(&answer)?.iter().map(|one| one["dialled"].clone()).collect();
    ensure!(may == [true, false, true], "{answer:#}");
    Ok(())
}

#[test]
fn explain_resolves_nothing_that_is_refused_and_says_why_there_is_no_address() -> Result<()> {
    let lab = Lab::new("explain-none")?;
    let gate = Gate::start(&lab, &Options::policy(&policy("enforce")))?;
    let refused = "other.example";
    let answer = explain_json(&gate, refused)?;
    ensure!(answer["verdict"] == "refused" && answer["reason"] == "no_rule", "{answer:#}");
    ensure!(answer.get("addresses").is_none() && answer.get("unresolved").is_none(), "{answer:#}");
    let human = explain(&gate, &[refused])?;
    ensure!(!human.contains("addresses:"), "{human}");
    ensure!(lab.gate_dns.queries(refused) == 0, "a refused name was resolved");
    explain(&gate, &["--no-dns", HOST])?;
    ensure!(lab.gate_dns.queries(HOST) == 0, "it was resolved with --no-dns");

    for behaviour in [Behaviour::NxDomain, Behaviour::ServFail, Behaviour::Silent] {
        lab.gate_dns.set_name(HOST, behaviour.clone());
        let asked = lab.gate_dns.queries(HOST);
        let answer = explain_json(&gate, HOST)?;
        ensure!(lab.gate_dns.queries(HOST) > asked, "{behaviour:?} was not asked for");
        let why = answer["unresolved"].as_str().with_context(|| format!("{behaviour:?}: {answer:#}"))?;
        ensure!(!why.is_empty() && answer.get("addresses").is_none(), "{behaviour:?}: {answer:#}");
        let human = explain(&gate, &[HOST])?;
        ensure!(human.contains(&format!("addresses: none: {why}\n")), "{behaviour:?}: {human}");
    }
    Ok(())
}
