//! How each server is started, and what of its words tells what it saw.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use lab::Lab;

use super::cast::Files;
use super::rows::{Program, Row};

/// What a server does with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    Reverse,
    Echo,
    Http,
    /// Nothing.
    Listen,
}

pub(super) fn talk(row: &Row) -> Talk {
    match row.server.0 {
        Program::OpenSsl if !row.server.1.contains("-rev") => Talk::Listen,
        Program::GnuTls => Talk::Echo,
        Program::Nss | Program::Nginx => Talk::Http,
        _ => Talk::Reverse,
    }
}

/// The command of a row's server, which listens on `port` of every address.
pub(super) fn command(lab: &Lab, files: &Files, row: &Row, port: u16) -> Result<Command> {
    let words = row.server.1.replace("{certs}", &files.directory());
    let words: Vec<&str> = words.split_ascii_whitespace().collect();
    let (cert, key, ca, port) = (&files.cert, &files.key, &files.ca, port.to_string());
    let ns = &lab.servers;
    let mut command = match row.server.0 {
        Program::OpenSsl => {
            let mut command = ns.cmd("stdbuf");
            command
                .args(["-oL", "openssl", "s_server", "-accept", &port, "-cert"])
                .arg(cert)
                .arg("-key")
                .arg(key)
                .arg("-CAfile")
                .arg(ca);
            command
        }
        Program::GnuTls => {
            let mut command = ns.cmd("gnutls-serv");
            command.args(["--echo", "--port", &port]);
            for (option, file) in [("--x509certfile", cert), ("--x509keyfile", key), ("--x509cafile", ca)] {
                command.arg(option).arg(file);
            }
            command
        }
        Program::Nss => {
            let mut command = ns.cmd("selfserv");
            command.args([
                "-d",
                &format!("sql:{}/nss", files.directory()),
                "-n",
                "server",
                "-p",
                &port,
                "-v",
                "-H",
                "1",
            ]);
            command
        }
        Program::Nginx => return nginx(lab, files, row, &port),
        program => {
            let mut command = files.own_program(ns, program, &words)?;
            command.args(["server", &port]).arg(word("ca", ca)).arg(word("cert", cert));
            command.arg(word("key", key));
            command
        }
    };
    command.args(words.iter().filter(|word| !word.starts_with("-D")));
    Ok(command)
}

/// A file as `key=value`.
pub(super) fn word(key: &str, file: &Path) -> String {
    format!("{key}={}", file.display())
}

/// It logs to its standard output what others of ours print.
fn nginx(lab: &Lab, files: &Files, row: &Row, port: &str) -> Result<Command> {
    let directory = lab.directory().join(format!("nginx-{}", row.name));
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("index.html"), "<p>passed</p>\n")?;
    let seen = "version=$ssl_protocol cipher=$ssl_cipher alpn=$ssl_alpn_protocol resumed=$ssl_session_reused";
    // A directive, if there is a word.
    let more = row.server.1.replace('=', " ");
    let more = if more.is_empty() { more } else { format!("{more};\n") };
    let (cert, key, root) = (files.cert.display(), files.key.display(), directory.display());
    let config = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n\
         log_format facts 'facts: {seen}';\naccess_log /dev/stdout facts;\n\
         server {{\nlisten {port} ssl http2;\nroot {root};\nssl_certificate {cert};\nssl_certificate_key {key};\n\
         ssl_protocols TLSv1.2 TLSv1.3;\n{more}}}\n}}\n"
    );
    std::fs::write(directory.join("nginx.conf"), config)?;
    let mut command = lab.servers.cmd("nginx");
    command.arg("-p").arg(&directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "stderr"]);
    Ok(command)
}

/// Whether a line `facts: …` tells of each connection.
pub(super) fn prints_lines_of_ours(program: Program) -> bool {
    !matches!(program, Program::OpenSsl | Program::GnuTls | Program::Nss)
}

/// The lines that tell what the server saw of its connections.
pub(super) fn facts(program: Program, said: &str) -> Vec<String> {
    let phrases: &[&str] = match program {
        Program::OpenSsl => &["Protocol version:", "Ciphersuite:", "Peer certificate:", "CIPHER is", "Reused"],
        Program::GnuTls => &["- Description:", "- Application protocol:", "*** This is a resumed session"],
        Program::Nss => &["SSL version", "Key Exchange:", "subject DN:"],
        _ => &["facts:", "broken:"],
    };
    lines(said, phrases)
}

pub(super) fn lines(said: &str, phrases: &[&str]) -> Vec<String> {
    let tells = |line: &&str| phrases.iter().any(|phrase| line.contains(phrase));
    // OpenSSL writes names with blanks until 3.2.
    said.lines().map(str::trim).filter(tells).map(|line| line.replace(" = ", "=")).collect()
}
