//! Whose request is it? Messages that servers are known to read differently, read by nginx, HAProxy and Python's own
//! server, and by the gate: wherever it reads one, nobody may read another.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options, UPSTREAM};
use lab::net::Counter;
use lab::process::Process;
use sekisho_peek::http::{Asks, Inspector, Progress, Request, Role};

mod corpus;

pub(crate) use corpus::messages;

const NGINX: &str = "127.0.0.1:8081";
const HAPROXY: &str = "127.0.0.1:8082";
const PYTHON: &str = "127.0.0.1:8083";
const SERVERS: [(&str, &str); 3] = [("nginx", NGINX), ("haproxy", HAPROXY), ("python", PYTHON)];

/// The host of each request that a server has found in a message; none where it refused or waited for more.
type Reading = Vec<String>;

#[test]
fn where_servers_read_a_request_differently_the_gate_reads_none() -> Result<()> {
    let lab = Lab::new("smuggling")?;
    let _servers = servers(&lab)?;
    let messages = messages();
    ensure!(messages.len() >= 500, "{} messages", messages.len());
    let (mut read, mut differ, mut refused) = (0, 0, 0);
    let mut by_server = BTreeMap::<_, usize>::new();
    lab.gate.enter(|| -> Result<()> {
        for message in &messages {
            let readings = SERVERS.map(|(name, address)| (name, ask(address, message)));
            for (name, reading) in &readings {
                *by_server.entry(*name).or_default() += usize::from(!reading.is_empty());
            }
            // Those that refuse have no reading.
            let hosts: Vec<_> =
                readings.iter().map(|(_, reading)| reading).filter(|reading| !reading.is_empty()).collect();
            let several = hosts.windows(2).any(|pair| pair.first() != pair.last());
            differ += usize::from(several);
            let Some(request) = whole(message) else {
                refused += 1;
                continue;
            };
            read += 1;
            let ours = vec![request.host.as_str().to_owned()];
            for (name, reading) in &readings {
                let same = reading.is_empty() || *reading == ours;
                ensure!(same, "{name} reads {reading:?}, the gate {ours:?}: {}", message.escape_ascii());
            }
            // And what goes on has one reading for all, whatever they thought of what came.
            let Asks::Forward { mut head, body } = request.asks else { continue };
            let behind = message.get(request.head_len..).unwrap_or_default();
            ensure!(behind.len() as u64 == body);
            head.extend_from_slice(behind);
            for (name, address) in SERVERS {
                let reading = ask(address, &head);
                // nginx and HAProxy take no line longer than 8 KiB.
                let refused = reading.is_empty() && head.len() > 8000;
                let what = head.escape_ascii().take(2000).map(char::from).collect::<String>();
                ensure!(refused || reading == ours, "{name} reads {reading:?} of what goes on for {ours:?}: {what}");
            }
        }
        Ok(())
    })??;
    println!("{} messages: {read} read, {refused} refused; {differ} read differently by servers", messages.len());
    println!("read by each: {by_server:?}");
    ensure!(read >= 20 && differ >= 20, "the corpus shows nothing: {read} read, {differ} read differently");
    ensure!(by_server.values().all(|&count| count >= read), "a server that reads nothing: {by_server:?}");
    Ok(())
}

/// The same at a gate's own listeners, which list every host of the corpus: whatever it read, it would dial.
#[test]
fn no_message_that_servers_read_differently_gets_through_a_gate() -> Result<()> {
    let lab = Lab::new("smuggled")?;
    let _servers = servers(&lab)?;
    let mut options = Options::policy(&format!(
        "version: 1\nrules:\n  - {{ name: all, protocols: [http], {UPSTREAM}, hosts: [.example], ports: [80, 8080] }}\n"
    ));
    options.listeners = vec![
        format!("{{ bind: \"10.20.0.1:8480\", protocol: http, destination: none, methods: {METHODS:?} }}"),
        format!("{{ bind: \"10.20.0.1:3128\", protocol: connect, destination: none, methods: {METHODS:?} }}"),
    ];
    let gate = Gate::start(&lab, &options)?;
    let dialled = Counter::towards(&lab, "0.0.0.0/0")?;
    let mut differ = 0;
    lab.gate.enter(|| -> Result<()> {
        for message in messages() {
            let mut readings = SERVERS.map(|(_, address)| ask(address, &message)).to_vec();
            readings.retain(|reading| !reading.is_empty());
            readings.dedup();
            if readings.len() < 2 {
                continue;
            }
            differ += 1;
            for (to, message) in [("10.20.0.1:8480", message.clone()), ("10.20.0.1:3128", to_a_proxy(&message))] {
                let said = said_to(to, &message)?;
                let status = String::from_utf8_lossy(said.get(9..12).unwrap_or_default()).into_owned();
                ensure!(["400", "403", "405"].contains(&&*status), "{to}: {status} for {}", message.escape_ascii());
            }
        }
        Ok(())
    })??;
    ensure!(differ >= 20, "{differ} messages are read differently, which shows little");
    ensure!(dialled.syns()? == 0, "something was dialled");
    // And what has one reading is dialled, by both: nobody answers there.
    for (to, target) in [("10.20.0.1:8480", "/"), ("10.20.0.1:3128", "http://a.example/")] {
        let good = format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let said = lab.gate.enter(|| said_to(to, good.as_bytes()))??;
        ensure!(said.starts_with(b"HTTP/1.1 502 "), "{}", said.escape_ascii());
    }
    ensure!(dialled.syns()? >= 2);
    drop(gate);
    Ok(())
}

