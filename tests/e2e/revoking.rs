//! Connections that outlive the policy that let them in, and rules that expire under them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use lab::netns;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::peer::{self, Server, Task};
use crate::reloading::{HOST, LIMIT, TO, policy};

/// Rules that let nobody to [`HOST`].
const WITHOUT: &str = "rules:\n  - { name: another, hosts: [another.example] }\n";

/// The lines of an event, in order.
fn events(gate: &Gate<'_>, event: &str) -> Result<Vec<Value>> {
    Ok(gate.access_log()?.into_iter().filter(|line| line["event"] == event).collect())
}

/// Waits until the client's connection is reset.
async fn is_reset(stream: &mut TcpStream, limit: Duration) -> Result<()> {
    let end = tokio::time::timeout(limit, stream.read(&mut [0])).await?;
    ensure!(end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset), "{end:?}");
    Ok(())
}

/// Puts a policy in force, and gives every open connection the time to be decided again, once a second.
async fn enforce(gate: &Gate<'_>, text: &str) -> Result<()> {
    let loaded = || anyhow::Ok(gate.metrics()?.sum("sekisho_policy_reloads_total", &[("result", "loaded")]));
    let before = loaded()?;
    gate.replace_policy(text)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while loaded()? <= before {
        ensure!(Instant::now() < deadline, "this policy was not loaded:\n{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    Ok(())
}

/// [`HOST`] at a private address, the only kind on the servers' side that audit mode lets through without a rule.
fn at_a_private_address(lab: &Lab) -> Result<()> {
    lab.gate.run("ip", ["route", "replace", "10.99.0.0/16", "via", "10.88.0.2"])?;
    lab.servers.run("ip", ["route", "replace", "local", "10.99.0.0/16", "dev", "lo"])?;
    lab.gate_dns.set_name(HOST, Behaviour::Addresses(vec!["10.99.0.1".parse()?]));
    Ok(())
}

/// The one `revoked` line there is, by verdict, reason and rule.
fn the_one_revoked(gate: &Gate<'_>) -> Result<[Value; 3]> {
    let revoked = events(gate, "revoked")?;
    let [line] = revoked.as_slice() else { anyhow::bail!("not one revoked line: {revoked:?}") };
    Ok(["verdict", "reason", "rule"].map(|key| line[key].clone()))
}

/// The only connection's `close` line, by verdict, reason, rule and who closed it.
fn the_one_closed(gate: &Gate<'_>) -> Result<[Value; 4]> {
    let closed = gate.wait_closed(Duration::from_secs(5), |lines| !lines.is_empty())?;
    let [line] = closed.as_slice() else { anyhow::bail!("not one connection: {closed:?}") };
    Ok(["verdict", "reason", "rule", "closed_by"].map(|key| line[key].clone()))
}

#[test]
fn open_connections_that_a_new_policy_refuses_are_recorded_and_closed_only_where_it_says_so() -> Result<()> {
    let lab = Lab::new("revoked")?;
    let _server = Server::start(&lab)?;
    let gate = Gate::start(&lab, &Options::policy(&policy("one")))?;
    let _redirect = Redirect::nftables(&lab)?;
    let kept = format!("version: 1\nrules:\n  - name: none of it\n    action: deny\n    hosts: [{HOST}]\n");
    let closing = format!("on_revoke: close\n{kept}");
    peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut stream, b"first").await?;
        gate.replace_policy(&policy("two"))?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        ensure!(events(&gate, "revoked")?.is_empty(), "a policy that allows it revokes nothing");

        gate.replace_policy(&kept)?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let revoked = events(&gate, "revoked")?;
        ensure!(revoked.len() == 1, "{revoked:?}");
        let line = &revoked[0];
        ensure!(
            line["verdict"] == "refused" && line["reason"] == "denied_by_rule" && line["rule"] == "none of it",
            "{line}"
        );
        ensure!(line["original_dst"] == TO && line["bytes_down"] == 5, "{line}");
        peer::ping(&mut stream, b"kept").await?;

        gate.replace_policy(&closing)?;
        is_reset(&mut stream, Duration::from_secs(5)).await?;
        Ok(())
    })??;
    let closed = gate.wait_closed(Duration::from_secs(5), |lines| !lines.is_empty())?;
    ensure!(closed.len() == 1 && closed[0]["closed_by"] == "revoked", "{closed:?}");
    ensure!(closed[0]["verdict"] == "allowed" && closed[0]["rule"] == "one", "{}", closed[0]);
    ensure!(events(&gate, "revoked")?.len() == 1, "recorded more than once");
    Ok(())
}

