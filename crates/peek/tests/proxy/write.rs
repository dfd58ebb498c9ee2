//! Headers that are sent say what they were made of, to this reader and byte by byte.

use std::net::SocketAddr;

use proptest::prelude::*;
use sekisho_peek::proxy::{About, Header, Progress, inspect, write};

use crate::craft::{V4, v2, v6};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn both_families_are_written_as_a_sender_writes_them() {
    assert_eq!(write(address("192.0.2.7:40000"), address("198.51.100.9:443")), v2(0x21, 0x11, V4));
    assert_eq!(write(address("[2001:db8::7]:40000"), address("[2001:db8::9]:443")), v2(0x21, 0x21, &v6()));
}

#[test]
fn of_two_families_both_are_written_as_the_wider_one() {
    for (source, destination, read) in [
        ("192.0.2.7:1", "[2001:db8::9]:443", ("[::ffff:192.0.2.7]:1", "[2001:db8::9]:443")),
        ("[2001:db8::7]:1", "198.51.100.9:443", ("[2001:db8::7]:1", "[::ffff:198.51.100.9]:443")),
    ] {
        let header = write(address(source), address(destination));
        let about = About::Client { source: address(read.0), destination: address(read.1) };
        assert_eq!(inspect(&header), Ok(Progress::Done(Header { len: header.len(), about, vpce: None })));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, behind in proptest::collection::vec(any::<u8>(), 0..9)) {
        // A header has no room for a flow or a zone.
        let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
        let (source, destination) = (plain(source), plain(destination));
        let header = write(source, destination);
        let Ok(Progress::Done(read)) = inspect(&[&header[..], &behind].concat()) else { panic!("{header:?}") };
        prop_assert_eq!(read.len, header.len());
        let About::Client { source: from, destination: to } = read.about else { panic!("{read:?}") };
        let same = |read: SocketAddr, said: SocketAddr| (read.ip().to_canonical(), read.port()) == (said.ip().to_canonical(), said.port());
        prop_assert!(same(from, source) && same(to, destination));
    }
}
