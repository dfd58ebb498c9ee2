//! JA4, the fingerprint of a TLS client, after `FoxIO`'s specification of it (the part that is under the BSD 3-clause
//! licence).

use std::fmt::Write;

use sha2::{Digest, Sha256};
use tls_parser::parse_tls_handshake_client_hello;

use super::Limits;
use super::cursor::Cursor;
use super::hello::is_grease;
use super::records::{HANDSHAKE_HEADER, Scan, Step};

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The JA4 of the hello that `bytes` begin with, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`; `None` where an
/// [`Inspector`](super::Inspector) with the same limits finds no hello.
pub fn ja4(bytes: &[u8], limits: &Limits) -> Option<String> {
    let mut scan = Scan::default();
    let Ok(Step::Whole { raw_len }) = scan.advance(bytes, limits) else { return None };
    let message = scan.message(bytes, raw_len);
    let (_, hello) = parse_tls_handshake_client_hello(message.get(HANDSHAKE_HEADER..)?).ok()?;
    let ciphers: Vec<u16> = hello.ciphers.iter().map(|cipher| cipher.0).filter(|&c| !is_grease(c)).collect();

    let mut extensions = Vec::new();
    let (mut alpn, mut algorithms, mut version) = (None, Vec::new(), None);
    let mut block = Cursor::new(hello.ext.unwrap_or_default());
    while !block.is_empty() {
        let (kind, data) = (block.u16()?, block.vec16()?);
        if is_grease(kind) {
            continue;
        }
        extensions.push(kind);
        match kind {
            ALPN => alpn = data.only_vec16().and_then(|mut list| list.vec8()).map(Cursor::rest),
            SIGNATURE_ALGORITHMS => algorithms = words(data.only_vec16()?),
            SUPPORTED_VERSIONS => version = words(data.only_vec8()?).into_iter().max(),
            _ => {}
        }
    }
    let named = if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' };
    let version = version_of(version.unwrap_or(hello.version.0));
    let (cipher_count, extension_count) = (ciphers.len().min(99), extensions.len().min(99));
    let [first, last] = ends(alpn);

    // Sorted, so that clients which shuffle them keep one fingerprint; name and ALPN are in the first part already.
    let ciphers = list(sorted(ciphers));
    let kinds = extensions.into_iter().filter(|&kind| kind != SERVER_NAME && kind != ALPN).collect();
    let mut kinds = list(sorted(kinds));
    if !algorithms.is_empty() {
        kinds = format!("{kinds}_{}", list(algorithms));
    }
    let (ciphers, kinds) = (digest(&ciphers), digest(&kinds));
    Some(format!("t{version}{named}{cipher_count:02}{extension_count:02}{first}{last}_{ciphers}_{kinds}"))
}

fn words(mut list: Cursor<'_>) -> Vec<u16> {
    std::iter::from_fn(|| list.u16()).filter(|&word| !is_grease(word)).collect()
}

fn sorted(mut words: Vec<u16>) -> Vec<u16> {
    words.sort_unstable();
    words
}

fn list(words: Vec<u16>) -> String {
    let mut list = String::with_capacity(5 * words.len());
    for word in words {
        let separator = if list.is_empty() { "" } else { "," };
        // A String takes everything.
        let _ = write!(list, "{separator}{word:04x}");
    }
    list
}

/// The first twelve digits of the text's SHA-256; zeros where there is none.
fn digest(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    Sha256::digest(text.as_bytes()).iter().take(6).fold(String::with_capacity(12), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

const fn version_of(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and last character of the first protocol; of its hexadecimal form where one of them is no letter or digit.
fn ends(protocol: Option<&[u8]>) -> [char; 2] {
    let (Some(&first), Some(&last)) = (protocol.and_then(<[u8]>::first), protocol.and_then(<[u8]>::last)) else {
        return ['0', '0'];
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [first.into(), last.into()];
    }
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    [digit(first >> 4), digit(last & 0x0f)]
}
