//! Headers as a sender makes them, apart from the code under test.

pub(crate) const SIGNATURE: &[u8] = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a";

/// A version 2 header: the byte of version and command, that of family and transport, and what follows the length.
pub(crate) fn v2(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version_command, family], &len, body].concat()
}

/// 192.0.2.7:40000 → 198.51.100.9:443.
pub(crate) const V4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 9, 0x9c, 0x40, 0x01, 0xbb];

/// `[2001:db8::7]:40000` → `[2001:db8::9]:443`.
pub(crate) fn v6() -> Vec<u8> {
    let host = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    [&host(7)[..], &host(9), &[0x9c, 0x40, 0x01, 0xbb]].concat()
}

/// One type-length-value.
pub(crate) fn value(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

/// CRC-32c bit by bit (RFC 3720 §12.1's polynomial).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

/// Puts the right checksum into the value that the last four bytes of `header` are.
pub(crate) fn sum(mut header: Vec<u8>) -> Vec<u8> {
    let at = header.len() - 4;
    header[at..].fill(0);
    let sum = crc32c(&header).to_be_bytes();
    header[at..].copy_from_slice(&sum);
    header
}

/// Every kind of header that is good.
pub(crate) fn good() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        "PROXY TCP4 192.0.2.7 198.51.100.9 40000 443\r\n",
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        "PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n",
        "PROXY TCP6 2001:db8::7 2001:DB8::9 40000 443\r\n",
        "PROXY TCP6 ffff:f:f:f:f:f:f:ffff ffff:f:f:f:f:f:f:ffff 65535 65535\r\n",
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        "PROXY UNKNOWN anything at all, (really)!\r\n",
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    let endpoint = value(0xea, b"\x01vpce-08d2bf15fac5001c9");
    let checked = |values: &[u8]| sum(v2(0x21, 0x11, &[V4, values, &value(3, &[0; 4])].concat()));
    all.extend([
        v2(0x21, 0x11, V4),
        v2(0x21, 0x21, &v6()),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, V4),
        v2(0x20, 0xff, b"whatever"),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &endpoint),
        v2(0x21, 0x11, &[V4, &endpoint].concat()),
        v2(0x21, 0x11, &[V4, &value(4, &[0; 1000]), &value(0xea, b"\x02other"), &value(0xea, b"")].concat()),
        checked(&[]),
        checked(&endpoint),
    ]);
    all
}
