//! Where a row is proved: a lab with a gate, a client of our own, and a witness of what leaves the gate.

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::Lab;
use lab::dns::Behaviour;
use lab::gate::{Gate, Options};
use lab::metrics::Metrics;
use lab::net::{Counter, Redirect};
use serde_json::Value;

use super::hello::Hello;
use crate::peer::{Server, Task};
use crate::raw::{self, End, Seen};

const TOTAL: &str = "sekisho_connections_total";
/// Where clients dial; the gate dials what its own DNS says.
pub(super) const TO: &str = "198.18.1.7:443";
/// What an echo is asked to send back.
const WORD: &[u8] = b"through";

/// One row of the table: what a client does, and everything that must come of it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// For people.
    pub(super) what: &'static str,
    /// The log's `verdict`.
    pub(super) verdict: &'static str,
    /// The log's `reason`.
    pub(super) reason: &'static str,
    /// The log's `detail`, or that there is none.
    pub(super) detail: Option<&'static str>,
    /// The log's `host`, or that there is none.
    pub(super) host: Option<&'static str>,
    /// The log's `rule`, or that there is none.
    pub(super) rule: Option<&'static str>,
    /// What the client gets.
    pub(super) gets: Gets,
    /// What the servers' side sees meanwhile.
    pub(super) upstream: Upstream,
    /// What comes first, and is kept until the row is proved.
    pub(super) prepare: for<'lab> fn(&mut Stage<'lab>) -> Result<Held<'lab>>,
    /// What the client does, and sees.
    pub(super) act: fn(&mut Stage<'_>) -> Result<Seen>,
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gets {
    /// This alert, then the end of data.
    Alert(u8),
    /// A reset, and nothing before it.
    Reset,
    /// No byte; it has left, or ends its side.
    Nothing,
    /// An HTTP answer of this status that names the reason, then the end of data.
    Status(u16),
    /// The server: an echo of [`WORD`], then the end of data.
    Served,
}

/// What the servers' side sees of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Not a packet.
    Untouched,
    /// Attempts to connect, but not a byte of payload.
    Dialled,
    /// The connection and its payload.
    Reached,
}

/// Things that a row needs until it is proved.
pub(super) type Held<'lab> = Vec<Box<dyn Debug + 'lab>>;

/// For rows that need nothing before the client comes.
#[expect(clippy::unnecessary_wraps, reason = "one of the functions that prepare a row; others can fail")]
pub(super) fn nothing<'lab>(_: &mut Stage<'lab>) -> Result<Held<'lab>> {
    Ok(Vec::new())
}

pub(super) struct Stage<'lab> {
    pub(super) lab: &'lab Lab,
    pub(super) gate: Gate<'lab>,
    witnesses: [Counter<'lab>; 2],
    _redirect: Redirect<'lab>,
    server: Server,
    descriptors: usize,
    /// The log's close lines that an earlier gate of the same lab has left.
    others: usize,
}

impl<'lab> Stage<'lab> {
    /// Starts the gate, with a route from it to everywhere, so that no dial fails for want of one, and an echo server on
    /// every address of the lab and of [`far_networks`].
    pub(super) fn start(lab: &'lab Lab, options: &Options) -> Result<Self> {
        lab.gate.run("ip", ["route", "replace", "default", "via", "10.88.0.2"])?;
        lab.gate.run("ip", ["-6", "route", "replace", "default", "via", "2001:db8:88::2"])?;
        for network in far_networks() {
            lab.servers.run("ip", ["route", "replace", "local", network, "dev", "lo"])?;
        }
        let gate = Gate::start(lab, options)?;
        let witnesses = [Counter::towards(lab, "0.0.0.0/0")?, Counter::towards(lab, "::/0")?];
        for (witness, nobody) in witnesses.iter().zip(["198.18.1.7:9", "[2001:db8:18::1:7]:9"]) {
            let refused = lab.gate.enter(|| TcpStream::connect(nobody).is_err())?;
            // One that sees nothing proves nothing.
            ensure!(refused && witness.syns()? == 1, "a connection to {nobody} was not seen");
        }
        Ok(Self {
            lab,
            server: Server::start(lab)?,
            descriptors: usize::try_from(options.descriptors)?,
            others: gate.wait_closed(Duration::ZERO, |_| true)?.len(),
            gate,
            _redirect: Redirect::nftables(lab)?,
            witnesses,
        })
    }

