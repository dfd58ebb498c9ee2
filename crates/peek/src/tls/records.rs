//! From raw bytes to one whole handshake message: records are walked once, and copied together only when a message
//! spans several.

use std::borrow::Cow;

use tls_parser::{TlsHandshakeType, TlsRecordType};

use super::Limits;
use super::refusal::{Cap, Fault, Obsolete, Refusal};

/// A record's header: type, version, length (RFC 8446 §5.1).
const RECORD_HEADER: usize = 5;
/// The longest fragment of a plaintext record (RFC 8446 §5.1).
const MAX_FRAGMENT: usize = 1 << 14;
/// A handshake message's header: type and length (RFC 8446 §4).
pub(super) const HANDSHAKE_HEADER: usize = 4;
/// The handshake header and the hello's version: what is judged before the message is whole.
const HEAD: usize = HANDSHAKE_HEADER + 2;

/// How far the walk has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Where the record under inspection begins; everything before it is whole records of this hello.
    record: usize,
    /// Handshake bytes in the records before it.
    before: usize,
    /// The message's first bytes, as far as the records before it hold them.
    head: Head,
    /// Below this total nothing is left to be judged: the message's first bytes are, and the rest is judged as a whole.
    settled: usize,
}

/// What a look at the bytes has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The message is not whole below this total.
    Need(usize),
    /// The message is whole, and its records are the first `raw_len` bytes.
    Whole {
        /// Where its last record ends.
        raw_len: usize,
    },
}

impl Scan {
    /// Walks on over `bytes`, which begin where they always began.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, Refusal> {
        if bytes.len() < self.settled {
            return Ok(Step::Need(self.settled));
        }
        loop {
            let rest = bytes.get(self.record..).unwrap_or_default();
            if self.record == 0 && !recognise(rest)? {
                return Ok(Step::Need(RECORD_HEADER));
            }
            let Some(len) = fragment_len(rest)? else {
                return Ok(Step::Need(self.record + RECORD_HEADER));
            };
            let end = self.record + RECORD_HEADER + len;
            if end > limits.raw {
                return Err(Refusal::HelloTooLarge(Cap::Raw));
            }

            let fragment = rest.get(RECORD_HEADER..).unwrap_or_default();
            let fragment = fragment.get(..len).unwrap_or(fragment);
            let arrived = fragment.len() == len;
            let mut head = self.head;
            head.extend(fragment);
            let after = self.before + len;
            // What later records must hold; checked in the order in which the bytes that decide come, so that no
            // delivery of the same bytes can meet the checks in another order.
            let missing = match head.message_len(limits)? {
                Some(message) => message.checked_sub(after).ok_or(Refusal::Malformed(Fault::AfterHello))?,
                None if arrived => HANDSHAKE_HEADER - head.len,
                None => 0,
            };
            // They need one more header at least.
            if missing > 0 && end + RECORD_HEADER + missing > limits.raw {
                return Err(Refusal::HelloTooLarge(Cap::Raw));
            }
            head.judge_version()?;
            if !arrived {
                if head.len == HEAD {
                    self.settled = end;
                }
                return Ok(Step::Need(end));
            }
            if missing == 0 {
                return Ok(Step::Whole { raw_len: end });
            }
            *self = Self { record: end, before: after, head, settled: 0 };
        }
    }

    /// The whole message, once [`Step::Whole`] has said where it ends: borrowed when one record holds it.
    pub(super) fn message<'a>(&self, bytes: &'a [u8], raw_len: usize) -> Cow<'a, [u8]> {
        let raw = bytes.get(..raw_len).unwrap_or(bytes);
        if self.record == 0 {
            return Cow::Borrowed(raw.get(RECORD_HEADER..).unwrap_or_default());
        }
        let last = raw_len.saturating_sub(self.record + RECORD_HEADER);
        let mut message = Vec::with_capacity(self.before + last);
        let mut rest = raw;
        while let Some((&[_, _, _, high, low], fragment)) = rest.split_first_chunk() {
            let len = usize::from(u16::from_be_bytes([high, low])).min(fragment.len());
            let (fragment, next) = fragment.split_at(len);
            message.extend_from_slice(fragment);
            rest = next;
        }
        Cow::Owned(message)
    }
}

