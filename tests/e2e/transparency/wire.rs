//! What a capture shows of a TLS connection, by itself and beside the other side's.

use anyhow::{Context, Result, bail, ensure};
use lab::capture::{Conversation, Half};
use sha2::{Digest, Sha256};

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Each connection of the one side is one of the other, with the same bytes both ways, and ends first as there.
pub(super) fn same_on_both_sides(south: &[Conversation], north: &[Conversation]) -> Result<()> {
    ensure!(!south.is_empty(), "no connection");
    ensure!(south.len() == north.len(), "{} connections before the gate, {} behind it", south.len(), north.len());
    for before in south {
        // A hello has a random of its own.
        let random = before.up.bytes.get(..43).context("no hello")?;
        let behind: Vec<_> = north.iter().filter(|one| one.up.bytes.starts_with(random)).collect();
        let [behind] = behind[..] else { bail!("{} connections behind the gate have this hello", behind.len()) };
        same(&before.up, &behind.up, &behind.down).context("from the client")?;
        same(&behind.down, &before.down, &before.up).context("from the server")?;
        let (client, server) = (before.up.end, behind.down.end);
        let client_first = match (client, server) {
            (Some((_, client)), Some((_, server))) => client <= server,
            (client, _) => client.is_some(),
        };
        let (ended, passed, receiver) =
            if client_first { (client, behind.up.end, &behind.down) } else { (server, before.down.end, &before.up) };
        let (ended, passed) = (ended.map(|(end, _)| end), passed.map(|(end, _)| end));
        // Nothing arrives any more at one who has reset.
        let same = ended == passed || passed.is_none() && receiver.reset;
        ensure!(ended.is_some() && same, "ended by {ended:?}, passed on as {passed:?}");
    }
    Ok(())
}

/// All that was sent arrived, and nothing else. A receiver that resets throws away what is still on its way to it, with
/// the gate as without it: then what was sent behind its own last words may be missing.
fn same(sent: &Half, arrived: &Half, receiver: &Half) -> Result<()> {
    let length = arrived.bytes.len();
    let differs = sent.bytes.iter().zip(&arrived.bytes).position(|(a, b)| a != b);
    ensure!(differs.is_none(), "byte {differs:?} is another");
    let last_words = receiver.bytes.len().checked_sub(1).and_then(|last| receiver.sent_at(last));
    let late = receiver.reset && sent.bytes.len() > length && last_words <= sent.sent_at(length);
    ensure!(late || sent.bytes.len() == length, "{} bytes were sent, {length} arrived", sent.bytes.len());
    Ok(())
}

/// What anybody sees of a connection, in words.
pub(super) fn facts(conversation: &Conversation) -> Result<String> {
    let (up, down) = (records(&conversation.up.bytes)?, records(&conversation.down.bytes)?);
    let hello = first_message(&up).context("no hello")?;
    let answer = Answer::read(&down).context("no ServerHello")?;
    let mut facts = vec![answer.version().to_owned()];
    if hello.records > 1 {
        facts.push("hello in several records".to_owned());
    }
    if hello.bytes > 1460 {
        let packets = conversation.up.packets_of(hello.bytes);
        ensure!(packets > 1, "a hello of {} bytes in one packet", hello.bytes);
        facts.push("hello in several packets".to_owned());
    }
    facts.extend(hello.early.then(|| "early data".to_owned()));
    facts.extend(answer.retry.then(|| "retry".to_owned()));
    facts.extend(answer.resumed.then(|| "resumed".to_owned()));
    facts.extend(answer.group.map(|group| format!("group {}", group_name(group))));
    let both = || up.iter().chain(&down);
    if answer.version != 0x0304 && up.iter().filter(|record| record.kind == CHANGE_CIPHER_SPEC).count() > 1 {
        facts.push("renegotiated".to_owned());
    }
    if both().any(|record| record.body.len() >= 1 << 14) {
        facts.push("16 KiB records".to_owned());
    }
    if both().filter(|record| record.kind == APPLICATION_DATA).all(|record| record.body.len() >= 1024) {
        facts.push("padded".to_owned());
    }
    Ok(facts.join(", "))
}

fn group_name(group: u16) -> String {
    let known = match group {
        0x17 => "P-256",
        0x18 => "P-384",
        0x19 => "P-521",
        0x1d => "X25519",
        0x11ec => "X25519MLKEM768",
        other => return format!("{other:#06x}"),
    };
    known.to_owned()
}

