//! The servers of all pairs, each on an address of its own, and the files that both sides read.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail, ensure};
use lab::certs::Authority;
use lab::dns::Behaviour;
use lab::netns::{self, Netns};
use lab::process::Process;
use lab::{Lab, workspace};

use super::rows::{Program, Row};
use super::rustls_side::{self, Words};
use super::{DOMAIN, LIMIT, servers};

/// The servers listen from here on; the packets to port 443 of their addresses are sent there.
const FIRST_PORT: usize = 7001;

/// What is asked of an HTTP server by whoever speaks no HTTP.
pub(super) const REQUEST: &str = "GET / HTTP/1.0\r\n\r\n";

/// All servers, running.
#[derive(Debug)]
pub(super) struct Cast<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) files: Files,
    servers: Vec<Server>,
}

#[derive(Debug)]
enum Server {
    Process(Process),
    Rustls(rustls_side::Server),
}

/// Certificates, keys, programs.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    go: PathBuf,
    java: PathBuf,
}

impl<'lab> Cast<'lab> {
    /// Starts the servers and waits until all of them listen.
    pub(super) fn start(lab: &'lab Lab, rows: &[&Row]) -> Result<Self> {
        let files = Files::make(lab, rows)?;
        let mut ways = String::new();
        let mut servers = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let (address, port) = (address(at)?, port(at)?);
            lab.gate_dns.set_name(&row.host(), Behaviour::Addresses(vec![address.into()]));
            lab.client_dns.set_name(&row.host(), Behaviour::Addresses(vec![address.into()]));
            let _ = writeln!(ways, "ip daddr {address} tcp dport 443 redirect to :{port}");
            servers.push(Server::start(lab, &files, row, port)?);
        }
        let table =
            format!("table ip pairs {{\nchain pairs {{\ntype nat hook prerouting priority dstnat\n{ways}}}\n}}\n");
        let file = lab.directory().join("pairs.nft");
        std::fs::write(&file, table)?;
        netns::run(lab.servers.cmd("nft").arg("-f").arg(&file))?;
        let mut cast = Self { lab, files, servers };
        cast.wait_until_all_listen(rows)?;
        cast.wait_for_addresses()?;
        Ok(cast)
    }

    fn wait_until_all_listen(&mut self, rows: &[&Row]) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let listening = self.lab.servers.run("ss", ["-Hltn"])?;
            let silent = (0..rows.len()).find(|&at| !listening.contains(&format!(":{} ", FIRST_PORT + at)));
            let Some(at) = silent else { return Ok(()) };
            let name = rows[at].name;
            if let Server::Process(server) = &mut self.servers[at] {
                ensure!(server.is_running(), "the server of {name} has ended: {}{}", server.stdout(), server.stderr());
            }
            ensure!(Instant::now() < deadline, "the server of {name} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A browser gives up what it loads when its host's addresses change: the kernel is still trying whether one is free.
    fn wait_for_addresses(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !self.lab.client.run("ip", ["-6", "addr", "show", "tentative"])?.is_empty() {
            ensure!(Instant::now() < deadline, "an address of the client's stays tentative");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What the server said of the connections without the gate it says again of those through it; returns that.
    pub(super) fn server_saw_the_same_twice(&self, at: usize, row: &Row, connections: usize) -> Result<Vec<String>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut facts = self.facts(at, row);
            if row.is_a_browser() {
                return Ok(facts);
            }
            let (direct, through) = facts.split_at(facts.len() / 2);
            let own_lines = facts.iter().filter(|fact| fact.starts_with("facts:")).count();
            let expected = if servers::prints_lines_of_ours(row.server.0) { 2 * connections } else { 0 };
            if direct == through && own_lines == expected {
                facts.truncate(facts.len() / 2);
                return Ok(facts);
            }
            ensure!(Instant::now() < deadline, "the server saw {facts:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn facts(&self, at: usize, row: &Row) -> Vec<String> {
        let said = match &self.servers[at] {
            Server::Process(server) => format!("{}\n{}", server.stdout(), server.stderr()),
            Server::Rustls(server) => server.said(),
        };
        servers::facts(row.server.0, &said)
    }
}

impl Server {
    fn start(lab: &Lab, files: &Files, row: &Row, port: u16) -> Result<Self> {
        if row.server.0 == Program::Rustls {
            let words = files.words(row.server.1, &[("ca", &files.ca), ("cert", &files.cert), ("key", &files.key)]);
            return Ok(Self::Rustls(rustls_side::Server::start(&lab.servers, port, &words)?));
        }
        let mut command = servers::command(lab, files, row, port)?;
        let name = format!("server-{}", row.name);
        Ok(Self::Process(Process::start_listening(&name, lab.directory(), &mut command)?))
    }
}

/// Where the pair's server is found.
pub(super) fn address(at: usize) -> Result<Ipv4Addr> {
    Ok(Ipv4Addr::new(198, 18, 3, u8::try_from(at + 1)?))
}

fn port(at: usize) -> Result<u16> {
    Ok(u16::try_from(FIRST_PORT + at)?)
}

impl Files {
    fn make(lab: &Lab, rows: &[&Row]) -> Result<Self> {
        let authority = Authority::new(lab.directory())?;
        let (cert, key) = authority.issue("server", &[&format!("*.{DOMAIN}")])?;
        authority.issue_client("client")?;
        let built = workspace().join("target/pairs");
        let uses = |program| rows.iter().any(|row| row.client.0 == program || row.server.0 == program);
        let files = Self { ca: authority.ca_file(), cert, key, go: built.join("pair"), java: built.clone() };
        std::fs::create_dir_all(&built)?;
        std::fs::write(lab.directory().join("legacy.security"), "jdk.tls.disabledAlgorithms=\n")?;
        std::fs::write(lab.directory().join("early"), format!("{}\n", "early".repeat(1600)))?;
        std::fs::write(lab.directory().join("request"), REQUEST)?;
        if uses(Program::Nss) {
            nss_database(lab.directory())?;
        }
        if uses(Program::Go) {
            let mut go = Command::new("go");
            go.args(["build", "-o"]).arg(&files.go).arg(source("pair.go"));
            once(&GO, go.env("GOCACHE", built.join("go-cache")).env("GO111MODULE", "off"))?;
        }
        if uses(Program::Java) {
            once(&JAVA, Command::new("javac").arg("-d").arg(&built).arg(source("Pair.java")))?;
        }
        Ok(files)
    }

    /// Where the certificates are: `ca.pem`, `server.pem` and `.key`, `client.pem` and `.key`.
    pub(super) fn directory(&self) -> String {
        self.ca.parent().map(|parent| parent.display().to_string()).unwrap_or_default()
    }

    /// The words of a side that is not started by a command line, and these files among them.
    pub(super) fn words(&self, words: &str, more: &[(&str, &Path)]) -> Words {
        let words = words.replace("{certs}", &self.directory());
        let mut all: Words = more.iter().map(|(key, file)| ((*key).to_owned(), file.display().to_string())).collect();
        all.extend(words.split_ascii_whitespace().filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        }));
        all
    }

    /// The beginning of a command of ours; `words` that begin with `-D` are for Java itself.
    pub(super) fn own_program(&self, ns: &Netns, program: Program, words: &[&str]) -> Result<Command> {
        let mut command = match program {
            Program::Python => ns.cmd("python3"),
            Program::PyOpenSsl => ns.cmd(lab::tools().join("python")),
            Program::Node => ns.cmd("node"),
            Program::Go => return Ok(ns.cmd(&self.go)),
            Program::Java => {
                let mut command = ns.cmd("java");
                command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
                command.args(words.iter().filter(|word| word.starts_with("-D"))).arg("-cp").arg(&self.java).arg("Pair");
                return Ok(command);
            }
            other => bail!("{other:?} is none of ours"),
        };
        let file = match program {
            Program::Python => "pair.py",
            Program::PyOpenSsl => "pair_pyopenssl.py",
            _ => "pair.mjs",
        };
        command.arg(source(file));
        Ok(command)
    }
}

