//! What is said in HTTP/1.1: to a proxy before the hello, and on port 80 in place of one.
//!
//! On port 80 a request stands in the target of a GET, and its answer, behind a head, ends the connection.

use std::io::Write as _;

use clap::ValueEnum;

use crate::wire::{OPENING, Request};

/// How a client comes to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// By a hello.
    Tls,
    /// By CONNECT, and a hello behind it.
    Connect,
    /// By one GET.
    Http,
}

/// Before the request's digits.
const GET: &[u8] = b"GET /";
/// Of a request in a target.
const DIGITS: usize = 32;
/// Behind the last header.
const EMPTY_LINE: &[u8; 4] = b"\r\n\r\n";
/// The largest head of an answer.
const MOST: usize = 1024;

/// Makes `text` a request for a tunnel.
pub fn ask_for_tunnel(text: &mut Vec<u8>, name: &[u8]) {
    let parts = [b"CONNECT ", name, b":443 HTTP/1.1\r\nHost: ", name, b":443\r\nUser-Agent: load\r\n\r\n"];
    text.clear();
    for part in parts {
        text.extend_from_slice(part);
    }
}

/// Makes `text` a GET with this request; `counter` makes each another. Its length depends on the name's alone.
pub fn get(text: &mut Vec<u8>, name: &[u8], request: Request, counter: u64) {
    text.clear();
    text.extend_from_slice(GET);
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{:032x}/{counter:016x} HTTP/1.1\r\nHost: ", u128::from_be_bytes(request.header()));
    text.extend_from_slice(name);
    text.extend_from_slice(b"\r\nUser-Agent: load\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

/// The request in the start of a GET. `None` when it is not of ours.
pub fn request_in(opening: &[u8; OPENING]) -> Option<Request> {
    let digits = opening.strip_prefix(GET)?.get(..DIGITS)?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    let number = u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some(Request::from_header(number.to_be_bytes()))
}

/// Makes `text` the head of an answer of so many bytes; how many bytes it has itself.
pub fn answer(text: &mut Vec<u8>, length: u64) -> u64 {
    text.clear();
    let _ = write!(
        text,
        "HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    text.len() as u64
}

/// Looks for the empty line that ends a head, in whatever pieces it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct End {
    matched: usize,
}

impl End {
    /// How many of these bytes belong to the head, when it ends in them.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in (1..).zip(bytes) {
            let goes_on = EMPTY_LINE.get(self.matched) == Some(byte);
            self.matched = if goes_on { self.matched + 1 } else { usize::from(*byte == b'\r') };
            if self.matched == EMPTY_LINE.len() {
                return Some(at);
            }
        }
        None
    }
}

/// The head of an answer, as far as it is here.
#[derive(Debug)]
pub struct Head {
    bytes: [u8; MOST],
    had: usize,
    end: End,
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; MOST], had: 0, end: End::default() }
    }
}

impl Head {
    /// Takes what has come; how many bytes of it belong to the head, when it is whole.
    ///
    /// # Errors
    /// When it is larger than any that is expected here.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, TooLong> {
        let end = self.end.find(bytes);
        let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let place = self.bytes.get_mut(self.had..self.had + bytes.len()).ok_or(TooLong)?;
        place.copy_from_slice(bytes);
        self.had += bytes.len();
        Ok(end)
    }

    /// The status, unless the first line is not one of HTTP/1.
    pub fn status(&self) -> Option<u16> {
        let (version, rest) = self.lines().next()?.split_once(' ')?;
        let status = rest.split(' ').next()?;
        version.starts_with("HTTP/1.").then(|| status.parse().ok())?
    }

    /// The length of the content, where it is told.
    pub fn content_length(&self) -> Option<u64> {
        let mut headers = self.lines().skip(1).filter_map(|line| line.split_once(':'));
        let (_, value) = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        value.trim().parse().ok()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        let text = self.bytes.get(..self.had).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.unwrap_or_default().split("\r\n")
    }
}

/// A head without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"b0042.s3.ap-northeast-1.amazonaws.com";
    const REQUEST: Request = Request { up: 0x0102, down: u64::MAX - 1 };

    #[test]
    fn a_get_reads_back_and_the_gates_own_reader_finds_its_host() {
        use sekisho_peek::http::{Inspector, Progress, Role};

        let mut text = Vec::new();
        get(&mut text, NAME, REQUEST, 7);
        assert_eq!(request_in(text.first_chunk().unwrap()), Some(REQUEST));
        let Ok(Progress::Done(read)) = Inspector::new(Role::Server).inspect(&text) else { panic!("{text:?}") };
        assert_eq!((read.host.as_str().as_bytes(), read.head_len), (NAME, text.len()));
        ask_for_tunnel(&mut text, NAME);
        let Ok(Progress::Done(read)) = Inspector::new(Role::Proxy).inspect(&text) else { panic!("{text:?}") };
        assert_eq!((read.host.as_str().as_bytes(), read.port, read.head_len), (NAME, Some(443), text.len()));
        assert_eq!(request_in(text.first_chunk().unwrap()), None);
    }

    #[test]
    fn an_answer_is_read_however_it_is_split() {
        let mut text = Vec::new();
        let length = usize::try_from(answer(&mut text, 1234)).unwrap();
        text.extend_from_slice(b"\r\n\r\nbehind");
        for split in 0..text.len() {
            let mut head = Head::default();
            let (first, second) = text.split_at(split);
            let taken = match head.take(first).unwrap() {
                Some(taken) => taken,
                None => split + head.take(second).unwrap().unwrap(),
            };
            assert_eq!((taken, head.status(), head.content_length()), (length, Some(200), Some(1234)), "{split}");
        }
    }

    #[test]
    fn an_empty_line_is_found_behind_what_looks_like_one() {
        assert_eq!(End::default().find(b"a\r\n\r\r\n\r\nb"), Some(8));
        assert_eq!(End::default().find(b"a\n\n\r\n\rb"), None);
    }

    #[test]
    fn a_head_that_never_ends_is_given_up() {
        let mut head = Head::default();
        assert_eq!(head.take(&[b'a'; MOST]), Ok(None));
        assert_eq!(head.take(b"a"), Err(TooLong));
    }

    #[test]
    fn what_is_no_status_line_has_no_status() {
        for text in ["SSH-2.0 200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n"] {
            let mut head = Head::default();
            assert_eq!(head.take(text.as_bytes()), Ok(Some(text.len())));
            assert_eq!((head.status(), head.content_length()), (None, None));
        }
    }
}
