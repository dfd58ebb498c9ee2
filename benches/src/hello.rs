//! Hellos: well-formed, of the two sizes that are met, with a place for the name and one for the random.

use std::ops::Range;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::wire::{OPENING, RANDOM_AT};

/// How large a hello is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// About 1,550 bytes: with a key share of X25519MLKEM768, as browsers and OpenSSL 3.5 send it.
    Large,
    /// About 330 bytes: with a key share of X25519 alone.
    Small,
}

/// A hello for names of one length.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    name: Range<usize>,
}

impl Template {
    /// A hello of that size, for names so long.
    ///
    /// # Errors
    /// When no host name can be so long.
    pub fn new(size: Size, name_length: usize) -> Result<Self> {
        ensure!((1..=253).contains(&name_length), "no host name has {name_length} bytes");
        let placeholder = vec![b'x'; name_length];
        let bytes = record(&client_hello(size, &placeholder));
        let start = bytes.windows(name_length).position(|window| window == placeholder).unwrap_or_default();
        ensure!(start > OPENING, "the name is not in the hello");
        Ok(Self { bytes, name: start..start + name_length })
    }

    /// The record, with this name (of the template's length) and random.
    pub fn fill(&mut self, name: &[u8], random: &[u8; 32]) -> &[u8] {
        let parts = [(self.name.clone(), name), (RANDOM_AT..OPENING, random.as_slice())];
        for (place, content) in parts {
            if let Some(place) = self.bytes.get_mut(place).filter(|place| place.len() == content.len()) {
                place.copy_from_slice(content);
            }
        }
        &self.bytes
    }

    /// Bytes of the whole record.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }
}

fn record(hello: &[u8]) -> Vec<u8> {
    // Handshake, TLS 1.0 as all clients say here; then ClientHello with a length of three bytes.
    let handshake = [&[0x01, 0x00], vector16(hello).as_slice()].concat();
    [&[0x16, 0x03, 0x01], vector16(&handshake).as_slice()].concat()
}

/// RFC 8446 §4.1.2, in the order of a browser, GREASE (RFC 8701) included.
fn client_hello(size: Size, name: &[u8]) -> Vec<u8> {
    const CIPHERS: [u16; 16] = [
        0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
        0x002f, 0x0035,
    ];
    let session = filler(32, 1);
    [
        [0x03, 0x03].as_slice(),
        &[0; 32],
        &vector8(&session),
        &vector16(&numbers(&CIPHERS)),
        // No compression.
        &vector8(&[0]),
        &vector16(&extensions(size, name)),
    ]
    .concat()
}

fn extensions(size: Size, name: &[u8]) -> Vec<u8> {
    const GREASE: u16 = 0x6a6a;
    const GREASE_GROUP: u16 = 0x8a8a;
    const X25519: u16 = 0x001d;
    const X25519MLKEM768: u16 = 0x11ec;
    const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    let mut groups = vec![GREASE_GROUP, X25519, 0x0017, 0x0018];
    let mut shares = share(GREASE_GROUP, &[0]);
    if size == Size::Large {
        groups.insert(1, X25519MLKEM768);
        shares.extend(share(X25519MLKEM768, &filler(1184 + 32, 2)));
    }
    shares.extend(share(X25519, &filler(32, 3)));
    let server_name = vector16(&[&[0], vector16(name).as_slice()].concat());
    let protocols = vector16(&[vector8(b"h2"), vector8(b"http/1.1")].concat());
    [
        extension(GREASE, &[]),
        extension(0, &server_name),
        // extended_master_secret, renegotiation_info
        extension(23, &[]),
        extension(0xff01, &[0]),
        // supported_groups, ec_point_formats: uncompressed
        extension(10, &vector16(&numbers(&groups))),
        extension(11, &vector8(&[0])),
        // session_ticket
        extension(35, &[]),
        extension(16, &protocols),
        // status_request: OCSP, no responders, no extensions
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &vector16(&numbers(&SIGNATURES))),
        // signed_certificate_timestamp
        extension(18, &[]),
        extension(51, &vector16(&shares)),
        // psk_key_exchange_modes: with (EC)DHE; supported_versions: 1.3 and 1.2; compress_certificate: brotli
        extension(45, &vector8(&[1])),
        extension(43, &vector8(&numbers(&[0x5a5a, 0x0304, 0x0303]))),
        extension(27, &vector8(&numbers(&[2]))),
        extension(0xdada, &[0]),
    ]
    .concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().as_slice(), &vector16(body)].concat()
}

fn share(group: u16, key: &[u8]) -> Vec<u8> {
    extension(group, key)
}

fn numbers(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn vector8(content: &[u8]) -> Vec<u8> {
    [&[u8::try_from(content.len()).unwrap_or(u8::MAX)], content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes().as_slice(), content].concat()
}

/// Bytes that look like a key's, always the same.
fn filler(length: usize, seed: u32) -> Vec<u8> {
    std::iter::successors(Some(seed), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
        .map(|x| x.to_be_bytes()[0])
        .skip(1)
        .take(length)
        .collect()
}

#[cfg(test)]
mod tests {
    use rustls::server::Acceptor;
    use sekisho_peek::tls::{Limits, Progress, inspect};

    use super::*;
    use crate::wire::Request;

    const NAME: &str = "b0042.s3.ap-northeast-1.amazonaws.com";
    const REQUEST: Request = Request { up: 0, down: 64 };

    fn hello(size: Size) -> Vec<u8> {
        let mut template = Template::new(size, NAME.len()).unwrap();
        template.fill(NAME.as_bytes(), &REQUEST.random(7)).to_vec()
    }

    #[test]
    fn the_gates_own_reader_finds_the_name_in_both() {
        for size in Size::value_variants() {
            let Ok(Progress::Done(read)) = inspect(&hello(*size), &Limits::default()) else { panic!("{size:?}") };
            assert_eq!(read.name.as_str(), NAME);
        }
    }

    #[test]
    fn rustls_reads_both_the_same() {
        for size in Size::value_variants() {
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut hello(*size).as_slice()).unwrap();
            let accepted = acceptor.accept().unwrap_or_else(|(error, _)| panic!("{error}")).unwrap();
            let read = accepted.client_hello();
            assert_eq!(read.server_name(), Some(NAME));
            assert_eq!(read.alpn().unwrap().collect::<Vec<_>>(), [b"h2".as_slice(), b"http/1.1"]);
        }
    }

    #[test]
    fn they_are_as_large_as_is_said() {
        assert_eq!(hello(Size::Large).len(), 1548);
        assert_eq!(hello(Size::Small).len(), 326);
    }

    #[test]
    fn the_server_finds_the_request_in_both() {
        for size in Size::value_variants() {
            let hello = hello(*size);
            let opening = hello.first_chunk().unwrap();
            assert_eq!(Request::from_opening(opening), Some((REQUEST, (hello.len() - OPENING) as u64)));
        }
    }

    #[test]
    fn the_last_fill_is_all_that_shows() {
        let mut template = Template::new(Size::Small, NAME.len()).unwrap();
        template.fill(b"b0999.s3.ap-northeast-1.amazonaws.com", &REQUEST.random(1));
        assert_eq!(template.fill(NAME.as_bytes(), &REQUEST.random(7)), hello(Size::Small));
    }
}
