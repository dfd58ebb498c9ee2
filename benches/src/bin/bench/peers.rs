//! The gates, and how each is started. Their configurations are in `benches/peers/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sekisho_benches::http::Way;

use crate::lab::Lab;
use crate::options::Options;

/// One row of the results.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// What `--only` and the results call it.
    pub(crate) id: String,
    kind: Kind,
    program: PathBuf,
    /// What it says of itself.
    pub(crate) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    FloorCopy,
    FloorSplice,
    Sekisho,
    Haproxy,
    Nginx,
    Sniproxy,
    Squid,
    Envoy,
}

/// Every row, in the order of the tables. A program that is not there is an error, not a row less.
pub(crate) fn all(lab: &Lab, options: &Options) -> Result<Vec<Peer>> {
    let envoy = lab::workspace().join("target/venv/bin/envoy");
    let mut rows = vec![
        ("direct", Kind::Direct, PathBuf::new()),
        ("floor-copy", Kind::FloorCopy, lab.program("floor")?),
        ("floor-splice", Kind::FloorSplice, lab.program("floor")?),
        ("sekisho", Kind::Sekisho, lab::gate_binary()?),
        ("haproxy", Kind::Haproxy, "haproxy".into()),
        ("nginx", Kind::Nginx, "nginx".into()),
        ("sniproxy", Kind::Sniproxy, "sniproxy".into()),
        ("squid", Kind::Squid, "squid".into()),
        ("envoy", Kind::Envoy, envoy),
    ];
    if let Some(path) = &options.haproxy {
        rows.insert(5, ("haproxy-new", Kind::Haproxy, path.canonicalize().context("--haproxy")?));
    }
    let wanted = |id: &str| options.only.is_empty() || options.only.iter().any(|only| only == id);
    let known: Vec<_> = rows.iter().map(|(id, ..)| (*id).to_owned()).collect();
    let all = !known.iter().any(|id| options.only.contains(id));
    let rows = rows.into_iter().filter(|(id, ..)| all || wanted(id));
    rows.map(|(id, kind, program)| {
        let version = version(kind, &program)?;
        let short = || version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let id = if id == "haproxy-new" { format!("haproxy-{}", short()) } else { id.to_owned() };
        Ok(Peer { id, kind, program, version })
    })
    .collect()
}

impl Peer {
    /// Whether there is a gate at all.
    pub(crate) fn is_gate(&self) -> bool {
        self.kind != Kind::Direct
    }

    /// Whether it decides on a name, so that it can refuse one.
    pub(crate) fn refuses(&self) -> bool {
        !matches!(self.kind, Kind::Direct | Kind::FloorCopy | Kind::FloorSplice)
    }

    /// Whether it can serve clients that come so.
    pub(crate) fn serves(&self, way: Way) -> bool {
        match way {
            // HAProxy passes a CONNECT on and opens no tunnel; nor does nginx 1.22, or sniproxy.
            Way::Connect => matches!(self.kind, Kind::Sekisho | Kind::Squid | Kind::Envoy),
            Way::Tls | Way::Http => true,
        }
    }

    /// Its files: the name in `benches/peers/`, and in a directory there for other ways than TLS.
    pub(crate) fn files(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Direct | Kind::FloorCopy | Kind::FloorSplice => &[],
            Kind::Sekisho => &["sekisho.yaml", "policy.yaml"],
            Kind::Haproxy => &["haproxy.cfg"],
            Kind::Nginx => &["nginx.conf"],
            Kind::Sniproxy => &["sniproxy.conf"],
            Kind::Squid => &["squid.conf"],
            Kind::Envoy => &["envoy.yaml"],
        }
    }

    /// Whether it wants a certificate to start, though it shows it to nobody.
    pub(crate) fn wants_certificate(&self) -> bool {
        self.kind == Kind::Squid
    }

    /// What root does before, in a mount namespace that the gate alone sees.
    pub(crate) fn prepare(&self) -> &'static str {
        match self.kind {
            // Its processes talk over sockets in /run/squid and memory in /dev/shm.
            Kind::Squid => {
                "mount -t tmpfs -o mode=1777 t /run && mkdir -m 777 /run/squid && mount -t tmpfs -o mode=1777 t /dev/shm && "
            }
            _ => "",
        }
    }

    /// The program and its arguments; its files are in `directory`. One program for each process that has to be started.
    pub(crate) fn command(&self, directory: &Path, threads: usize) -> Vec<String> {
        let file = |name: &str| directory.join(name).display().to_string();
        let floor = |via| format!("--bind 0.0.0.0:8443 --threads {threads} --via {via} --to original");
        let arguments = match self.kind {
            Kind::Direct => return Vec::new(),
            Kind::FloorCopy => floor("copy"),
            Kind::FloorSplice => floor("splice"),
            Kind::Sekisho => format!("run --config {}", file("sekisho.yaml")),
            Kind::Haproxy => format!("-db -f {}", file("haproxy.cfg")),
            Kind::Nginx => format!("-e /dev/null -p {} -c {}", directory.display(), file("nginx.conf")),
            Kind::Sniproxy => format!("-f -c {}", file("sniproxy.conf")),
            Kind::Squid => format!("--foreground -f {}", file("squid.conf")),
            Kind::Envoy => {
                format!("--concurrency {threads} --disable-hot-restart --log-level error -c {}", file("envoy.yaml"))
            }
        };
        let times = if self.kind == Kind::Sniproxy { threads } else { 1 };
        vec![format!("{} {arguments}", self.program.display()); times]
    }

    /// The program, if another user must be able to start it from where it is.
    pub(crate) fn program_mut(&mut self) -> Option<&mut PathBuf> {
        self.program.is_absolute().then_some(&mut self.program)
    }
}

/// What a program says of its version, without its name.
fn version(kind: Kind, program: &Path) -> Result<String> {
    let argument = match kind {
        Kind::Direct => return Ok("no gate: routed straight".to_owned()),
        Kind::FloorCopy | Kind::FloorSplice => return Ok("this repository's".to_owned()),
        Kind::Sekisho | Kind::Envoy => "--version",
        Kind::Haproxy | Kind::Nginx | Kind::Squid => "-v",
        Kind::Sniproxy => "-V",
    };
    let output = Command::new(program).arg(argument).output();
    let output = output.with_context(|| format!("{} is not installed: run `cargo xtask setup`", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    let words = text.split(|c: char| c.is_whitespace() || c == '/');
    let found = words.clone().find(is_version);
    let Some(found) = found else { bail!("{} says no version: {text}", program.display()) };
    Ok(found.to_owned())
}