#[test]
fn a_rule_expires_without_a_reload_for_new_connections_and_for_open_ones() -> Result<()> {
    let lab = Lab::new("expiry")?;
    let _server = Server::start(&lab)?;
    let last = std::time::SystemTime::now() + Duration::from_secs(5);
    let last = last.duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let at =
        netns::run(std::process::Command::new("date").args(["-u", "-d", &format!("@{last}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;
    let text =
        policy("one").replace("hosts: [relay.example]", &format!("hosts: [relay.example]\n    expires: {}", at.trim()));
    let gate = Gate::start(&lab, &Options::policy(&format!("on_revoke: close\n{text}")))?;
    let _redirect = Redirect::nftables(&lab)?;
    peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut stream, b"in time").await?;
        is_reset(&mut stream, Duration::from_secs(12)).await?;
        let mut late = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        let mut alert = Vec::new();
        late.read_to_end(&mut alert).await?;
        ensure!(alert == [0x15, 3, 3, 0, 2, 2, 49], "{alert:?}");
        Ok(())
    })??;
    let closed = gate.wait_closed(Duration::from_secs(5), |lines| lines.len() == 2)?;
    ensure!(closed[0]["closed_by"] == "revoked" && closed[1]["reason"] == "rule_expired", "{closed:?}");
    let revoked = events(&gate, "revoked")?;
    ensure!(revoked.len() == 1 && revoked[0]["reason"] == "rule_expired", "{revoked:?}");
    Ok(())
}

#[test]
fn what_audit_mode_let_in_is_revoked_by_a_policy_that_enforces() -> Result<()> {
    let lab = Lab::new("revoked-audit")?;
    let _server = Server::start(&lab)?;
    at_a_private_address(&lab)?;
    let gate = Gate::start(&lab, &Options::policy(&format!("version: 1\nmode: audit\n{WITHOUT}")))?;
    let _redirect = Redirect::nftables(&lab)?;
    peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut stream, b"audited").await?;
        ensure!(events(&gate, "revoked")?.is_empty(), "revoked by the policy that let it in");

        enforce(&gate, &format!("version: 1\n{WITHOUT}")).await?;
        ensure!(the_one_revoked(&gate)? == [json!("refused"), json!("no_rule"), Value::Null]);
        peer::ping(&mut stream, b"kept").await?;

        enforce(&gate, &format!("version: 1\non_revoke: close\n{WITHOUT}")).await?;
        is_reset(&mut stream, Duration::from_secs(5)).await
    })??;
    let closed = the_one_closed(&gate)?;
    ensure!(closed == [json!("audited"), json!("no_rule"), Value::Null, json!("revoked")], "{closed:?}");
    the_one_revoked(&gate).map(drop)
}

