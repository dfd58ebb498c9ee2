//! What `deploy/` ships, put to the programs that will read it, and compared with what the gate really shows.

mod kernel;
mod rules;
mod units;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::net::Redirect;
use lab::netns::run;

#[test]
fn prometheus_reads_the_rules_and_every_alert_fires_and_stays_quiet_when_it_should() -> Result<()> {
    let directory = deploy("prometheus");
    let promtool = |args: &[&str]| run(Command::new("promtool").args(args).current_dir(&directory));
    promtool(&["check", "config", "scrape.yaml"])?;
    promtool(&["check", "rules", "alerts.yaml"])?;
    promtool(&["test", "rules", "alerts.test.yaml", "weeks.test.yaml"])?;

    let tests = read("prometheus/alerts.test.yaml")? + &read("prometheus/weeks.test.yaml")?;
    let (mut fires, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for case in tests.split("alertname: ").skip(1) {
        let name: String = case.chars().take_while(|c| c.is_alphanumeric()).collect();
        let expected = case.split_once("exp_alerts:").context("an alert test without exp_alerts")?.1;
        let set = if expected.trim_start().starts_with("[]") { &mut quiet } else { &mut fires };
        set.insert(name);
    }
    let alerts = alerts()?;
    ensure!(fires == alerts, "shown to fire, or alerts, but not both: {:?}", &fires ^ &alerts);
    ensure!(quiet == alerts, "shown to stay quiet, or alerts, but not both: {:?}", &quiet ^ &alerts);
    Ok(())
}

#[test]
fn a_running_gates_metrics_are_well_formed_and_are_those_that_the_rules_ask_for() -> Result<()> {
    let lab = Lab::new("deploy-metrics")?;
    // With an expiry, which only rules that have one are a series of.
    let policy = "version: 1\nrules:\n  - { name: reports, owner: o, expires: 2100-12-31, hosts: [reports.example] }\n";
    let gate = Gate::start(&lab, &Options::policy(policy))?;
    let (status, text) = gate.get("/metrics")?;
    ensure!(status == 200, "{status}: {text}");
    let file = lab.directory().join("metrics");
    fs::write(&file, &text)?;
    let check = Command::new("promtool").args(["check", "metrics"]).stdin(fs::File::open(file)?).output()?;
    let said = [check.stdout, check.stderr].concat();
    ensure!(check.status.success() && said.is_empty(), "promtool: {}", String::from_utf8_lossy(&said));

    let rules = read("prometheus/alerts.yaml")?;
    let used = words(&rules, |word| (word.starts_with("sekisho_") || word.starts_with("process_")).then_some(word));
    ensure!(used.len() > 12, "the rules name hardly any metric: {used:?}");
    for metric in used {
        let there = text.lines().any(|line| line.starts_with(&metric) && line[metric.len()..].starts_with(['{', ' ']));
        ensure!(there, "no metric {metric}, which a rule asks for, in:\n{text}");
    }
    let labels = rules.split("reason=").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let reasons: BTreeSet<_> = labels.flat_map(|labels| labels.split('|')).collect();
    ensure!(reasons.len() > 12, "the rules name hardly any reason: {reasons:?}");
    for reason in reasons {
        ensure!(text.contains(&format!("reason=\"{reason}\"")), "no reason {reason}, which a rule asks for");
    }
    Ok(())
}

#[test]
fn the_example_configurations_pass_check() -> Result<()> {
    let lab = Lab::new("deploy-check")?;
    let gate = Gate::start(&lab, &Options::listing(&["reports"]))?;
    for config in ["sekisho.yaml", "haproxy/sekisho.yaml"] {
        let directory = lab.directory().join("etc");
        fs::create_dir_all(&directory)?;
        fs::copy(deploy(config), directory.join("sekisho.yaml"))?;
        fs::copy(deploy("policy.yaml"), directory.join("policy.yaml"))?;
        let file = directory.join("sekisho.yaml");
        let check = gate.command(&["check", "--config", file.to_str().context("path")?])?;
        let said = String::from_utf8_lossy(&[check.stdout, check.stderr].concat()).into_owned();
        ensure!(check.status.success(), "{config}: {said}");
        ensure!(!said.contains("warning"), "{config}: {said}");
    }
    Ok(())
}

#[test]
fn haproxy_accepts_the_pair_front() -> Result<()> {
    run(Command::new("haproxy").args(["-c", "-f"]).arg(deploy("haproxy/haproxy.cfg"))).map(drop)
}

#[test]
fn systemd_accepts_the_units_and_finds_little_exposed() -> Result<()> {
    let directory = Scratch::new("units")?;
    let mut units = vec![deploy("ecmp/sekisho-ecmp.service")];
    for entry in fs::read_dir(deploy("systemd"))? {
        units.push(entry?.path());
    }
    ensure!(units.len() >= 6, "{units:?}");
    let mut names = Vec::new();
    for unit in &units {
        let name = unit.file_name().context("a unit's name")?;
        // The programs are not installed here, and a unit whose program is missing is a fault.
        let text = fs::read_to_string(unit)?.replace("/usr/local/bin/sekisho ", "/bin/true ");
        fs::write(directory.0.join(name), text.replace("/usr/local/sbin/sekisho-ecmp ", "/bin/true "))?;
        names.push(name);
    }
    for name in &names {
        let verify =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(directory.0.join(name)).output()?;
        let said = String::from_utf8_lossy(&[verify.stdout, verify.stderr].concat()).into_owned();
        ensure!(verify.status.success() && said.is_empty(), "{}: {said}", name.display());
    }
    // In tenths: systemd 252 says 1.2, and others count a little differently.
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    run(security.arg(directory.0.join("sekisho.service")))?;
    // Root, for the routes: it may have the network, and nothing else.
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--threshold=35", "--no-pager"]);
    run(security.arg(directory.0.join("sekisho-ecmp.service")))?;

    let unit = read("systemd/sekisho.service")?;
    ensure!(
        unit.contains("\nTimeoutStopSec=6min\n") && unit.contains("\nLimitNOFILE=131072\n"),
        "comments rely on these"
    );
    let user = run(Command::new("systemd-sysusers").arg("--dry-run").arg(deploy("sysusers.d/sekisho.conf")))?;
    ensure!(user.is_empty() || user.contains("sekisho"), "{user}");
    Ok(())
}

#[test]
fn logrotate_loses_no_line() -> Result<()> {
    let lab = Lab::new("deploy-logrotate")?;
    let gate = Gate::start(&lab, &Options::listing(&["reports"]))?;
    let _redirect = Redirect::nftables(&lab)?;
    let log = gate.directory().join("access.jsonl");
    let rules = read("logrotate/sekisho")?;
    // There is no such user here: root itself rotates.
    ensure!(rules.contains("/var/log/sekisho/access.jsonl") && rules.contains("    su sekisho sekisho\n"), "{rules}");
    let rules = rules.replace("/var/log/sekisho/access.jsonl", log.to_str().context("path")?);
    let file = lab.directory().join("logrotate");
    fs::write(&file, rules.replace("    su sekisho sekisho\n", ""))?;

    // Refused connections, all the while.
    let script = "for i in $(seq 400); do curl --silent --insecure --max-time 5 --connect-to ::198.18.1.1:443 \
                  https://n$i.example.com/ & [ $((i % 8)) = 0 ] && wait; done; wait";
    let mut clients = lab.client.cmd("sh").args(["-c", script]).stdout(Stdio::null()).spawn()?;
    for number in 0..3 {
        std::thread::sleep(Duration::from_millis(700));
        let mut rotate = Command::new("logrotate");
        rotate.args(["--force", "--state"]).arg(lab.directory().join("logrotate.state")).arg(&file);
        run(&mut rotate)?;
        // `dateext` names files by the day: the next rotation of the same day would meet this one.
        for rotated in rotated(gate.directory())? {
            fs::rename(&rotated, lab.directory().join(format!("rotated-{number}")))?;
        }
    }
    ensure!(clients.wait()?.success(), "the clients' shell failed");

    let lines = |path: &Path| fs::read_to_string(path).map(|text| text.matches(r#""event":"close""#).count());
    let count = || -> Result<usize> {
        let mut total = lines(&log).unwrap_or(0);
        for number in 0..3 {
            total += lines(&lab.directory().join(format!("rotated-{number}")))?;
        }
        Ok(total)
    };
    let mut left = 100;
    while count()? < 400 && left > 0 {
        left -= 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(count()? == 400, "{} lines for 400 connections", count()?);
    ensure!(lines(&lab.directory().join("rotated-1"))? > 0, "nothing happened between two rotations");
    Ok(())
}

fn rotated(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_rotated = |path: &PathBuf| path.to_string_lossy().contains("access.jsonl-");
    Ok(entries.into_iter().filter(is_rotated).collect())
}

/// A file or directory of `deploy/`.
fn deploy(path: &str) -> PathBuf {
    lab::workspace().join("deploy").join(path)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(deploy(path)).with_context(|| format!("deploy/{path}"))
}

fn alerts() -> Result<BTreeSet<String>> {
    let rules = read("prometheus/alerts.yaml")?;
    let names: BTreeSet<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    ensure!(names.len() > 20, "hardly any alert: {names:?}");
    Ok(names)
}

fn words<'t>(text: &'t str, wanted: impl Fn(&'t str) -> Option<&'t str>) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':'));
    words.filter(|word| !word.contains(':')).filter_map(wanted).map(str::to_owned).collect()
}

/// A directory that is gone with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sekisho-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