/// A message in origin-form as a proxy gets it.
fn to_a_proxy(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    match text.split_once(" /") {
        // Not a slash of a target in another form.
        Some((method, _)) if method.bytes().all(|b| b.is_ascii_alphabetic()) => {
            let (before, target) = message.split_at(method.len() + 1);
            [before, b"http://a.example", target].concat()
        }
        _ => message.to_vec(),
    }
}

/// All that a listener of the gate answers.
fn said_to(to: &str, message: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to.parse::<SocketAddr>()?, Duration::from_secs(30))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(message)?;
    let mut said = Vec::new();
    // What was not read may become a reset behind the answer.
    let _ = stream.read_to_end(&mut said);
    Ok(said)
}

/// What a listener here is told to serve.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "PUT"];

/// The request, where the gate reads one that it serves, and no byte stands behind it.
fn whole(message: &[u8]) -> Option<Request> {
    let Ok(Progress::Done(request)) = Inspector::new(Role::Server).inspect(message) else { return None };
    let body = match &request.asks {
        Asks::Forward { body, .. } => usize::try_from(*body).ok()?,
        Asks::Tunnel => return None,
    };
    (METHODS.contains(&&*request.method) && message.len() == request.head_len + body).then_some(request)
}

/// Sends a message and its end, and reads the hosts that the server says it was asked for.
fn ask(server: &str, message: &[u8]) -> Reading {
    let answer = (|| -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&server.parse::<SocketAddr>()?, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(message)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        // A server that refuses may reset what it has not read.
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    })();
    let answer = answer.unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    answer
        .lines()
        .filter_map(|line| line.strip_prefix("read-host: "))
        .map(|host| host.trim().to_ascii_lowercase())
        .collect()
}

/// Servers that answer each request with a line `read-host: HOST`, without the port.
fn servers(lab: &Lab) -> Result<[Process; 3]> {
    let directory = lab.directory();
    let nginx = directory.join("nginx.conf");
    fs::write(
        &nginx,
        format!(
            "daemon off; master_process off; pid {0}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\n  access_log off; \
             client_body_temp_path {0}/body; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; \
             scgi_temp_path {0}/s;\n  server {{ listen {NGINX}; location / {{ add_header read-host $host; return 200 ok; }} }}\n}}\n",
            directory.display()
        ),
    )?;
    let haproxy = directory.join("haproxy.cfg");
    fs::write(
        &haproxy,
        format!(
            "defaults\n  mode http\n  timeout client 3s\n  timeout server 3s\n  timeout connect 3s\nfrontend f\n  bind {HAPROXY}\n  \
             http-request return status 200 hdr read-host \"%[req.hdr(host),host_only,lower]\"\n"
        ),
    )?;
    let python = directory.join("server.py");
    fs::write(&python, PYTHON_SERVER)?;
    let all = [
        Process::start("nginx", directory, lab.gate.cmd("nginx").arg("-c").arg(&nginx)),
        Process::start("haproxy", directory, lab.gate.cmd("haproxy").args(["-db", "-f"]).arg(&haproxy)),
        Process::start("python", directory, lab.gate.cmd("python3").arg(&python).arg(PYTHON)),
    ];
    let [mut nginx, mut haproxy, mut python] = all.map(|started| started.context("a server"));
    for (server, (_, address)) in [&mut nginx, &mut haproxy, &mut python].into_iter().zip(SERVERS) {
        let server = server.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let good = b"GET / HTTP/1.1\r\nHost: up.example\r\n\r\n";
        server.wait_ready(Duration::from_secs(20), || {
            lab.gate.enter(|| ask(address, good) == ["up.example"]).unwrap_or(false)
        })?;
    }
    Ok([nginx?, haproxy?, python?])
}

pub(crate) const PYTHON_SERVER: &str = r#"
import http.server, socket, socketserver, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 3

    def answer(self):
        if self.path.startswith("http://"):
            host = self.path.split("/")[2]
        else:
            host = self.headers.get("Host", "")
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            while size := int(self.rfile.readline().strip() or b"0", 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200 if host else 400)
        if host:
            self.send_header("read-host", host.rsplit(":", 1)[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

host, port = sys.argv[1].rsplit(":", 1)
if host.startswith("["):
    Server.address_family = socket.AF_INET6
    host = host.strip("[]")
Server((host, int(port)), Handler).serve_forever()
"#;
