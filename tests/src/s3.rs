//! A real S3 server (moto) over TLS on every address of the servers' side, and the AWS programs that talk to it.

use std::ffi::OsStr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::certs::Authority;
use crate::netns::{self, Netns};
use crate::place::tools;
use crate::process::Process;
use crate::topology::Lab;

/// The region whose names the server's certificate covers.
pub const REGION: &str = "ap-northeast-1";

/// A header that makes a bare request one by an authenticated user, to a server that checks no signature.
pub const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=lab/20260101/ap-northeast-1/s3/aws4_request, \
                                 SignedHeaders=host, Signature=0";

/// A running S3 server with buckets in it.
#[derive(Debug)]
pub struct S3 {
    /// The authority that its certificate comes from.
    pub authority: Authority,
    server: Process,
}

impl S3 {
    /// Starts the server on port 443 and makes the buckets.
    ///
    /// # Errors
    /// Fails when `cargo xtask setup` has not been run, or the server does not start.
    pub fn start(lab: &Lab, buckets: &[&str]) -> Result<Self> {
        let program = tools().join("moto_server");
        if !program.is_file() {
            bail!("moto is not installed: run `cargo xtask setup`");
        }
        let authority = Authority::new(lab.directory())?;
        let names = [
            "s3.ap-northeast-1.amazonaws.com",
            "*.s3.ap-northeast-1.amazonaws.com",
            "*.s3-ap-northeast-1.amazonaws.com",
            "*.s3.dualstack.ap-northeast-1.amazonaws.com",
            "s3.amazonaws.com",
            "*.s3.amazonaws.com",
        ];
        let (cert, key) = authority.issue("s3", &names)?;
        let mut command = lab.servers.cmd(program);
        command.args(["-H", "::", "-p", "443", "-s", "-c"]).arg(cert).arg("-k").arg(key);
        let mut server = Process::start("s3", lab.directory(), &mut command)?;
        // moto imports for seconds on a busy machine.
        server.wait_ready(Duration::from_secs(90), || {
            lab.servers.enter(|| TcpStream::connect("198.18.1.1:443").is_ok()).unwrap_or(false)
        })?;
        let s3 = Self { authority, server };
        for bucket in buckets {
            s3.make_bucket(lab, bucket)?;
        }
        Ok(s3)
    }

    /// Makes a bucket, from the server's side.
    ///
    /// # Errors
    /// Fails when the server refuses.
    pub fn make_bucket(&self, lab: &Lab, bucket: &str) -> Result<()> {
        let body = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        let mut curl = lab.servers.cmd("curl");
        curl.args(["--silent", "--show-error", "--fail-with-body", "--request", "PUT", "--cacert"])
            .arg(self.authority.ca_file())
            .args(["--connect-to", "::198.18.1.1:443", "--header", AUTHORIZATION])
            .args(["--header", "Content-Type: application/xml", "--data", &body])
            .arg(format!("https://{bucket}.s3.{REGION}.amazonaws.com/"));
        netns::run(&mut curl).with_context(|| format!("cannot make bucket {bucket}")).map(drop)
    }

    /// `aws …` in a namespace, with dummy credentials, the region, and the lab's authority. No endpoint: the names are AWS's.
    pub fn aws<A: AsRef<OsStr>>(&self, ns: &Netns, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = ns.cmd(tools().join("aws"));
        command.args(args);
        self.configure(&mut command);
        command
    }

    /// A Python program (boto3 is there) in a namespace, configured as [`S3::aws`] is.
    pub fn python<A: AsRef<OsStr>>(&self, ns: &Netns, script: &str, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = ns.cmd(tools().join("python"));
        command.arg("-c").arg(script).args(args);
        self.configure(&mut command);
        command
    }

    /// `curl` in a namespace, trusting the lab's authority, silent but for errors.
    pub fn curl<A: AsRef<OsStr>>(&self, ns: &Netns, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = ns.cmd("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.authority.ca_file())
            .args(args);
        command
    }

    /// Gives a command the environment that AWS's SDKs read: dummy credentials, the region, the lab's authority.
    pub fn configure(&self, command: &mut Command) {
        let ca: PathBuf = self.authority.ca_file();
        command
            .env("AWS_CA_BUNDLE", ca)
            .env("AWS_ACCESS_KEY_ID", "lab")
            .env("AWS_SECRET_ACCESS_KEY", "lab")
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("AWS_EC2_METADATA_DISABLED", "true");
    }

    /// The server's process, to be stopped or looked at.
    pub fn process(&mut self) -> &mut Process {
        &mut self.server
    }
}