#[test]
fn what_a_rule_let_in_goes_on_without_it_in_audit_mode_until_that_ends() -> Result<()> {
    let lab = Lab::new("kept-audit")?;
    let _server = Server::start(&lab)?;
    at_a_private_address(&lab)?;
    let allowing = format!("version: 1\nrules:\n  - {{ name: private, hosts: [{HOST}], upstream: [10.99.0.0/16] }}\n");
    let gate = Gate::start(&lab, &Options::policy(&allowing))?;
    let _redirect = Redirect::nftables(&lab)?;
    peer::clients(&lab.client, LIMIT, || async {
        let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut stream, b"allowed").await?;

        enforce(&gate, &format!("version: 1\nmode: audit\non_revoke: close\n{WITHOUT}")).await?;
        ensure!(events(&gate, "revoked")?.is_empty(), "audit mode revoked what it lets through");
        peer::ping(&mut stream, b"goes on").await?;

        // The same rules enforced do revoke it: it was not forgotten.
        enforce(&gate, &format!("version: 1\non_revoke: close\n{WITHOUT}")).await?;
        is_reset(&mut stream, Duration::from_secs(5)).await
    })??;
    ensure!(the_one_revoked(&gate)? == [json!("refused"), json!("no_rule"), Value::Null]);
    let closed = the_one_closed(&gate)?;
    ensure!(closed == [json!("allowed"), Value::Null, json!("private"), json!("revoked")], "{closed:?}");
    Ok(())
}

#[test]
fn a_rule_that_is_no_longer_in_audit_mode_revokes_if_it_denies_and_not_if_it_allows() -> Result<()> {
    let (audit, enforced) = ("mode: audit, ", "");
    let rule = |action: &str, mode: &str| {
        format!(
            "version: 1\non_revoke: close\nrules:\n  - {{ name: on trial, action: {action}, {mode}hosts: [{HOST}], {UPSTREAM} }}\n"
        )
    };
    for (action, reason) in [("allow", "audit_rule"), ("deny", "denied_by_rule")] {
        let lab = Lab::new(&format!("trial-{action}"))?;
        let _server = Server::start(&lab)?;
        let gate = Gate::start(&lab, &Options::policy(&rule(action, audit)))?;
        let _redirect = Redirect::nftables(&lab)?;
        peer::clients(&lab.client, LIMIT, || async {
            let mut stream = peer::open(TO.parse()?, HOST, Task::Echo).await?;
            peer::ping(&mut stream, b"on trial").await?;
            enforce(&gate, &rule(action, enforced)).await?;
            if action == "deny" {
                return is_reset(&mut stream, Duration::from_secs(5)).await;
            }
            peer::ping(&mut stream, b"goes on").await
        })??;
        if action == "deny" {
            ensure!(the_one_revoked(&gate)? == [json!("refused"), json!("denied_by_rule"), json!("on trial")]);
        } else {
            ensure!(events(&gate, "revoked")?.is_empty(), "an allowing rule revoked what it let in");
        }
        let closed = the_one_closed(&gate)?;
        ensure!(closed[..3] == [json!("audited"), json!(reason), json!("on trial")], "{closed:?}");
        ensure!((closed[3] == "revoked") == (action == "deny"), "{closed:?}");
    }
    Ok(())
}

#[test]
fn a_client_that_had_dialled_elsewhere_is_revoked_by_a_rule_that_comes_to_refuse_that() -> Result<()> {
    let lab = Lab::new("revoked-mismatch")?;
    lab.gate_dns.set_name(HOST, Behaviour::Addresses(vec!["198.18.1.70".parse()?]));
    let _server = Server::start(&lab)?;
    let rule = |key: &str| {
        format!("version: 1\non_revoke: close\nrules:\n  - {{ name: one, {key}{UPSTREAM}, hosts: [{HOST}] }}\n")
    };
    let gate = Gate::start(&lab, &Options::policy(&rule("")))?;
    let _redirect = Redirect::nftables(&lab)?;
    peer::clients(&lab.client, LIMIT, || async {
        let mut elsewhere = peer::open(TO.parse()?, HOST, Task::Echo).await?;
        let mut there = peer::open("198.18.1.70:443".parse()?, HOST, Task::Echo).await?;
        peer::ping(&mut elsewhere, b"first").await?;
        peer::ping(&mut there, b"first").await?;
        enforce(&gate, &rule("on_mismatch: refuse, ")).await?;
        is_reset(&mut elsewhere, Duration::from_secs(30)).await?;
        peer::ping(&mut there, b"second").await
    })??;
    ensure!(the_one_revoked(&gate)? == [json!("refused"), json!("destination_mismatch"), json!("one")]);
    Ok(())
}
