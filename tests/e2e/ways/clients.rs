//! The clients that Squid has had: each by the proxy variables alone, let through and refused, over IPv4 and IPv6.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::gate::{Gate, Options};
use lab::netns;
use lab::s3::{AUTHORIZATION, S3};

use super::{closed, text};

const LISTENERS: [&str; 2] = [
    "{ bind: \"0.0.0.0:3128\", protocol: connect, destination: none }",
    "{ bind: \"[::]:3128\", protocol: connect, destination: none }",
];
/// Who may ask for `reports`, and for nothing else.
const PROXIES: [&str; 2] = ["10.20.0.1", "2001:db8:20::1"];

/// A client: what it is called here, and what it prints of a host that is refused. A person must understand that.
const CLIENTS: &[(&str, &str)] = &[
    // It says why only with `--debug`, of whatever proxy.
    ("awscli", "Failed to connect to proxy URL: \"http://10.20.0.1:3128\""),
    ("awscli --debug", "Tunnel connection failed: 403 Forbidden (sekisho: no_rule)"),
    ("boto3", "Tunnel connection failed: 403 Forbidden (sekisho: no_rule)"),
    ("curl", "CONNECT tunnel failed, response 403"),
    ("undici", "Proxy response (403) !== 200 when HTTP Tunneling"),
    ("https-proxy-agent", "403"),
    ("java", "Unable to tunnel through proxy. Proxy returns \"HTTP/1.1 403 Forbidden (sekisho: no_rule)\""),
    ("go", "Forbidden (sekisho: no_rule)"),
    ("git", "CONNECT tunnel failed, response 403"),
];

const BOTO3: &str = "import boto3, sys; print(boto3.client('s3').list_objects_v2(Bucket=sys.argv[1])['KeyCount'])";

/// What the clients are run with.
struct Bench<'lab> {
    lab: &'lab Lab,
    s3: &'lab S3,
    go: PathBuf,
}

impl Bench<'_> {
    /// The client's program, asking for something in `bucket`.
    fn command(&self, client: &str, bucket: &str, proxy: &str) -> Command {
        let Self { lab, s3, go } = self;
        let ca = s3.authority.ca_file();
        let url = format!("https://{bucket}.s3.ap-northeast-1.amazonaws.com/?list-type=2");
        let sources = lab::workspace().join("tests/clients");
        let (_, authorization) = AUTHORIZATION.split_once(": ").unwrap_or_default();
        let node = |file: &str| {
            let mut node = lab.client.cmd("node");
            node.arg(sources.join(file)).args([&url, authorization]).env("NODE_EXTRA_CA_CERTS", &ca);
            node.env("NODE_PATH", lab::workspace().join("target/node/node_modules"));
            node
        };
        let mut command = match client {
            "awscli" => s3.aws(&lab.client, ["s3", "ls", &format!("s3://{bucket}/")]),
            "awscli --debug" => s3.aws(&lab.client, ["--debug", "s3", "ls", &format!("s3://{bucket}/")]),
            "boto3" => s3.python(&lab.client, BOTO3, [bucket]),
            "curl" => s3.curl(&lab.client, ["--header", AUTHORIZATION, &url]),
            "undici" => node("fetch.cjs"),
            "https-proxy-agent" => node("agent.cjs"),
            "java" => {
                let mut java = lab.client.cmd("java");
                java.args([format!("-Dhttps.proxyHost={proxy}"), "-Dhttps.proxyPort=3128".to_owned()]);
                java.arg("-Xshare:auto").arg(sources.join("Client.java")).arg(&ca).args([&url, authorization]);
                java
            }
            "go" => {
                let mut command = lab.client.cmd(go);
                command.args(["GET", &url]).env("SSL_CERT_FILE", &ca).env("AUTHORIZATION", authorization);
                command
            }
            _ => {
                let mut git = lab.client.cmd("git");
                git.args(["-c", &format!("http.extraHeader={AUTHORIZATION}"), "ls-remote", "--exit-code"])
                    .arg(format!("https://{bucket}.s3.ap-northeast-1.amazonaws.com/repository.git"))
                    .env("GIT_SSL_CAINFO", &ca)
                    .env("GIT_CONFIG_NOSYSTEM", "1")
                    .env("HOME", lab.directory());
                git
            }
        };
        let host = if proxy.contains(':') { format!("[{proxy}]") } else { proxy.to_owned() };
        let proxy = format!("http://{host}:3128");
        command.env("HTTPS_PROXY", &proxy).env("https_proxy", proxy);
        command
    }
}