    /// Proves rows one after the other.
    pub(super) fn prove(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            self.prove_one(row).with_context(|| format!("{} ({})", row.what, row.reason))?;
        }
        Ok(())
    }

    fn prove_one(&mut self, row: &Row) -> Result<()> {
        self.wait_active(0)?;
        let held = (row.prepare)(self)?;
        let before = self.gate.metrics()?;
        // The log is written a little later than the metrics.
        let lines_before = self.closed(|lines| of_count(lines.len() - self.others) >= before.sum(TOTAL, &[]))?.len();
        let (packets, payloads) = (self.witnessed(Counter::packets)?, self.witnessed(Counter::payloads)?);
        let syns = self.witnessed(Counter::syns)?;

        let seen = (row.act)(self)?;
        row.gets.compare(&seen, row.reason)?;

        let lines = self.closed(|lines| lines.len() > lines_before)?;
        let after = self.gate.metrics()?;
        let new = lines.get(lines_before..).unwrap_or_default();
        let [line] = new else { anyhow::bail!("{} close lines for one connection: {new:?}", new.len()) };
        row.compare(line)?;
        let labels = [("verdict", row.verdict), ("reason", row.reason)];
        ensure!(rose(&before, &after, &labels, 1), "the metric says {:?}", after.moved_since(&before));
        ensure!(rose(&before, &after, &[], 1), "more than one was counted: {:?}", after.moved_since(&before));

        let packets = self.witnessed(Counter::packets)? - packets;
        let payloads = self.witnessed(Counter::payloads)? - payloads;
        let syns = self.witnessed(Counter::syns)? - syns;
        let as_expected = match row.upstream {
            Upstream::Untouched => packets == 0,
            Upstream::Dialled => syns > 0 && payloads == 0,
            Upstream::Reached => syns > 0 && payloads > 0,
        };
        ensure!(as_expected, "the servers saw {packets} packets, {syns} SYNs, {payloads} with payload");
        drop(held);
        Ok(())
    }

    fn witnessed(&self, what: fn(&Counter<'lab>) -> Result<u64>) -> Result<u64> {
        self.witnesses.iter().map(what).sum()
    }

    /// The log's close lines, once they are enough.
    fn closed(&self, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        self.gate.wait_closed(Duration::from_secs(5), enough)
    }

    /// Waits until the gate has so many connections open.
    pub(super) fn wait_active(&self, count: u32) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let active = self.gate.metrics()?.sum("sekisho_connections_active", &[]);
            if active.to_bits() == f64::from(count).to_bits() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{active} connections are open, not {count}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the echo server has accepted so many connections that are still open.
    pub(super) fn wait_reached(&self, count: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.server.accepted() < count {
            ensure!(Instant::now() < deadline, "{} connections reached the server", self.server.accepted());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until the gate may open so many descriptors more.
    pub(super) fn wait_free_descriptors(&mut self, count: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let free = self.free_descriptors()?;
            if free == count {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{free} descriptors are free, not {count}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The most of a few looks: the gate opens a file or a socket for a moment now and then.
    fn free_descriptors(&mut self) -> Result<usize> {
        let mut most = 0;
        for _ in 0..5 {
            let mut taken = 0;
            for entry in std::fs::read_dir(format!("/proc/{}/fd", self.gate.process().pid()))? {
                // Whatever started the test may have left it a descriptor beyond what the gate's limit is about.
                let number: usize = entry?.file_name().to_string_lossy().parse()?;
                taken += usize::from(number < self.descriptors);
            }
            most = most.max(self.descriptors - taken);
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(most)
    }

    /// Silent connections that leave the gate so few descriptors.
    pub(super) fn starve(&mut self, leave: usize) -> Result<Held<'lab>> {
        let mut held: Held<'lab> = Vec::new();
        for _ in leave..self.free_descriptors()? {
            held.push(Box::new(self.connect(None, TO)?));
        }
        self.wait_free_descriptors(leave)?;
        Ok(held)
    }

    /// What the gate's DNS says of a name.
    pub(super) fn answers(&self, name: &str, behaviour: Behaviour) {
        self.lab.gate_dns.set_name(name, behaviour);
    }

    /// The gate's DNS gives a name these addresses.
    pub(super) fn resolves(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let addresses = addresses.iter().map(|address| address.parse::<IpAddr>());
        self.answers(name, Behaviour::Addresses(addresses.collect::<Result<_, _>>()?));
        Ok(())
    }

    /// A client that sends this and waits.
    pub(super) fn say(&self, bytes: &[u8]) -> Result<Seen> {
        self.say_to(TO, bytes)
    }

    /// A client that dials elsewhere, sends this and waits.
    pub(super) fn say_to(&self, to: &str, bytes: &[u8]) -> Result<Seen> {
        use std::io::Write;
        raw::converse(&self.lab.client, to.parse()?, |stream| stream.write_all(bytes))
    }

    /// A client that asks for a host and would use it.
    pub(super) fn ask_for(&self, host: &str) -> Result<Seen> {
        self.say(&Hello::to(host).bytes())
    }

    /// A client that uses a host: the server is to send a word back.
    pub(super) fn use_host(&self, host: &str) -> Result<Seen> {
        self.use_by(&Hello::to(host))
    }

    /// The same by a hello of its own.
    pub(super) fn use_by(&self, hello: &Hello) -> Result<Seen> {
        use std::io::Write;
        let bytes = [&hello.bytes()[..], &Task::Echo.bytes(), WORD].concat();
        raw::converse(&self.lab.client, TO.parse()?, |stream| {
            stream.write_all(&bytes)?;
            stream.shutdown(std::net::Shutdown::Write)
        })
    }

    /// So many connections of a client's that say nothing, once the gate has them.
    pub(super) fn hold(&self, count: u32) -> Result<Held<'lab>> {
        let held = (0..count).map(|_| Ok(Box::new(self.connect(None, TO)?) as Box<dyn Debug>)).collect();
        self.wait_active(count)?;
        held
    }

    /// A connection of a client's, from one of its addresses if it matters which.
    pub(super) fn connect(&self, from: Option<&str>, to: &str) -> Result<TcpStream> {
        let from = from.map(str::parse).transpose()?;
        raw::connect(&self.lab.client, from, to.parse::<SocketAddr>()?)
    }
}

impl Row {
    fn compare(&self, line: &Value) -> Result<()> {
        let text = |key| line.get(key).and_then(Value::as_str);
        ensure!(text("verdict") == Some(self.verdict), "the verdict in {line}");
        ensure!(text("reason") == Some(self.reason), "the reason in {line}");
        ensure!(text("detail") == self.detail, "the detail in {line}");
        ensure!(text("host") == self.host, "the host in {line}");
        ensure!(text("rule") == self.rule, "the rule in {line}");
        // The third is one that a PROXY header names.
        let clients = ["10.20.0.", "[2001:db8:20::2]:", "192.0.2.7:"];
        let is_client = |address: &str| clients.iter().any(|client| address.starts_with(client));
        ensure!(text("client").is_some_and(is_client), "the client in {line}");
        let by = match self.gets {
            Gets::Alert(_) | Gets::Status(_) | Gets::Reset => "gate",
            Gets::Nothing | Gets::Served => "client",
        };
        ensure!(text("closed_by") == Some(by), "who closed it in {line}");
        Ok(())
    }
}

impl Gets {
    fn compare(self, seen: &Seen, reason: &str) -> Result<()> {
        let Seen { bytes, end, .. } = seen;
        let as_expected = match self {
            Self::Alert(kind) => *bytes == [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, kind] && *end == End::Finished,
            Self::Reset => bytes.is_empty() && *end == End::Reset,
            Self::Nothing => bytes.is_empty() && *end == End::Finished,
            Self::Status(status) => {
                let text = String::from_utf8_lossy(bytes);
                text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains(reason) && *end == End::Finished
            }
            Self::Served => bytes == WORD && *end == End::Finished,
        };
        ensure!(as_expected, "the client got {bytes:02x?} and {end:?}, not {self:02x?}");
        Ok(())
    }
}

/// Networks besides the lab's whose every address the servers' side has, so that a dial to one is seen.
fn far_networks() -> [&'static str; 5] {
    // Private, carrier-grade NAT, cloud metadata, public, unique local.
    ["10.99.0.0/16", "100.64.0.0/16", "169.254.0.0/16", "52.219.0.0/16", "fd99::/64"]
}

fn of_count(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Whether the connections counted under these labels became so many more.
fn rose(before: &Metrics, after: &Metrics, labels: &[(&str, &str)], by: u32) -> bool {
    (after.sum(TOTAL, labels) - before.sum(TOTAL, labels)).to_bits() == f64::from(by).to_bits()
}