/// Whether they are built: tests beside each other must not write what another runs.
static GO: OnceLock<Result<(), String>> = OnceLock::new();
static JAVA: OnceLock<Result<(), String>> = OnceLock::new();

fn once(done: &OnceLock<Result<(), String>>, build: &mut Command) -> Result<()> {
    let built = done.get_or_init(|| netns::run(build).map(drop).map_err(|error| format!("{error:#}")));
    built.clone().map_err(Error::msg)
}

/// The certificates as NSS keeps them, in `<directory>/nss`.
fn nss_database(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory.join("nss"))?;
    let run = |line: &str| {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        netns::run(command.args(words.map(|word| word.trim_matches('\''))).current_dir(directory)).map(drop)
    };
    run("certutil -N -d sql:nss --empty-password")?;
    for name in ["server", "client"] {
        let files = format!("-in {name}.pem -inkey {name}.key -out {name}.p12");
        run(&format!("openssl pkcs12 -export -name {name} -passout pass: {files}"))?;
        run(&format!("pk12util -i {name}.p12 -d sql:nss -W ''"))?;
    }
    run("certutil -A -d sql:nss -n lab -t CT,C,C -i ca.pem")
}

fn source(name: &str) -> PathBuf {
    workspace().join("tests/pairs").join(name)
}
