//! Version 1: a line of text (§2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{About, Fault, Header, Progress, Refusal};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";
/// The longest line, its end included (§2.1).
const MAX_LINE: usize = 107;

const fn wrong(fault: Fault) -> Refusal {
    Refusal::Malformed(fault)
}

/// Reads bytes that begin with [`SIGNATURE`].
pub(super) fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    let behind = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    // Judged as it comes: what is wrong already waits for nothing.
    let word = behind.split(|&b| matches!(b, b' ' | b'\r')).next().unwrap_or_default();
    let whole = word.len() < behind.len();
    let fits = |protocol: &[u8]| if whole { word == protocol } else { protocol.starts_with(word) };
    if ![&b"TCP4"[..], b"TCP6", b"UNKNOWN"].into_iter().any(fits) {
        return Err(wrong(Fault::Protocol));
    }
    let unknown = word == b"UNKNOWN";
    let end = behind.iter().position(|&b| b == b'\r');
    let line = behind.get(..end.unwrap_or(behind.len())).unwrap_or_default();
    // §2.1: after UNKNOWN, whatever stands before the line's end is ignored.
    let allowed =
        |b: u8| matches!(b, b' ' | b'.' | b':') || b.is_ascii_alphanumeric() || (unknown && b.is_ascii_graphic());
    if let Some(bad) = line.iter().position(|&b| !allowed(b)) {
        let within = SIGNATURE.len() + bad < MAX_LINE - 2;
        return Err(wrong(if within { Fault::Character } else { Fault::LineTooLong }));
    }
    let len = SIGNATURE.len() + line.len() + 2;
    if len > MAX_LINE {
        return Err(wrong(Fault::LineTooLong));
    }
    match end.map(|end| behind.get(end + 1)) {
        None | Some(None) => Ok(Progress::Need { at_least: bytes.len() + 1 }),
        Some(Some(b'\n')) => {
            let about = if unknown { About::Unknown } else { client(line)? };
            Ok(Progress::Done(Header { len, about, vpce: None }))
        }
        Some(Some(_)) => Err(wrong(Fault::Character)),
    }
}

/// Reads `TCP4 source destination port port`.
fn client(line: &[u8]) -> Result<About, Refusal> {
    let line = std::str::from_utf8(line).map_err(|_| wrong(Fault::Character))?;
    let mut words = line.split(' ');
    let [Some(family), Some(source), Some(destination), Some(from), Some(to), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(wrong(Fault::Words));
    };
    let address = |text: &str| -> Result<IpAddr, Refusal> {
        // Both refuse leading zeros in decimal parts, which some read as octal.
        let parsed = match family {
            "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from),
            _ => text.parse::<Ipv6Addr>().map(IpAddr::from),
        };
        parsed.map_err(|_| wrong(Fault::Address))
    };
    Ok(About::Client {
        source: SocketAddr::new(address(source)?, port(from)?),
        destination: SocketAddr::new(address(destination)?, port(to)?),
    })
}

/// A decimal port without leading zeros (§2.1).
fn port(text: &str) -> Result<u16, Refusal> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(wrong(Fault::Port))
}
