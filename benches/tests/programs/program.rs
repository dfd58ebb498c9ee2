//! Starting the programs, and reading what they print.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use sekisho_benches::figures::Figures;

pub(crate) const LOAD: &str = env!("CARGO_BIN_EXE_load");
pub(crate) const ORIGIN: &str = env!("CARGO_BIN_EXE_origin");
pub(crate) const FLOOR: &str = env!("CARGO_BIN_EXE_floor");
/// Bytes of the hellos that [`load`] sends.
pub(crate) const LARGE: u64 = 1548;
pub(crate) const SMALL: u64 = 326;

/// A program that listens; killed on drop.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    // Kept, so that the program can go on printing.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening ").and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("{line}")), child, _stdout: stdout }
    }

    /// The server, which looks at every byte.
    pub(crate) fn origin() -> Self {
        Self::start(Command::new(ORIGIN).args(["--bind", "127.0.0.1:0", "--threads", "2", "--verify"]))
    }

    /// A floor in front of `to`.
    pub(crate) fn floor(via: &str, to: SocketAddr) -> Self {
        let to = to.to_string();
        Self::start(Command::new(FLOOR).args(["--bind", "127.0.0.1:0", "--threads", "2", "--via", via, "--to", &to]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What load printed, and how it exited.
pub(crate) struct Run {
    pub(crate) figures: Figures,
    pub(crate) status: ExitStatus,
}

/// Runs load to its end, with these words and `--verify`.
pub(crate) fn load(to: SocketAddr, words: &str) -> Run {
    Started::new(to, words).end()
}

/// Runs load, and wants all to be well.
pub(crate) fn load_well(to: SocketAddr, words: &str) -> Figures {
    let Run { figures, status } = load(to, words);
    assert_eq!((figures.failed, figures.refused), (0, 0), "{words}: {figures:?}");
    assert!(status.success());
    figures
}

/// load while it runs.
pub(crate) struct Started {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Started {
    pub(crate) fn new(to: SocketAddr, words: &str) -> Self {
        let port = to.port().to_string();
        let fixed = ["--to", "127.0.0.1", "--port", &port, "--verify", "--names"].map(OsStr::new);
        let mut command = Command::new(LOAD);
        command.args(fixed).arg(names()).args(words.split(' '));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("load starts");
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    pub(crate) fn say_go(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    pub(crate) fn end(mut self) -> Run {
        let line = self.line();
        let status = self.child.wait().unwrap();
        let figures = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Run { figures, status }
    }
}

/// A file of a thousand names.
fn names() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("names");
    let names = (0..1000).fold(String::new(), |mut names, i| {
        let _ = writeln!(names, "b{i:04}.s3.ap-northeast-1.amazonaws.com");
        names
    });
    // Tests run at once, and none may see half a file.
    let new = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(new.path(), names).unwrap();
    new.persist(&path).unwrap();
    path
}
