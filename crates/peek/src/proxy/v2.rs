//! Version 2: binary (§2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crc::{CRC_32_ISCSI, Crc};

use super::{About, Fault, Header, MAX_HEADER, Progress, Refusal};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;
/// `PP2_TYPE_CRC32C` (§2.2.3).
const CHECKSUM: u8 = 0x03;
/// `PP2_TYPE_AWS`, and its subtype for the id of a VPC endpoint (AWS's network load balancer guide).
const AWS: u8 = 0xea;
const AWS_VPCE: u8 = 0x01;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

const fn wrong(fault: Fault) -> Refusal {
    Refusal::Malformed(fault)
}

/// What the addresses are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Unspecified,
    V4,
    V6,
}

impl Family {
    const fn len(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::V4 => 12,
            Self::V6 => 36,
        }
    }
}

/// Reads bytes that begin with [`SIGNATURE`]. Each byte of the fixed part is judged as it comes.
pub(super) fn read(bytes: &[u8]) -> Result<Progress, Refusal> {
    let need = |at_least| Ok(Progress::Need { at_least });
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let Some(&version_command) = rest.first() else { return need(FIXED) };
    if version_command >> 4 != 2 {
        return Err(wrong(Fault::Version));
    }
    let local = match version_command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(wrong(Fault::Command)),
    };
    let Some(&family) = rest.get(1) else { return need(FIXED) };
    let family = match family {
        // §2.2: of a LOCAL header nothing more is read, so whatever stands there does no harm.
        _ if local => Family::Unspecified,
        0x00 => Family::Unspecified,
        0x11 => Family::V4,
        0x21 => Family::V6,
        _ => return Err(wrong(Fault::Family)),
    };
    let Some(&[high, low]) = rest.get(2..4) else { return need(FIXED) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len < family.len() {
        return Err(wrong(Fault::Length));
    }
    let total = FIXED + len;
    if total > MAX_HEADER {
        return Err(wrong(Fault::TooLong));
    }
    let Some(header) = bytes.get(..total) else { return need(total) };
    let body = header.get(FIXED..).unwrap_or_default();
    if local {
        return Ok(Progress::Done(Header { len: total, about: About::Sender, vpce: None }));
    }
    let (addresses, values) = body.split_at_checked(family.len()).ok_or(wrong(Fault::Length))?;
    let vpce = read_values(header, values)?;
    Ok(Progress::Done(Header { len: total, about: about(family, addresses)?, vpce }))
}

fn about(family: Family, addresses: &[u8]) -> Result<About, Refusal> {
    let short = || wrong(Fault::Length);
    let client = |source, destination| About::Client { source, destination };
    match family {
        Family::Unspecified => Ok(About::Unknown),
        Family::V4 => {
            let &[a, b, c, d, e, f, g, h, i, j, k, l] = addresses else { return Err(short()) };
            Ok(client(
                SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([i, j]))),
                SocketAddr::from((Ipv4Addr::new(e, f, g, h), u16::from_be_bytes([k, l]))),
            ))
        }
        Family::V6 => {
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or_else(short)?;
            let (destination, ports) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let &[i, j, k, l] = ports else { return Err(short()) };
            Ok(client(
                SocketAddr::from((Ipv6Addr::from(*source), u16::from_be_bytes([i, j]))),
                SocketAddr::from((Ipv6Addr::from(*destination), u16::from_be_bytes([k, l]))),
            ))
        }
    }
}

/// Walks the type-length-values: they must fill the header exactly. Answers the VPC endpoint's id.
fn read_values(header: &[u8], mut values: &[u8]) -> Result<Option<Box<str>>, Refusal> {
    let mut vpce = None;
    let mut checked = false;
    while let Some((&[kind, high, low], behind)) = values.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let (value, next) = behind.split_at_checked(len).ok_or(wrong(Fault::Values))?;
        match (kind, value) {
            (CHECKSUM, value) => {
                let at = header.len() - next.len() - value.len();
                if checked || !checksum_holds(header, at, value) {
                    return Err(wrong(Fault::Checksum));
                }
                checked = true;
            }
            (AWS, [AWS_VPCE, id @ ..]) => {
                let id = endpoint(id).filter(|_| vpce.is_none()).ok_or(wrong(Fault::Endpoint))?;
                vpce = Some(id);
            }
            _ => {}
        }
        values = next;
    }
    if values.is_empty() { Ok(vpce) } else { Err(wrong(Fault::Values)) }
}

/// §2.2.3: CRC-32c over the whole header, the checksum's own four bytes at `at` taken as zeros.
fn checksum_holds(header: &[u8], at: usize, value: &[u8]) -> bool {
    let Ok(given) = <[u8; 4]>::try_from(value) else { return false };
    let mut digest = CRC32C.digest();
    digest.update(header.get(..at).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(at + given.len()..).unwrap_or_default());
    digest.finalize() == u32::from_be_bytes(given)
}

fn endpoint(id: &[u8]) -> Option<Box<str>> {
    let id = std::str::from_utf8(id).ok()?;
    let rest = id.strip_prefix("vpce-")?;
    let fits = (1..=64).contains(&rest.len()) && rest.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric());
    fits.then(|| id.into())
}
