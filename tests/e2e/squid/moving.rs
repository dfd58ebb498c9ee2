//! docs/moving-from-squid.md, step by step, with Squid itself and with clients that never stop.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::certs::Authority;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Redirect;
use lab::netns;
use lab::process::Process;
use rustix::process::Signal;
use serde_json::Value;

use super::load::{Load, nothing_failed};
use super::program::Squid;

const PROXY: &str = "http://10.20.0.1:3128";
const LISTED: &str = "api.partner.example";
const BUCKET: &str = "reports.s3-ap-northeast-1.amazonaws.com";
const UNLISTED: &str = "elsewhere.example";

const LIST: &str = "# what the hosts may reach\nreports.s3-ap-northeast-1.amazonaws.com\n.partner.example\n";
const RULES: &str = "acl SSL_ports port 443\nacl Safe_ports port 80 443\nacl apps src 10.20.0.0/16\n\
                     acl whitelist-domain dstdomain \"whitelist-domain\"\nhttp_access deny !Safe_ports\n\
                     http_access deny CONNECT !SSL_ports\nhttp_access allow apps whitelist-domain\nhttp_access deny all\n";

#[test]
fn a_fleet_moves_from_squid_without_one_failed_request() -> Result<()> {
    let lab = Lab::new("moving")?;
    let authority = Authority::new(lab.directory())?;
    let _web = web(&lab, &authority)?;
    // Audit mode lets private addresses pass, which no rule here permits for this name, but not those of the lab's pool.
    lab.gate_dns.set_name(UNLISTED, Behaviour::Addresses(vec!["10.88.0.2".parse()?]));
    let list = lab.directory().join("whitelist-domain");
    fs::write(&list, LIST)?;
    let mut squid =
        Squid::forwarding(&lab, &RULES.replace("\"whitelist-domain\"", &format!("\"{}\"", list.display())))?;
    let curls = [
        ("bucket", "https://reports.s3-ap-northeast-1.amazonaws.com/"),
        ("partner", "https://api.partner.example/x?y"),
        ("plain", "http://api.partner.example/plain"),
    ];
    let load = Load::start(&lab, &authority.ca_file(), PROXY, LISTED, &curls)?;
    load.phase("squid")?;
    let unlisted = |proxy: Option<&str>| -> Result<String> {
        let mut curl = lab.client.cmd("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(authority.ca_file());
        proxy.map(|proxy| curl.env("https_proxy", proxy));
        let output = curl.arg(format!("https://{UNLISTED}/")).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned())
    };
    ensure!(unlisted(Some(PROXY))?.contains("response 403"), "Squid lets through what it does not list");

    // 1. The list becomes a policy. The lab's servers have addresses that no rule permits by itself.
    fs::write(lab.directory().join("squid.conf"), RULES)?;
    let imported = sekisho(lab.directory(), &["import", "squid", "squid.conf"])?;
    let enforced = imported.replace("    clients: ", &format!("    {UPSTREAM}\n    clients: "));
    ensure!(enforced.contains(UPSTREAM) && !enforced.contains("mode:"), "{imported}");
    fs::write(lab.directory().join("policy.yaml"), &enforced)?;

    // 2. What Squid let through is what the policy lets through; what it refused is all that is left.
    let log = squid.access_log();
    let compared = sekisho(lab.directory(), &["usage", path(&log)?, "--policy", "policy.yaml", "--format", "json"])?;
    let compared: Value = serde_json::from_str(&compared)?;
    let refused: Vec<_> = compared["usage"]["refused"].as_array().context("no list")?.iter().collect();
    ensure!(matches!(&refused[..], [one] if one["host"] == UNLISTED), "{refused:?}");
    ensure!(compared["usage"]["looked_at"]["connections"].as_u64() > Some(20), "{compared}");

    // 3. The gate beside Squid, in audit mode; then new connections to Squid's port are the gate's.
    let mut options = Options::policy(&enforced.replace("version: 1\n", "version: 1\nmode: audit\n"));
    options.listeners = vec![
        "{ bind: \"0.0.0.0:3129\", protocol: connect, destination: none }".to_owned(),
        "{ bind: \"0.0.0.0:8443\", protocol: tls, destination: redirect }".to_owned(),
        "{ bind: \"0.0.0.0:8480\", protocol: http, destination: redirect }".to_owned(),
    ];
    let gate = Gate::start(&lab, &options)?;
    load.phase("beside")?;
    ensure!(gate.access_log()?.iter().all(|line| line["event"] != "close"), "something came already");
    // Connections of the pool are open now, and Squid's.
    nft(&lab, "move_from_squid")?;
    load.phase("audit")?;
    until("Squid still has connections", || Ok(established(&lab, 3128)?.is_empty()))?;
    squid.process().signal(Signal::TERM)?;
    squid.process().wait(Duration::from_secs(60))?;
    load.go_on()?;
    let audited = unlisted(Some(PROXY))?;
    ensure!(audited == "served", "audit mode refuses: {audited}");

    // 4. What audit mode saw: of what is listed nothing would be refused, and what Squid refused stands out.
    gate.wait_closed(Duration::from_secs(30), |lines| lines.iter().any(|line| line["host"] == UNLISTED))?;
    let own = path(gate.directory())?.to_owned() + "/access.jsonl";
    let learned = sekisho(lab.directory(), &["learn", &own, "--policy", "policy.yaml"])?;
    ensure!(learned.contains(UNLISTED) && !learned.contains("partner.example"), "{learned}");
    let hosts = |lines: &[Value]| -> BTreeSet<String> {
        let served = lines.iter().filter(|line| line["verdict"] == "allowed");
        served.filter_map(|line| line["host"].as_str()).map(str::to_owned).collect()
    };
    let now = hosts(&gate.wait_closed(Duration::from_secs(30), |lines| hosts(lines).len() >= 2)?);
    ensure!(now == BTreeSet::from([LISTED.to_owned(), BUCKET.to_owned()]), "{now:?}");

    // 5. The same policy in force.
    let next = gate.directory().join("next.yaml");
    fs::write(&next, &enforced)?;
    fs::rename(&next, gate.directory().join("policy.yaml"))?;
    until("the policy is not in force", || {
        Ok(gate.metrics()?.sum("sekisho_policy_reloads_total", &[("result", "loaded")]) >= 1.0)
    })?;
    load.phase("enforce")?;
    ensure!(unlisted(Some(PROXY))?.contains("response 403"), "enforced, and let through");

    // 6. The route: what goes there by itself meets the same policy, beside the proxy's clients.
    let redirect = Redirect::nftables(&lab)?;
    nft(&lab, "port_80")?;
    load.phase("redirect")?;
    ensure!(unlisted(None)?.contains("alert access denied"), "{}", unlisted(None)?);

    // 7. The variables go, and when nobody asks by them any more, so does the way in that they led to.
    load.without_proxy()?;
    load.phase("direct")?;
    until("somebody still uses the proxy", || Ok(established(&lab, 3129)?.is_empty()))?;
    lab.gate.run("nft", ["delete", "table", "inet", "move_from_squid"])?;
    load.phase("moved")?;
    let counts = load.finish();
    let phases = ["squid", "beside", "audit", "enforce", "redirect", "direct", "moved"];
    nothing_failed(&counts, &phases, 1 + curls.len())?;

    let lines = gate.wait_closed(Duration::from_secs(30), |lines| {
        ["connect", "tls", "http"].iter().all(|protocol| lines.iter().any(|line| line["protocol"] == *protocol))
    })?;
    let odd: Vec<_> = lines
        .iter()
        .filter(|line| line["verdict"] != "allowed" && line["host"] != UNLISTED)
        // The pool is stopped in the middle of what it does.
        .filter(|line| line["reason"] != "client_closed")
        .collect();
    ensure!(odd.is_empty(), "{odd:?}");
    drop(redirect);
    Ok(())
}

