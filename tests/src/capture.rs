//! What is on a wire: TCP conversations by capture, put together again byte by byte.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::Lab;
use crate::netns::Netns;
use crate::process::Process;

/// A running tcpdump; killed on drop.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    file: PathBuf,
}

/// One TCP connection as a wire has it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Who opened it.
    pub client: SocketAddrV4,
    /// Towards whom.
    pub server: SocketAddrV4,
    /// From the client.
    pub up: Half,
    /// From the server.
    pub down: Half,
}

/// What one side of a connection has sent.
#[derive(Clone, Debug, Default)]
pub struct Half {
    /// All of it, in order; without what a gap hides.
    pub bytes: Vec<u8>,
    /// How it ended first, and when: microseconds since 1970.
    pub end: Option<(End, u64)>,
    /// Whether it has reset, even behind its end: what comes for a socket that is closed is answered so.
    pub reset: bool,
    /// Payloads of packets: what precedes them, and when they were seen.
    segments: Vec<(u32, u64, Vec<u8>)>,
    first: Option<u32>,
    last: Option<u32>,
}

/// How a side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It finished.
    Fin,
    /// It broke off.
    Reset,
}

impl Capture {
    /// Starts capturing TCP over IPv4 of one port on an interface, and waits until the kernel hands packets over.
    ///
    /// # Errors
    /// Fails without tcpdump.
    pub fn start(lab: &Lab, ns: &Netns, interface: &str, port: u16, name: &str) -> Result<Self> {
        let file = lab.directory().join(format!("{name}.pcap"));
        let mut command = ns.cmd("tcpdump");
        // Every packet whole and at once, kept as root in a buffer that bursts fit in.
        command.args(["-i", interface, "-n", "-s", "0", "-U", "--immediate-mode", "-B", "65536", "-Z", "root", "-w"]);
        command.arg(&file).arg(format!("ip and tcp port {port}"));
        let mut tcpdump = Process::start(name, lab.directory(), &mut command)?;
        let mut said = String::new();
        let output = lab.directory().join(format!("{name}.stderr"));
        tcpdump.wait_ready(Duration::from_secs(30), || {
            said = fs::read_to_string(&output).unwrap_or_default();
            said.contains("listening on")
        })?;
        Ok(Self { tcpdump, file })
    }

    /// Ends once there are so many conversations and all of them are whole; returns them in the order of their beginnings.
    ///
    /// # Errors
    /// Fails when that is not so after `limit`, when packets were lost to the capture, or when they contradict each other.
    pub fn finish(mut self, limit: Duration, at_least: usize) -> Result<Vec<Conversation>> {
        let deadline = Instant::now() + limit;
        let partial = loop {
            let all = conversations(&fs::read(&self.file)?)?;
            let partial: Vec<_> = all.iter().filter(|one| !one.is_whole()).map(Conversation::shown).collect();
            if all.len() >= at_least && partial.is_empty() || Instant::now() >= deadline {
                break partial;
            }
            thread::sleep(Duration::from_millis(100));
        };
        self.tcpdump.signal(Signal::INT)?;
        self.tcpdump.wait(Duration::from_secs(30))?;
        let said = self.tcpdump.stderr();
        ensure!(said.contains("\n0 packets dropped by kernel"), "the capture is not complete: {said}");
        ensure!(partial.is_empty(), "not whole after {limit:?}:\n{}", partial.join("\n"));
        let all = conversations(&fs::read(&self.file)?)?;
        ensure!(all.len() >= at_least, "{} conversations after {limit:?}, not {at_least}", all.len());
        Ok(all)
    }
}

impl Conversation {
    /// Whether both sides have ended, and every byte from their beginnings to there is known.
    pub fn is_whole(&self) -> bool {
        let fin = |half: &Half| matches!(half.end, Some((End::Fin, _)));
        let over = fin(&self.up) && fin(&self.down) || self.up.reset || self.down.reset;
        over && self.up.has_no_gap() && self.down.has_no_gap()
    }
}

impl Conversation {
    fn shown(&self) -> String {
        let half = |half: &Half| format!("{} bytes of {:?}, end {:?}", half.bytes.len(), half.last, half.end);
        format!("{} to {}: up {}, down {}", self.client, self.server, half(&self.up), half(&self.down))
    }
}

impl Half {
    /// How many packets carried the first so many bytes.
    pub fn packets_of(&self, bytes: usize) -> usize {
        self.segments.iter().filter(|(at, ..)| (*at as usize) < bytes).count()
    }

    /// When the byte behind so many was sent first.
    pub fn sent_at(&self, bytes: usize) -> Option<u64> {
        let has = |at: u32, payload: &[u8]| (at as usize..at as usize + payload.len()).contains(&bytes);
        self.segments.iter().filter(|(at, _, payload)| has(*at, payload)).map(|(_, time, _)| *time).min()
    }