struct Record<'b> {
    kind: u8,
    body: &'b [u8],
}

/// All records; there are no others than whole ones.
fn records(mut bytes: &[u8]) -> Result<Vec<Record<'_>>> {
    let mut all = Vec::new();
    while let [kind, 3, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (body, behind) = rest.split_at_checked(length).context("the last record is not whole")?;
        all.push(Record { kind: *kind, body });
        bytes = behind;
    }
    ensure!(bytes.is_empty(), "{} bytes are no record", bytes.len());
    Ok(all)
}

struct Hello {
    records: usize,
    /// Whether early data follows it.
    early: bool,
    /// Up to the end of its last record.
    bytes: usize,
}

fn first_message(records: &[Record<'_>]) -> Option<Hello> {
    let (mut message, mut bytes) = (Vec::new(), 0);
    for (at, record) in records.iter().take_while(|record| record.kind == HANDSHAKE).enumerate() {
        message.extend_from_slice(record.body);
        bytes += 5 + record.body.len();
        if let [1, high, middle, low, body @ ..] = &message[..]
            && body.len() >= u32::from_be_bytes([0, *high, *middle, *low]) as usize
        {
            let early = extension(&message, 42);
            return Some(Hello { records: at + 1, early, bytes });
        }
    }
    None
}

/// Whether a `ClientHello` has this extension.
fn extension(message: &[u8], wanted: u16) -> bool {
    let find = || -> Option<bool> {
        let at = 4 + 2 + 32;
        let at = at + 1 + usize::from(*message.get(at)?);
        let at = at + 2 + usize::from(number(message, at)?);
        let mut at = at + 1 + usize::from(*message.get(at)?) + 2;
        while let Some((kind, length)) = number(message, at).zip(number(message, at + 2)) {
            if kind == wanted {
                return Some(true);
            }
            at += 4 + usize::from(length);
        }
        None
    };
    find().unwrap_or(false)
}

/// What the server's messages in the clear say.
#[derive(Default)]
struct Answer {
    version: u16,
    retry: bool,
    resumed: bool,
    group: Option<u16>,
}

impl Answer {
    fn read(records: &[Record<'_>]) -> Option<Self> {
        let mut answer = Self::default();
        let (mut clear, mut at) = (Vec::new(), 0);
        let mut done = false;
        for record in records {
            match record.kind {
                HANDSHAKE => clear.extend_from_slice(record.body),
                // What comes behind it is encrypted, unless it belongs to a retry.
                CHANGE_CIPHER_SPEC if answer.retry && answer.group.is_none() => {}
                _ => break,
            }
            while let Some([kind, high, middle, low]) = clear.get(at..at + 4) {
                let end = at + 4 + u32::from_be_bytes([0, *high, *middle, *low]) as usize;
                let Some(body) = clear.get(at + 4..end) else { break };
                match *kind {
                    2 => answer.server_hello(body)?,
                    14 => done = true,
                    _ => {}
                }
                at = end;
            }
        }
        // Up to TLS 1.2 the short handshake lacks the ServerHelloDone.
        answer.resumed |= answer.version < 0x0304 && !done;
        (answer.version != 0).then_some(answer)
    }

    fn server_hello(&mut self, body: &[u8]) -> Option<()> {
        let random = body.get(2..34)?;
        let retry = random == &Sha256::digest(b"HelloRetryRequest")[..];
        self.version = number(body, 0)?;
        self.group = None;
        let behind = 35 + usize::from(*body.get(34)?) + 3;
        let mut extensions = body.get(behind + 2..).unwrap_or_default();
        while let Some((kind, length)) = number(extensions, 0).zip(number(extensions, 2)) {
            let (data, rest) = extensions.get(4..)?.split_at_checked(usize::from(length))?;
            match kind {
                41 => self.resumed = true,
                43 => self.version = number(data, 0)?,
                51 if !retry => self.group = number(data, 0),
                _ => {}
            }
            extensions = rest;
        }
        self.retry |= retry;
        Some(())
    }

    fn version(&self) -> &'static str {
        match self.version {
            0x0301 => "TLSv1",
            0x0302 => "TLSv1.1",
            0x0303 => "TLSv1.2",
            0x0304 => "TLSv1.3",
            _ => "another version",
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

#[cfg(test)]
mod tests;
