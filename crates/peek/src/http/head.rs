//! Where a head ends, and that its bytes are those of lines.

use super::{Fault, MAX_HEAD, Refusal};

const END: &[u8] = b"\r\n\r\n";

/// The whole head, its empty line included; `None` while it is not whole. Every byte is judged once, as it comes:
/// `seen` is how many were.
pub(super) fn end<'a>(bytes: &'a [u8], seen: &mut usize) -> Result<Option<&'a [u8]>, Refusal> {
    while let Some(&byte) = bytes.get(*seen) {
        let before = bytes.get(..*seen).unwrap_or_default();
        judge(before, byte)?;
        if *seen >= MAX_HEAD {
            return Err(Refusal::Bad(Fault::HeadTooLarge));
        }
        let head = bytes.get(..=*seen).unwrap_or_default();
        if head.ends_with(END) {
            // Not counted as seen, so that a later look finds the same.
            return Ok(Some(head));
        }
        *seen += 1;
    }
    Ok(None)
}

/// Judges `byte` by what stands before it.
fn judge(before: &[u8], byte: u8) -> Result<(), Refusal> {
    let fault = match (before.last(), byte) {
        // A method begins with a letter; some servers skip empty lines ahead of it (RFC 9112 §2.2), others do not.
        (None, byte) if !byte.is_ascii_alphabetic() => Fault::RequestLine,
        (Some(b'\r'), b'\n') => return Ok(()),
        // RFC 9112 §2.2: a bare CR or LF is a line's end to some.
        (Some(b'\r'), _) => Fault::BareCr,
        (_, b'\n') => Fault::BareLf,
        // RFC 9112 §5.2: a line that goes on.
        (Some(b'\n'), b' ' | b'\t') => Fault::Folded,
        (_, b'\r' | b'\t' | b' '..=b'~' | 0x80..) => return Ok(()),
        _ => Fault::Control,
    };
    Err(Refusal::Bad(fault))
}
