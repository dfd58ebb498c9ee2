//! One flat JSON object, written straight into a buffer. A serializer that knows no more than types took four times as
//! long, for each connection.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A key of an [`Object`], with what separates it from the value before it.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// An object that is being written. The keys are [`key!`]s, so a value never stands before the first.
#[derive(Debug)]
pub(super) struct Object<'a>(&'a mut Vec<u8>);

impl<'a> Object<'a> {
    /// Begins an object of an event at `time`.
    pub(super) fn begin(out: &'a mut Vec<u8>, clock: &mut Clock, time: SystemTime, event: &'static str) -> Self {
        out.extend_from_slice(b"{\"time\":\"");
        clock.write(out, time);
        out.push(b'"');
        let mut object = Self(out);
        object.word(key!("event"), event);
        object
    }

    /// The line's end.
    pub(super) fn end(self) {
        self.0.extend_from_slice(b"}\n");
    }

    /// A word of this program's own, or anything else in which nothing is to be escaped.
    pub(super) fn word(&mut self, key: &'static str, word: &str) {
        self.key(key);
        self.0.push(b'"');
        self.0.extend_from_slice(word.as_bytes());
        self.0.push(b'"');
    }

    /// Text from outside.
    pub(super) fn text(&mut self, key: &'static str, text: &str) {
        self.key(key);
        self.quoted(text);
    }

    /// A list of text from outside.
    pub(super) fn texts<'t>(&mut self, key: &'static str, texts: impl IntoIterator<Item = &'t str>) {
        self.list(key, texts, Self::quoted);
    }

    /// A list of code points.
    pub(super) fn code_points(&mut self, key: &'static str, codes: impl IntoIterator<Item = u16>) {
        self.list(key, codes, |object, code| {
            object.0.extend_from_slice(b"\"0x");
            object.hex::<4>(code.into());
            object.0.push(b'"');
        });
    }

    pub(super) fn number(&mut self, key: &'static str, number: u64) {
        self.key(key);
        self.digits(number);
    }

    pub(super) fn flag(&mut self, key: &'static str, flag: bool) {
        self.key(key);
        self.0.extend_from_slice(if flag { b"true" } else { b"false" });
    }

    /// 16 hex digits.
    pub(super) fn id(&mut self, key: &'static str, id: u64) {
        self.key(key);
        self.0.push(b'"');
        self.hex::<16>(id);
        self.0.push(b'"');
    }

    /// Milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: &'static str, duration: Duration) {
        self.key(key);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.digits(micros / 1000);
        self.0.push(b'.');
        let fraction = decimal::<3>(micros % 1000);
        // As short as it can be, with at least one digit.
        let zeros = fraction.iter().skip(1).rev().take_while(|&&digit| digit == b'0').count();
        self.0.extend(fraction.into_iter().take(3 - zeros));
    }

    pub(super) fn address(&mut self, key: &'static str, address: SocketAddr) {
        self.key(key);
        self.0.push(b'"');
        match address {
            SocketAddr::V4(v4) => {
                for (index, octet) in v4.ip().octets().into_iter().enumerate() {
                    if index > 0 {
                        self.0.push(b'.');
                    }
                    self.digits(octet.into());
                }
                self.0.push(b':');
                self.digits(v4.port().into());
            }
            SocketAddr::V6(v6) => {
                // Writing to a vector cannot fail.
                let _ = write!(self.0, "{v6}");
            }
        }
        self.0.push(b'"');
    }

    fn key(&mut self, key: &'static str) {
        self.0.extend_from_slice(key.as_bytes());
    }

    fn list<T>(&mut self, key: &'static str, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) {
        self.key(key);
        self.0.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            write(self, item);
        }
        self.0.push(b']');
    }

    fn quoted(&mut self, text: &str) {
        if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f)) {
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            let before = self.0.len();
            if serde_json::to_writer(&mut *self.0, text).is_err() {
                self.0.truncate(before);
                self.0.extend_from_slice(b"\"\"");
            }
        }
    }

    fn digits(&mut self, number: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// The lowest `N` digits.
    fn hex<const N: usize>(&mut self, mut number: u64) {
        let mut digits = [b'0'; N];
        for digit in digits.iter_mut().rev() {
            let low = u8::try_from(number & 0xf).unwrap_or_default();
            *digit = if low < 10 { b'0' + low } else { b'a' + low - 10 };
            number >>= 4;
        }
        self.0.extend_from_slice(&digits);
    }
}

/// The lowest `N` digits.
fn decimal<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    digits
}

/// Writes times in UTC to the microsecond (RFC 3339). Lines come in bursts, so the last second's text is kept.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    /// Up to the point before the fraction; empty at first.
    text: String,
}

impl Clock {
    fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        // By a clock before 1970 it is always its beginning.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.text.is_empty() || since.as_secs() != self.second {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|second| Timestamp::from_second(second).ok());
            self.text = second.unwrap_or(Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        out.extend_from_slice(&decimal::<6>(since.subsec_micros().into()));
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Object<'_>)) -> String {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out, &mut Clock::default(), UNIX_EPOCH, "x");
        fill(&mut object);
        object.end();
        let line = String::from_utf8(out).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
        line.strip_prefix(r#"{"time":"1970-01-01T00:00:00.000000Z","event":"x","#).unwrap().to_owned()
    }

    #[test]
    fn milliseconds_are_as_short_as_they_can_be() {
        for (micros, text) in
            [(0, "0.0"), (4, "0.004"), (310, "0.31"), (500, "0.5"), (5000, "5.0"), (102_026, "102.026")]
        {
            let line = written(|object| object.millis(key!("ms"), Duration::from_micros(micros)));
            assert_eq!(line, format!("\"ms\":{text}}}\n"));
        }
    }

    #[test]
    fn addresses_and_numbers_are_written_as_they_are() {
        for address in ["0.0.0.0:0", "255.255.255.255:65535", "10.0.200.7:443", "[2001:db8::1]:443", "[::1]:80"] {
            let line = written(|object| object.address(key!("a"), address.parse().unwrap()));
            assert_eq!(line, format!("\"a\":\"{address}\"}}\n"));
        }
        for number in [0, 9, 10, 12_345, u64::MAX] {
            assert_eq!(written(|object| object.number(key!("n"), number)), format!("\"n\":{number}}}\n"));
            assert_eq!(written(|object| object.id(key!("n"), number)), format!("\"n\":\"{number:016x}\"}}\n"));
        }
        assert_eq!(
            written(|object| object.code_points(key!("v"), [0x304, 0xfefe])),
            "\"v\":[\"0x0304\",\"0xfefe\"]}\n"
        );
    }

    #[test]
    fn text_is_escaped_as_the_library_does_it() {
        for text in ["", "plain", "レポート", "a\"b", "a\\b", "a\nb\0", "\u{7f}\u{1b}[2J"] {
            let expected = serde_json::to_string(text).unwrap();
            assert_eq!(written(|object| object.text(key!("t"), text)), format!("\"t\":{expected}}}\n"));
        }
        assert_eq!(written(|object| object.texts(key!("t"), ["h2", "\""])), "\"t\":[\"h2\",\"\\\"\"]}\n");
    }

    #[test]
    fn the_clock_goes_on() {
        let mut clock = Clock::default();
        for micros in
            [0_u64, 1, 999_999, 1_000_000, 1_795_511_702_099_999, 1_795_511_702_100_000, 1_795_511_703_000_000, 5]
        {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let mut out = Vec::new();
            clock.write(&mut out, time);
            let expected = format!("{:.6}", Timestamp::try_from(time).unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
