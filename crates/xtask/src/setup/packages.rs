//! Debian packages, found by the programs that they bring.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{cargo, say};

/// A program on the PATH, or a file, and the package that brings it.
pub(super) type Program = (&'static str, &'static str);

pub(super) const FOR_DEMO: &[Program] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("curl", "curl"),
    // jemalloc's sources are built with it.
    ("make", "make"),
    ("prlimit", "util-linux"),
    ("setpriv", "util-linux"),
    ("python3", "python3"),
];

pub(super) const FOR_TESTS: &[Program] = &[
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
    ("openssl", "openssl"),
    ("haproxy", "haproxy"),
    ("nginx", "nginx"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    ("keepalived", "keepalived"),
    ("promtool", "prometheus"),
    ("logrotate", "logrotate"),
    ("patch", "patch"),
    ("sysctl", "procps"),
    // Root's own, first on the PATH, would not do for programs of other users.
    ("/usr/bin/python3", "python3"),
    ("systemd-analyze", "systemd"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("javac", "default-jdk-headless"),
    // Not the package `squid`: it conflicts with this one, and cannot read a hello, which the bench's must.
    ("squid", "squid-openssl"),
    ("unbound", "unbound"),
    ("tayga", "tayga"),
    ("strace", "strace"),
    ("git", "git"),
    ("go", "golang-go"),
    // Whose clients and servers pass the gate in pairs.
    ("chromium", "chromium"),
    ("gnutls-serv", "gnutls-bin"),
    ("selfserv", "libnss3-tools"),
    ("tcpdump", "tcpdump"),
];

pub(super) const FOR_BENCH: &[Program] = &[
    ("haproxy", "haproxy"),
    ("nginx", "nginx"),
    ("/usr/lib/nginx/modules/ngx_stream_module.so", "libnginx-mod-stream"),
    ("sniproxy", "sniproxy"),
    // What the package `squid` does not have.
    ("/usr/lib/squid/security_file_certgen", "squid-openssl"),
    ("strace", "strace"),
];

/// Packages that would start a server on the host.
const SERVICES: &[&str] =
    &["haproxy", "keepalived", "nginx", "prometheus", "sniproxy", "squid-openssl", "tayga", "unbound"];

/// The packages of what is not there, each once.
pub(super) fn missing(programs: &[Program]) -> Vec<&'static str> {
    let mut packages: Vec<_> = absent(programs).map(|(_, package)| package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs packages by apt-get; nothing to do when there are none.
pub(super) fn install(packages: &[&str], programs: &[Program]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    if !on_path("apt-get") {
        let programs: Vec<_> = absent(programs).map(|(program, _)| program).collect();
        bail!(
            "there is no apt-get here, so these have to be installed by hand: {}\n  (in Debian the packages are: {names})",
            programs.join(", ")
        );
    }
    say::progress(format_args!("installing {names}"));
    cargo::run(apt_get().args(["update", "-q"]))?;
    let quiet = NoServices::begin();
    cargo::run(apt_get().args(["install", "-q", "-y", "--no-install-recommends"]).args(packages))?;
    drop(quiet);
    for service in SERVICES.iter().filter(|service| packages.contains(service)) {
        // Nor at the next boot. Where there is no systemd, there is nothing to disable.
        let service = service.trim_end_matches("-openssl");
        let _ = Command::new("systemctl").args(["--quiet", "disable", service]).stderr(Stdio::null()).status();
    }
    if let Some((program, package)) = absent(programs).next() {
        bail!("{package} is installed, but `{program}` is not there or not on the PATH: add /usr/sbin and /sbin to it");
    }
    Ok(())
}

fn absent(programs: &[Program]) -> impl Iterator<Item = Program> {
    let there = |program: &str| if program.starts_with('/') { Path::new(program).exists() } else { on_path(program) };
    programs.iter().copied().filter(move |(program, _)| !there(program))
}

fn on_path(program: &str) -> bool {
    let executable = |path: &Path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| executable(&directory.join(program)))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

/// While this lives, packages start no servers: what Debian's `policy-rc.d` is for. One that is there already is left
/// alone.
struct NoServices(Option<&'static Path>);

impl NoServices {
    fn begin() -> Self {
        let path = Path::new("/usr/sbin/policy-rc.d");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path);
        let written = file.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"));
        Self(written.is_ok().then_some(path))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