/// The program's output.
fn sekisho(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(lab::gate_binary()?);
    netns::run(command.current_dir(directory).args(arguments))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Loads a table as the page has it.
fn nft(lab: &Lab, table: &str) -> Result<()> {
    let page = fs::read_to_string(lab::workspace().join("docs/moving-from-squid.md"))?;
    let begin = page.find(&format!("table inet {table} {{\n")).with_context(|| format!("no {table} on the page"))?;
    let (rules, _) = page[begin..].split_once("```").context("a block without an end")?;
    let file = lab.directory().join(format!("{table}.nft"));
    fs::write(&file, rules)?;
    lab.gate.run("nft", ["-f", path(&file)?]).map(drop)
}

/// Connections to a port of the gate's host.
fn established(lab: &Lab, port: u16) -> Result<String> {
    lab.gate.run("ss", ["-Htn", "state", "established", &format!("sport = :{port}")])
}

fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done()? {
        ensure!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// nginx on ports 443 and 80 of every address on the servers' side.
fn web(lab: &Lab, authority: &Authority) -> Result<Process> {
    let (cert, key) = authority.issue("web", &["*.partner.example", BUCKET, UNLISTED])?;
    let config = lab.directory().join("web.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/web.pid; error_log stderr;\nevents {{}}\nhttp {{\n  access_log off; \
         client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; \
         scgi_temp_path {0}/s;\n  server {{ listen 443 ssl; listen 80; ssl_certificate {1}; ssl_certificate_key {2}; \
         location / {{ return 200 served; }} }}\n}}\n",
        lab.directory().display(),
        cert.display(),
        key.display()
    );
    fs::write(&config, text)?;
    let mut web = Process::start("web", lab.directory(), lab.servers.cmd("nginx").arg("-c").arg(&config))?;
    web.wait_ready(Duration::from_secs(30), || {
        let connect = || std::net::TcpStream::connect("198.18.1.1:443").is_ok();
        lab.servers.enter(connect).unwrap_or(false)
    })?;
    Ok(web)
}