/// Says whether a connection's first bytes begin a TLS record; `false` when there are too few to tell.
fn recognise(first: &[u8]) -> Result<bool, Refusal> {
    match *first {
        // Record types from change_cipher_spec to heartbeat, major version 3. The minor version is not judged: it is
        // "ignored for all purposes" (RFC 8446 §5.1), and early clients put 0x0300 there.
        [0x14..=0x18, 3, ..] => Ok(true),
        // An SSLv2 CLIENT-HELLO: a two-byte header with its top bit set, message type 1, then a version (RFC 5246
        // appendix E.2), which is 0x0002 or, from a client that would also speak SSLv3 and later, 3.x.
        [0x80..=0xff, _, 1, 0, 2, ..] | [0x80..=0xff, _, 1, 3, ..] => Err(Refusal::ObsoleteProtocol(Obsolete::Ssl2)),
        // The beginnings of both.
        [] | [0x14..=0x18 | 0x80..=0xff] | [0x80..=0xff, _] | [0x80..=0xff, _, 1] | [0x80..=0xff, _, 1, 0] => Ok(false),
        _ => Err(Refusal::NotTls),
    }
}

/// The length that a record's header declares; `None` while the header is not whole. What there is of it is judged.
fn fragment_len(record: &[u8]) -> Result<Option<usize>, Refusal> {
    let handshake = u8::from(TlsRecordType::Handshake);
    match *record {
        // RFC 8446 §5.1: handshake messages are not interleaved with other record types.
        [kind, ..] if kind != handshake => Err(Refusal::Malformed(Fault::NotHandshake)),
        [_, major, ..] if major != 3 => Err(Refusal::Malformed(Fault::RecordVersion)),
        [_, _, _, high, low, ..] => match usize::from(u16::from_be_bytes([high, low])) {
            // RFC 8446 §5.1: no zero-length fragments of handshake type.
            0 => Err(Refusal::Malformed(Fault::EmptyRecord)),
            len if len > MAX_FRAGMENT => Err(Refusal::Malformed(Fault::RecordOverflow)),
            len => Ok(Some(len)),
        },
        _ => Ok(None),
    }
}

/// The first bytes of the message, gathered over however many records.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    bytes: [u8; HEAD],
    len: usize,
}

impl Head {
    fn extend(&mut self, fragment: &[u8]) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, &from) in free.iter_mut().zip(fragment) {
            *to = from;
            self.len += 1;
        }
    }

    /// The message's length, header included, once it is known. Type and length are judged as they come.
    fn message_len(&self, limits: &Limits) -> Result<Option<usize>, Refusal> {
        let [kind, a, b, c, ..] = self.bytes;
        if self.len > 0 && kind != u8::from(TlsHandshakeType::ClientHello) {
            return Err(Refusal::Malformed(Fault::NotClientHello));
        }
        if self.len < HANDSHAKE_HEADER {
            return Ok(None);
        }
        match usize::try_from(u32::from_be_bytes([0, a, b, c])) {
            Ok(body) if HANDSHAKE_HEADER + body <= limits.handshake => Ok(Some(HANDSHAKE_HEADER + body)),
            _ => Err(Refusal::HelloTooLarge(Cap::Handshake)),
        }
    }

    /// Judges the hello's own version, once it is there. A message too short for one never fills the head: what is
    /// behind such a message is refused first.
    fn judge_version(&self) -> Result<(), Refusal> {
        let [.., major, minor] = self.bytes;
        match u16::from_be_bytes([major, minor]) {
            version @ ..0x0301 if self.len == HEAD => Err(Refusal::ObsoleteProtocol(Obsolete::Version(version))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_begins_where_the_last_one_ended() {
        let message = [&[1, 0, 0x3f, 0xfc, 3, 3][..], &[0; 16_378]].concat();
        for size in [1, 3, 100, 16_384] {
            let wire: Vec<u8> = message
                .chunks(size)
                .flat_map(|part| [&[0x16, 3, 1], &u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat())
                .collect();
            let limits = Limits { handshake: message.len(), raw: wire.len() };
            let mut scan = Scan::default();
            let mut records = 0;
            for end in 0..=wire.len() {
                let before = scan.record;
                let step = scan.advance(&wire[..end], &limits).unwrap();
                // A look costs one step for each record that it finishes, and one for what is behind them.
                records += (scan.record - before).div_ceil(RECORD_HEADER + size);
                assert!(end - scan.record <= RECORD_HEADER + size, "looks at a whole record again");
                assert_eq!(step == Step::Whole { raw_len: wire.len() }, end == wire.len());
            }
            assert_eq!(records, message.len().div_ceil(size) - 1, "the last record stays under inspection");
        }
    }
}