#[test]
fn the_clients_that_squid_had_are_served_unchanged_and_understand_a_refusal() -> Result<()> {
    let lab = Lab::new("clients")?;
    let s3 = S3::start(&lab, &["reports", "secret"])?;
    repository(&lab, &s3, "reports")?;
    let mut options = Options::listing(&["reports"]);
    options.listeners = LISTENERS.map(str::to_owned).to_vec();
    let gate = Gate::start(&lab, &options)?;
    let bench = Bench { lab: &lab, s3: &s3, go: go_client(lab.directory())? };

    // All at once: most of their time is their own start.
    let asked: Vec<_> = CLIENTS
        .iter()
        .flat_map(|&(client, says)| {
            let allowed = PROXIES.map(|proxy| (client, "reports", proxy, None));
            let allowed = allowed.into_iter().filter(|_| !client.contains("--debug"));
            allowed.chain([(client, "secret", PROXIES[0], Some(says))])
        })
        .collect();
    let answers: Vec<Result<Output>> = thread::scope(|scope| {
        let running: Vec<_> = asked
            .iter()
            .map(|&(client, bucket, proxy, _)| {
                let mut command = bench.command(client, bucket, proxy);
                scope.spawn(move || command.output().with_context(|| format!("cannot start {client}")))
            })
            .collect();
        running.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a panic"))?).collect()
    });
    let mut served = 0;
    for ((client, bucket, proxy, refused), output) in asked.iter().zip(answers) {
        let output = output?;
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let last = said.get(said.len().saturating_sub(400)..).unwrap_or(&said);
        println!("{client}, {bucket} by {proxy}: {}", last.trim());
        ensure!(output.status.success() == refused.is_none(), "{client}, {bucket} by {proxy}: {said}");
        ensure!(said.contains(refused.unwrap_or("")), "{client} says of {bucket}: {said}");
        served += usize::from(refused.is_none());
    }

    let lines = closed(&gate, asked.len())?;
    let count = |verdict| lines.iter().filter(|line| text(line, "verdict") == verdict).count();
    ensure!(count("allowed") >= served && count("refused") >= CLIENTS.len(), "{lines:?}");
    ensure!(count("allowed") + count("refused") == lines.len(), "{lines:?}");
    for line in &lines {
        ensure!((text(line, "protocol"), text(line, "method")) == ("connect", "CONNECT"), "{line}");
        let secret = text(line, "host").starts_with("secret.");
        ensure!(secret == (text(line, "reason") == "no_rule"), "{line}");
    }
    let over_ipv6 = lines.iter().filter(|line| text(line, "client").starts_with("[2001:db8:20::2]")).count();
    ensure!(over_ipv6 >= CLIENTS.len(), "{over_ipv6} over IPv6");
    Ok(())
}

/// A git repository in a bucket, to be read over plain HTTPS ("dumb").
fn repository(lab: &Lab, s3: &S3, bucket: &str) -> Result<()> {
    let directory = lab.directory().join("repository.git");
    let script = "set -e; git init -q --bare --template= \"$0\"; cd \"$0\"; tree=$(git hash-object -w -t tree /dev/null); \
                  git update-ref refs/heads/main $(git -c user.name=a -c user.email=a commit-tree -m one $tree); \
                  git update-server-info";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(&directory).env("HOME", lab.directory()).env("GIT_CONFIG_NOSYSTEM", "1");
    netns::run(&mut shell)?;
    let mut copy = s3.aws(&lab.client, ["s3", "cp", "--recursive", "--quiet"]);
    netns::run(copy.arg(&directory).arg(format!("s3://{bucket}/repository.git/"))).map(drop)
}

/// Builds the client in Go.
pub(super) fn go_client(directory: &Path) -> Result<PathBuf> {
    let built = directory.join("go-client");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&built).arg(lab::workspace().join("tests/clients/client.go"));
    go.env("GO111MODULE", "off").env("GOCACHE", lab::workspace().join("target/go"));
    netns::run(&mut go).context("cannot build the client in Go: run `cargo xtask setup`")?;
    Ok(built)
}