    fn has_no_gap(&self) -> bool {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.first.is_some()
            && self.last.is_none_or(|last| last == length)
            && self.segments.last().is_none_or(|(at, _, payload)| *at as usize + payload.len() <= self.bytes.len())
    }

    /// The bytes in order, as far as there is no gap.
    fn assemble(&mut self) -> Result<()> {
        self.segments.sort_by_key(|(at, ..)| *at);
        for (at, _, payload) in &self.segments {
            let (at, have) = (*at as usize, self.bytes.len());
            if at > have {
                break;
            }
            let known = (have - at).min(payload.len());
            ensure!(self.bytes[at..at + known] == payload[..known], "a byte was sent again as another");
            self.bytes.extend_from_slice(&payload[known..]);
        }
        Ok(())
    }
}

/// What stands in a capture file; a last packet that is not whole yet is left out.
///
/// # Errors
/// Fails on what is no capture of an Ethernet interface, and where packets contradict each other.
pub fn conversations(file: &[u8]) -> Result<Vec<Conversation>> {
    let Some((header, mut rest)) = file.split_at_checked(24) else { return Ok(Vec::new()) };
    ensure!(header.starts_with(&[0xd4, 0xc3, 0xb2, 0xa1]) && header[20] == 1, "not a capture of Ethernet packets");
    let mut all: Vec<Conversation> = Vec::new();
    let mut places = HashMap::new();
    while let Some((header, behind)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, time) = (word(8) as usize, u64::from(word(0)) * 1_000_000 + u64::from(word(4)));
        ensure!(length == word(12) as usize, "a packet was cut short");
        let Some((packet, behind)) = behind.split_at_checked(length) else { break };
        rest = behind;
        let Some(packet) = Packet::read(packet) else { continue };
        packet.add(time, &mut all, &mut places)?;
    }
    for conversation in &mut all {
        conversation.up.assemble()?;
        conversation.down.assemble()?;
    }
    Ok(all)
}

struct Packet<'p> {
    from: SocketAddrV4,
    to: SocketAddrV4,
    number: u32,
    flags: u8,
    payload: &'p [u8],
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl<'p> Packet<'p> {
    /// Ethernet, IPv4, TCP; nothing else passes the capture's filter.
    fn read(frame: &'p [u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let header = usize::from(ip.first()? & 15) * 4;
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
        let (from, to) = (address(12)?, address(16)?);
        let tcp = ip.get(header..total)?;
        let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
        let number = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
        let payload = tcp.get(usize::from(tcp.get(12)? >> 4) * 4..)?;
        let (from, to) = (SocketAddrV4::new(from, port(0)?), SocketAddrV4::new(to, port(2)?));
        Some(Self { from, to, number, flags: *tcp.get(13)?, payload })
    }

    fn add(
        self,
        time: u64,
        all: &mut Vec<Conversation>,
        places: &mut HashMap<(SocketAddrV4, SocketAddrV4), usize>,
    ) -> Result<()> {
        if self.flags & (SYN | ACK) == SYN && !places.contains_key(&(self.from, self.to)) {
            places.insert((self.from, self.to), all.len());
            let (up, down) = (Half::default(), Half::default());
            all.push(Conversation { client: self.from, server: self.to, up, down });
        }
        let (upwards, downwards) = (places.get(&(self.from, self.to)), places.get(&(self.to, self.from)));
        let half = match (upwards, downwards) {
            (Some(&at), _) => &mut all[at].up,
            (None, Some(&at)) => &mut all[at].down,
            (None, None) => bail!("{} to {} has no beginning", self.from, self.to),
        };
        if self.flags & SYN != 0 {
            let first = self.number.wrapping_add(1);
            ensure!(half.first.is_none_or(|known| known == first), "{} has two beginnings", self.from);
            half.first = Some(first);
            ensure!(self.payload.is_empty(), "a SYN with data is not expected here");
            return Ok(());
        }
        if self.flags & RST != 0 {
            half.end.get_or_insert((End::Reset, time));
            half.reset = true;
            return Ok(());
        }
        let at = self.number.wrapping_sub(half.first.context("data before a beginning")?);
        // What asks whether the other side is still there stands one byte too low.
        if !self.payload.is_empty() && at != u32::MAX {
            half.segments.push((at, time, self.payload.to_vec()));
        }
        if self.flags & FIN != 0 {
            half.end.get_or_insert((End::Fin, time));
            half.last = Some(at.wrapping_add(u32::try_from(self.payload.len())?));
        }
        Ok(())
    }
}
