//! HTTP/3 while UDP 443 is rejected: a client is told at once, and goes by TCP, and so through the gate. How long that took,
//! and how long it takes where UDP 443 is dropped, stands in `docs/ways-out.md`; nothing here is held to a time.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::certs::Authority;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::netns;
use lab::process::Process;
use serde_json::Value;

use super::Rules;

const HOST: &str = "www.example.net";

/// A site over HTTP/3 and TCP, and a gate that lets clients reach it.
struct Site<'lab> {
    server: Process,
    gate: Gate<'lab>,
    ca: PathBuf,
    /// The site's certificate.
    cert: PathBuf,
}

impl<'lab> Site<'lab> {
    fn start(lab: &'lab Lab, address: &str) -> Result<Self> {
        let authority = Authority::new(lab.directory())?;
        let (cert, key) = authority.issue("site", &[HOST])?;
        lab.servers.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        let mut command = lab.servers.cmd(lab::tools().join("python"));
        command.arg("-c").arg(include_str!("h3_server.py")).arg(address).arg(&cert).arg(key);
        let mut server = Process::start("site", lab.directory(), &mut command)?;
        let said = lab.directory().join("site.stdout");
        server.wait_ready(Duration::from_secs(60), || {
            std::fs::read_to_string(&said).is_ok_and(|text| text.contains("serving"))
        })?;
        let pool: Vec<IpAddr> = vec![address.parse()?];
        lab.client_dns.set_pool(pool.clone());
        lab.gate_dns.set_pool(pool);
        let policy = format!("version: 1\nrules:\n  - {{ name: site, hosts: [{HOST}], {UPSTREAM} }}\n");
        let gate = Gate::start(lab, &Options::policy(&policy))?;
        Ok(Self { server, gate, ca: authority.ca_file(), cert })
    }

    /// How often the site was asked for something, as `by` names it.
    fn asked(&self, by: &str) -> usize {
        self.server.stdout().lines().filter(|line| line.starts_with(by)).count()
    }

    /// The connections that the gate has let through to it, at least so many.
    fn through_the_gate(&self, least: usize) -> Result<()> {
        let to_site = |line: &&Value| line["verdict"] == "allowed" && line["host"] == HOST;
        let enough = |lines: &[Value]| lines.iter().filter(to_site).count() >= least;
        self.gate.wait_closed(Duration::from_secs(30), enough).map(drop)
    }
}

/// What lets DNS pass, so that clients find the site.
fn rules(lab: &Lab) -> Result<[Rules; 2]> {
    let arguments = ["--for", "router", "--pass", "udp:53,tcp:53"];
    Ok([Rules::nftables(lab, &arguments, "sekisho_router")?, Rules::iptables(lab, &arguments)?])
}

#[test]
fn aioquic_is_told_at_once_that_quic_is_shut_and_gets_its_page_by_tcp() -> Result<()> {
    for (name, address) in [("quic-4", "198.18.1.1"), ("quic-6", "2001:db8:18::1:1")] {
        let lab = Lab::new(name)?;
        let site = Site::start(&lab, address)?;
        let get = || {
            let mut client = lab.client.cmd(lab::tools().join("python"));
            netns::run(client.arg("-c").arg(include_str!("h3_client.py")).arg(HOST).arg(&site.ca))
        };
        let said = get()?;
        ensure!(said.starts_with("page after") && said.contains("by h3"), "no HTTP/3 without rules: {said}");
        for (number, rules) in rules(&lab)?.into_iter().enumerate() {
            rules.load(&lab.gate)?;
            let said = get()?;
            ensure!(said.starts_with("ConnectionRefusedError") && said.contains("by tcp"), "{address}: {said}");
            site.through_the_gate(number + 1)?;
            rules.undo(&lab.gate)?;
        }
        ensure!(site.asked("h3") == 1, "QUIC got through:\n{}", site.server.stdout());
    }
    Ok(())
}

#[test]
fn a_browser_that_uses_quic_when_the_rules_come_goes_on_by_tcp() -> Result<()> {
    let lab = Lab::new("quic-browser")?;
    let site = Site::start(&lab, "198.18.1.1")?;
    // Counts what the client is told.
    let told = "table inet told { counter errors { }\nchain arriving { type filter hook input priority 0\n\
                icmp type destination-unreachable counter name errors\n}\n}";
    lab.client.run("nft", [told])?;

    let mut command = lab.client.cmd("chromium");
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-quic"])
        .arg(format!("--user-data-dir={}", lab.directory().join("profile").display()))
        .arg(format!("--ignore-certificate-errors-spki-list={}", fingerprint(&site)?))
        // Another port than is used: QUIC is forced there only, but authorities that are not public are taken for the host.
        .arg(format!("--origin-to-force-quic-on={HOST}:444"))
        .args(["--dump-dom", &format!("https://{HOST}/")]);
    let mut browser = Process::start("browser", lab.directory(), &mut command)?;
    let deadline = Instant::now() + Duration::from_secs(45);
    while site.asked("h3") < 6 {
        ensure!(browser.is_running() && Instant::now() < deadline, "no HTTP/3 without rules: {}", browser.stdout());
        std::thread::sleep(Duration::from_millis(20));
    }
    rules(&lab)?[0].load(&lab.gate)?;
    ensure!(browser.wait(Duration::from_secs(90))?.success(), "{}", browser.stderr());
    let page = browser.stdout();
    let by_tcp = page.contains("by h3, then 5 by tcp") && !page.contains(">0 by h3");
    ensure!(by_tcp, "{page}\n{}", site.server.stdout());
    site.through_the_gate(5)?;
    let errors = lab.client.run("nft", ["list", "counter", "inet", "told", "errors"])?;
    ensure!(!errors.contains("packets 0 "), "nobody told the browser: {errors}");
    Ok(())
}

/// The hash of a certificate's key, by which a browser is told to take it.
fn fingerprint(site: &Site) -> Result<String> {
    let hash = "openssl x509 -pubkey -noout -in \"$0\" | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary \
                | openssl base64";
    let text = netns::run(Command::new("sh").args(["-c", hash]).arg(&site.cert))?;
    let text = text.trim();
    (text.len() == 44).then(|| text.to_owned()).with_context(|| format!("no hash: {text}"))
}
