//! The pairs of `pairs.txt`: who talks to whom, how, and what must be seen of it.

use anyhow::{Context, Result, bail, ensure};

use super::{DOMAIN, Seen};

/// A program, or a library by a program of ours in `tests/pairs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    OpenSsl,
    GnuTls,
    Nss,
    Python,
    /// The OpenSSL of Python's `cryptography`, newer than the system's.
    PyOpenSsl,
    Node,
    Go,
    Java,
    Rustls,
    Curl,
    Chromium,
    Nginx,
}

/// One side: the program and its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side(pub(super) Program, pub(super) &'static str);

/// One pair.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The heading that it stands under.
    pub(super) section: &'static str,
    /// Its server's first label.
    pub(super) name: &'static str,
    pub(super) client: Side,
    pub(super) server: Side,
    /// What it is about, in the table.
    pub(super) about: &'static str,
    /// What each side's words or the wire must show, with the gate and without it.
    pub(super) expect: Vec<&'static str>,
    /// What is said to the client's program after the first exchange, and what it must then print.
    pub(super) during: Option<(&'static str, &'static str)>,
}

/// All pairs, in the file's order.
pub(super) fn all() -> Result<Vec<Row>> {
    let (mut section, mut rows) = ("", Vec::new());
    let (_, lines) = include_str!("pairs.txt").split_once("\n\n").context("no pairs")?;
    for line in lines.lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("# ") {
            section = heading;
            continue;
        }
        rows.push(Row::read(section, line).with_context(|| format!("not a pair: {line}"))?);
    }
    Ok(rows)
}

impl Row {
    fn read(section: &'static str, line: &'static str) -> Result<Self> {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let (cells, during) = match &cells[..] {
            [cells @ .., during] if cells.len() == 5 => (cells, during.split_once(" → ")),
            cells => (cells, None),
        };
        let &[name, client, server, about, expect] = cells else { bail!("{} cells", cells.len()) };
        let (client, server) = (Side::read(client)?, Side::read(server)?);
        Ok(Self { section, name, client, server, about, expect: expect.split("; ").collect(), during })
    }

    pub(super) fn host(&self) -> String {
        format!("{}.{DOMAIN}", self.name)
    }

    /// Whether how many connections the client makes is its own affair.
    pub(super) fn is_a_browser(&self) -> bool {
        self.client.0 == Program::Chromium
    }

    /// Both runs were alike, and showed what they must.
    pub(super) fn check(&self, direct: &Seen, through: &Seen, server: &[String]) -> Result<()> {
        let told = |all: &[String]| {
            let mut all = all.to_vec();
            if self.is_a_browser() {
                all.sort();
                all.dedup();
            }
            all
        };
        for (direct, through) in [(&direct.client, &through.client), (&direct.wire, &through.wire)] {
            let (direct, through) = (told(direct), told(through));
            ensure!(direct == through, "without the gate {direct:#?}, through it {through:#?}");
        }
        let all = [&through.client[..], &through.wire, server].concat();
        for expected in &self.expect {
            ensure!(all.iter().any(|fact| fact.contains(expected)), "no {expected:?} in {all:#?}");
        }
        Ok(())
    }
}

impl Side {
    fn read(cell: &'static str) -> Result<Self> {
        let (program, words) = cell.split_once(' ').unwrap_or((cell, ""));
        let program = match program {
            "OpenSsl" => Program::OpenSsl,
            "GnuTls" => Program::GnuTls,
            "Nss" => Program::Nss,
            "Python" => Program::Python,
            "PyOpenSsl" => Program::PyOpenSsl,
            "Node" => Program::Node,
            "Go" => Program::Go,
            "Java" => Program::Java,
            "Rustls" => Program::Rustls,
            "Curl" => Program::Curl,
            "Chromium" => Program::Chromium,
            "Nginx" => Program::Nginx,
            other => bail!("no program {other}"),
        };
        Ok(Self(program, words))
    }
}
