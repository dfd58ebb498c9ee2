//! The check is checked: captures that are made up.

use anyhow::Result;
use lab::capture::{Conversation, conversations};

use super::same_on_both_sides;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A packet: whether the client's, its sequence number behind the beginning, its flags and payload. Its time is its place.
type Packet<'p> = (bool, u32, u8, &'p [u8]);

const HELLO: &[u8] = &[22; 60];
const ANSWER: &[u8] = b"the answer";

/// A connection in order.
const WHOLE: &[Packet<'_>] = &[
    (true, u32::MAX, SYN, b""),
    (false, u32::MAX, SYN | ACK, b""),
    (true, 0, ACK, HELLO),
    (false, 0, ACK, ANSWER),
    (true, 60, ACK | FIN, b""),
    (false, 10, ACK | FIN, b""),
];

/// As tcpdump writes it. Both sides count from short of the highest number, so that the numbers begin again.
fn capture(packets: &[Packet<'_>]) -> Result<Vec<Conversation>> {
    let mut file = [&[0xd4, 0xc3, 0xb2, 0xa1][..], &[0; 16], &[1, 0, 0, 0]].concat();
    for (time, (client, number, flags, payload)) in (1_u32..).zip(packets) {
        let ends = if *client { [[10, 0, 0, 1], [10, 0, 0, 2]] } else { [[10, 0, 0, 2], [10, 0, 0, 1]] };
        let ports: [u8; 4] = if *client { [200, 0, 1, 187] } else { [1, 187, 200, 0] };
        let number = number.wrapping_add(u32::MAX - 20);
        let tcp = [&ports[..], &number.to_be_bytes(), &[0; 4], &[0x50, *flags], &[0; 6], payload].concat();
        let total = u16::try_from(20 + tcp.len())?.to_be_bytes();
        let ip = [&[0x45, 0][..], &total, &[0; 8], &ends.concat(), &tcp].concat();
        let frame = [&[0; 14][..], &ip].concat();
        let length = u32::try_from(frame.len())?.to_le_bytes();
        file.extend([&time.to_le_bytes()[..], &[0; 4], &length, &length, &frame].concat());
    }
    conversations(&file)
}

fn with(place: usize, packet: Packet<'static>) -> Vec<Packet<'static>> {
    let mut packets = WHOLE.to_vec();
    packets.insert(place, packet);
    packets
}

fn without(place: usize) -> Vec<Packet<'static>> {
    let mut packets = WHOLE.to_vec();
    packets.remove(place);
    packets
}

fn fault(south: &[Packet<'_>], north: &[Packet<'_>]) -> Result<String> {
    Ok(same_on_both_sides(&capture(south)?, &capture(north)?)
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default())
}

#[test]
fn bytes_come_together_in_any_order_and_once() -> Result<()> {
    let order: Vec<Packet<'_>> = vec![
        (true, u32::MAX, SYN, b""),
        (false, u32::MAX, SYN | ACK, b""),
        (true, 40, ACK, &HELLO[40..]),
        (true, 0, ACK, &HELLO[..30]),
        (true, 20, ACK, &HELLO[20..50]),
        // Asks whether somebody is there.
        (true, u32::MAX, ACK, b"\0"),
        (false, 0, ACK, ANSWER),
        (true, 60, ACK | FIN, b""),
        (false, 10, ACK | FIN, b""),
    ];
    let all = capture(&order)?;
    assert!(all.len() == 1 && all[0].is_whole() && all[0].up.bytes == HELLO && all[0].down.bytes == ANSWER, "{all:?}");
    assert_eq!(fault(&order, WHOLE)?, "");
    Ok(())
}

#[test]
fn what_is_missing_or_contradicts_itself_is_noticed() -> Result<()> {
    // A piece, an end, a beginning.
    for place in [2, 3, 4, 5] {
        assert!(!capture(&without(place))?[0].is_whole(), "without {place}");
    }
    assert!(capture(&without(0)).is_err());
    assert!(capture(&with(4, (true, 10, ACK, b"another"))).is_err());
    Ok(())
}

#[test]
fn a_byte_that_is_another_missing_or_too_many_is_noticed() -> Result<()> {
    let mut changed = WHOLE.to_vec();
    changed[3] = (false, 0, ACK, b"the Answer");
    assert_eq!(fault(WHOLE, &changed)?, "from the server: byte Some(4) is another");
    let more = with(4, (true, 60, ACK, b"!"));
    assert_eq!(fault(&more, WHOLE)?, "from the client: 61 bytes were sent, 60 arrived");
    assert_eq!(fault(WHOLE, &more)?, "from the client: 60 bytes were sent, 61 arrived");
    assert_eq!(fault(WHOLE, &[])?, "1 connections before the gate, 0 behind it");
    assert_eq!(fault(&[], &[])?, "no connection");
    Ok(())
}

#[test]
fn an_end_that_arrives_as_another_is_noticed() -> Result<()> {
    let mut reset = WHOLE.to_vec();
    reset[4] = (true, 60, RST, b"");
    assert_eq!(fault(&reset, &reset)?, "");
    assert_eq!(fault(WHOLE, &reset)?, "ended by Some(Fin), passed on as Some(Reset)");
    assert_eq!(fault(&reset, WHOLE)?, "ended by Some(Reset), passed on as Some(Fin)");
    assert_eq!(fault(WHOLE, &without(4))?, "ended by Some(Fin), passed on as None");
    // Unless the server has reset meanwhile.
    let gone = [&without(4)[..], &[(false, 11, RST, b"")]].concat();
    assert_eq!(fault(WHOLE, &gone)?, "");
    Ok(())
}

#[test]
fn only_what_was_on_its_way_to_somebody_who_resets_may_be_missing() -> Result<()> {
    // The client resets behind its end, and what the server sends behind the client's hello does not arrive.
    let closed = with(6, (true, 61, RST, b""));
    let answered = with(4, (false, 10, ACK, b"on its way"));
    assert_eq!(fault(&closed, &answered)?, "");
    let (before, mut later) = (with(2, (false, 10, ACK, b"before")), closed);
    later.insert(2, (false, 0, ACK, b""));
    assert_eq!(fault(&later, &before)?, "from the server: 16 bytes were sent, 10 arrived");
    // Without a reset there is no excuse.
    assert_eq!(fault(WHOLE, &answered)?, "from the server: 20 bytes were sent, 10 arrived");
    Ok(())
}
