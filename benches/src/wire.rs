//! What goes over a connection: requests, each answered with as many bytes as it asks for.
//!
//! The first request stands in the `random` of the client's hello, so that a gate sees a hello like any other; those
//! that follow have a header of 16 bytes. A request says how many more bytes the client sends (`up`) and how many the
//! server then answers (`down`). The client waits for each answer before it asks again, and closes first.

/// The first 8 bytes of the hello's random: this is a client of ours.
const MAGIC: [u8; 8] = *b"sekisho\x01";
/// Where the random begins in a hello of one record: behind the headers of record and handshake and the version.
pub const RANDOM_AT: usize = 5 + 4 + 2;
/// Bytes of a hello that the server must have to know the first request.
pub const OPENING: usize = RANDOM_AT + 32;
/// Bytes of the header of each later request.
pub const HEADER: usize = 16;
/// The most bytes that one call sends.
pub const CHUNK: usize = 256 * 1024;

/// TLS's record types, as far as they matter here.
const HANDSHAKE: u8 = 0x16;
/// An alert in place of an answer: the gate has refused.
pub const ALERT: u8 = 0x15;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes that the client sends behind the hello or header.
    pub up: u64,
    /// Bytes that the server then answers.
    pub down: u64,
}

impl Request {
    /// As it stands before each request but the first.
    pub fn header(self) -> [u8; HEADER] {
        (u128::from(self.up) << 64 | u128::from(self.down)).to_be_bytes()
    }

    /// The inverse of [`Request::header`].
    pub fn from_header(header: [u8; HEADER]) -> Self {
        let both = u128::from_be_bytes(header);
        Self { up: low_half(both >> 64), down: low_half(both) }
    }

    /// As it stands in the hello; `counter` makes each hello another.
    pub fn random(self, counter: u64) -> [u8; 32] {
        let mut random = [0; 32];
        let parts = MAGIC.into_iter().chain(self.header()).chain(counter.to_be_bytes());
        random.iter_mut().zip(parts).for_each(|(place, byte)| *place = byte);
        random
    }

    /// Reads the start of a hello: the request, and how many bytes of the hello are still to come. `None` when it is
    /// not of ours.
    pub fn from_opening(opening: &[u8; OPENING]) -> Option<(Self, u64)> {
        let [HANDSHAKE, _, _, high, low, _, _, _, _, _, _, random @ ..] = opening else { return None };
        let (magic, rest) = random.split_first_chunk::<8>()?;
        let (header, _counter) = rest.split_first_chunk::<HEADER>()?;
        let length = 5 + u64::from(u16::from_be_bytes([*high, *low]));
        let to_come = length.checked_sub(OPENING as u64)?;
        (*magic == MAGIC).then(|| (Self::from_header(*header), to_come))
    }
}

fn low_half(both: u128) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = both.to_be_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The bytes of every request and answer: the same 256 over and over, so that a receiver can tell a lost, doubled or
/// moved byte. The first is TLS's type of application data.
#[derive(Debug)]
pub struct Pattern(Box<[u8]>);

const PERIOD: usize = 256;

impl Default for Pattern {
    fn default() -> Self {
        Self((0..=u8::MAX).cycle().map(|i| i.wrapping_mul(167).wrapping_add(0x17)).take(CHUNK + PERIOD).collect())
    }
}

impl Pattern {
    /// What stands at `offset`: up to `most` bytes, and never more than a [`CHUNK`].
    pub fn at(&self, offset: u64, most: u64) -> &[u8] {
        let start = phase(offset);
        let length = usize::try_from(most).unwrap_or(CHUNK).min(CHUNK);
        self.0.get(start..start + length).unwrap_or_default()
    }

    /// Whether `bytes` is what stands at `offset`.
    pub fn matches(&self, mut offset: u64, bytes: &[u8]) -> bool {
        bytes.chunks(CHUNK).all(|chunk| {
            let length = chunk.len() as u64;
            let same = self.at(offset, length) == chunk;
            offset += length;
            same
        })
    }
}

fn phase(offset: u64) -> usize {
    usize::try_from(offset % PERIOD as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request { up: 0x0102_0304_0506_0708, down: u64::MAX - 1 };

    #[test]
    fn a_header_reads_back() {
        assert_eq!(Request::from_header(REQUEST.header()), REQUEST);
        assert_eq!(REQUEST.header()[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_pattern_tells_a_moved_byte() {
        let pattern = Pattern::default();
        let mut bytes = pattern.at(1000, 600_000).to_vec();
        assert_eq!(bytes.len(), CHUNK);
        bytes.extend_from_slice(pattern.at(1000 + CHUNK as u64, 77));
        assert!(pattern.matches(1000, &bytes));
        for wrong in [1, 255, 257, 128] {
            assert!(!pattern.matches(1000 + wrong, &bytes));
        }
        bytes.remove(CHUNK + 5);
        assert!(!pattern.matches(1000, &bytes));
    }

    #[test]
    fn an_answer_never_looks_like_an_alert() {
        assert_ne!(Pattern::default().at(0, 1), [ALERT]);
    }
}
