//! Squid in the gate's namespace. To be asked what it would do it lets nothing out: what its rules allow comes to an error,
//! as it may forward to nobody, and what they deny to a 403.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lab::process::Process;
use lab::{GATE_DNS, Lab};
use socket2::{Domain, Socket, Type};

const ADDRESS: ([u8; 4], u16) = ([10, 20, 0, 1], 3128);

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) host: String,
    /// One of the client's addresses.
    pub(super) client: IpAddr,
    pub(super) port: u16,
    /// CONNECT, or else GET.
    pub(super) connect: bool,
}

/// A running Squid; killed on drop.
pub(super) struct Squid<'lab> {
    lab: &'lab Lab,
    process: Process,
    directory: PathBuf,
}

impl<'lab> Squid<'lab> {
    /// Starts one that lets nothing out, with these `acl` and `http_access` lines.
    pub(super) fn start(lab: &'lab Lab, rules: &str) -> Result<Self> {
        Self::start_with(lab, "access_log none\nnever_direct allow all\n", rules)
    }

    /// Starts one that does its work, and logs it.
    pub(super) fn forwarding(lab: &'lab Lab, rules: &str) -> Result<Self> {
        let log = lab.directory().join("squid/access.log");
        Self::start_with(lab, &format!("access_log stdio:{}\n", log.display()), rules)
    }

    fn start_with(lab: &'lab Lab, more: &str, rules: &str) -> Result<Self> {
        let directory = lab.directory().join("squid");
        fs::create_dir_all(&directory)?;
        // It gives up root for a user of its own.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))?;
        let config = directory.join("squid.conf");
        let log = directory.join("cache.log");
        let text = format!(
            "http_port 10.20.0.1:3128\npid_filename none\ncache_log {}\ncache deny all\n{more}\
             coredump_dir {}\npinger_enable off\nnetdb_filename none\nvisible_hostname squid.test\nshutdown_lifetime 0 seconds\n\
             dns_nameservers {GATE_DNS}\n{rules}",
            log.display(),
            directory.display(),
        );
        fs::write(&config, text)?;
        let mut command = lab.gate.cmd("squid");
        command.args(["-N", "-f"]).arg(&config);
        let mut process = Process::start("squid", lab.directory(), &mut command)?;
        let address = SocketAddr::from(ADDRESS);
        process.wait_ready(Duration::from_secs(30), || {
            let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            lab.client.enter(connect).unwrap_or(false)
        })?;
        Ok(Self { lab, process, directory })
    }

    /// Its process.
    pub(super) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it logs what it forwards.
    pub(super) fn access_log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    /// Whether it lets each through.
    pub(super) fn ask_all(&self, asked: &[Asked]) -> Result<Vec<bool>> {
        self.lab.client.enter(|| asked.iter().map(ask).collect())?
    }

    /// Its own log.
    pub(super) fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.directory.join("cache.log"))?).into_owned())
    }
}

fn ask(asked: &Asked) -> Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(asked.client, 0).into())?;
    socket.connect(&SocketAddr::from(ADDRESS).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let Asked { host, port, .. } = asked;
    let target = if asked.connect { format!("CONNECT {host}:{port}") } else { format!("GET http://{host}:{port}/") };
    stream.write_all(format!("{target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.contains(&b'\n') {
        let count = stream.read(&mut buffer).with_context(|| format!("no answer about {asked:?}"))?;
        if count == 0 {
            bail!("no answer about {asked:?}");
        }
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let line = String::from_utf8_lossy(&answer);
    match line.split(' ').nth(1) {
        Some("403") => Ok(false),
        Some("500" | "502" | "503") => Ok(true),
        _ => bail!("{asked:?}: {}", line.lines().next().unwrap_or_default()),
    }
}
