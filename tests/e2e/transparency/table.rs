//! `docs/transparency.md`.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use lab::workspace;

use super::rows::{Program, Row};

const HEAD: &str = "\
# Transparency

What passes the gate is what was sent. sekisho reads the beginning of a connection and changes nothing: each byte that a
client sends arrives at the server, each byte of the server's at the client, in order, and an end or a reset arrives as
what it was. The pairs of real programs below are the proof.

Each pair talks twice: by plain routing, and redirected through the gate. For every connection of it

- both wires of the gate, the client's and the server's, are captured and put together again. Both directions have the
  same bytes on both, from the first to the last, and whoever ended first ended in the same way on the other side. (Who
  closes with a reset throws away what is still on its way, with a gate between or without one: what the other side sends
  behind his last words may then be missing.)
- both programs say the same as without the gate: version, cipher suite, protocol, certificates, resumed or not, early
  data accepted or not. So does what a wire shows of a handshake: the server's choice of version and key exchange, a
  second hello, how the hello was cut.
- what the last column says was seen in those words.
- the access log has as many connections, all allowed, and as many bytes of each as the wire.

The test writes this page and fails when it does not say what was seen (`transparency` in `tests/e2e`, with the pairs in
`tests/e2e/transparency/pairs.txt`). The versions of the programs are those of the machine that it runs on.

One thing does not pass: a second hello that names another host than the first, or none. Of eight of these servers, made to
ask for a second hello, none sees a byte of it; both sides are closed (`sni_changed`).

Not shown: SSL 3.0 and older, which no program has any more, and which the gate refuses (`obsolete_protocol`). NSS's own
server resets connections that brought early data, so that it is not in the table with them.
";

/// The page says of these pairs what they showed; with `SEKISHO_BLESS=1` it is written.
pub(super) fn compare(rows: &[Row]) -> Result<()> {
    let (file, page) = (workspace().join("docs/transparency.md"), page(rows));
    if std::env::var_os("SEKISHO_BLESS").is_some() {
        return std::fs::write(&file, page).context("cannot write the page");
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    ensure!(there == page, "docs/transparency.md does not say what was seen: write it with SEKISHO_BLESS=1");
    Ok(())
}

fn page(rows: &[Row]) -> String {
    let mut page = format!("{HEAD}\n{} pairs:\n", rows.len());
    let mut section = "";
    for row in rows {
        if row.section != section {
            section = row.section;
            let _ = write!(page, "\n## {section}\n\n| Client | Server | About | Seen |\n|---|---|---|---|\n");
        }
        let (client, server) = (name(row.client.0, true), name(row.server.0, false));
        let _ = writeln!(page, "| {client} | {server} | {} | `{}` |", row.about, row.expect.join("` · `"));
    }
    page
}

fn name(program: Program, client: bool) -> &'static str {
    match (program, client) {
        (Program::OpenSsl, true) => "OpenSSL (`s_client`)",
        (Program::OpenSsl, false) => "OpenSSL (`s_server`)",
        (Program::GnuTls, true) => "GnuTLS (`gnutls-cli`)",
        (Program::GnuTls, false) => "GnuTLS (`gnutls-serv`)",
        (Program::Nss, true) => "NSS (`tstclnt`)",
        (Program::Nss, false) => "NSS (`selfserv`)",
        (Program::Python, _) => "Python (`ssl`)",
        (Program::PyOpenSsl, _) => "pyOpenSSL (OpenSSL 4)",
        (Program::Node, _) => "Node.js (`tls`)",
        (Program::Go, _) => "Go (`crypto/tls`)",
        (Program::Java, _) => "Java (`SSLSocket`)",
        (Program::Rustls, _) => "rustls",
        (Program::Curl, _) => "curl",
        (Program::Chromium, _) => "Chromium",
        (Program::Nginx, _) => "nginx",
    }
}
