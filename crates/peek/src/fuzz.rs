//! Bodies of fuzz targets: any bytes in, no panic, and what holds for every input holds.

use crate::tls::{ClientHello, Inspector, Limits, MAX_ALPN, MAX_ALPN_LEN, MAX_VERSIONS, Progress, Refusal, inspect};

/// Any first bytes of a connection, under the default limits and under small ones.
pub fn hello(data: &[u8]) {
    byte_by_byte(data, &Limits::default());
    byte_by_byte(data, &Limits { handshake: 300, raw: 400 });
}

/// Any first bytes of a connection that must begin with a PROXY header.
pub fn proxy(data: &[u8]) {
    use crate::proxy::{About, MAX_HEADER, Progress, inspect};

    let together = inspect(data);
    for end in 0..=data.len() {
        let received = data.get(..end).unwrap_or_default();
        let answer = inspect(received);
        match &answer {
            Ok(Progress::Need { at_least }) => {
                assert!(*at_least > end && *at_least <= MAX_HEADER, "waits for {at_least} and has {end}");
                continue;
            }
            Ok(Progress::Done(header)) => {
                assert_eq!(header.len, end, "the header was whole before its last byte, or a byte behind it");
                assert!(header.about != About::Sender || header.vpce.is_none());
                let fit = |id: &str| id.bytes().all(|b| b == b'-' || b.is_ascii_alphanumeric());
                assert!(header.vpce.as_deref().is_none_or(fit), "an id that is not fit for a log");
            }
            Err(refusal) => assert!(refusal.label().starts_with("proxy_header_") && !refusal.detail().is_empty()),
        }
        assert_eq!(answer, together, "bytes that follow change the answer");
        return;
    }
    assert!(matches!(together, Ok(Progress::Need { .. })), "one at a time, the bytes are not enough");
}

/// Any first bytes of a connection that must begin with a request, to either kind of listener.
pub fn http(data: &[u8]) {
    use crate::http::{Asks, Inspector, MAX_HEAD, Progress, Role};

    for role in [Role::Server, Role::Proxy] {
        let together = Inspector::new(role).inspect(data);
        let mut inspector = Inspector::new(role);
        let last = (0..=data.len()).find_map(|end| {
            let answer = inspector.inspect(data.get(..end).unwrap_or_default());
            if let Ok(Progress::Need { at_least }) = answer {
                assert!(at_least > end && end <= MAX_HEAD, "waits for {at_least} and has {end}");
                return None;
            }
            if let Ok(Progress::Done(request)) = &answer {
                assert_eq!(request.head_len, end, "the head was whole before its last byte, or a byte behind it");
            }
            assert_eq!(answer, inspector.inspect(data), "a look after the last changes the answer");
            Some(answer)
        });
        assert_eq!(last.is_none(), matches!(together, Ok(Progress::Need { .. })), "one at a time, another answer");
        let Some(answer) = last else { continue };
        assert_eq!(answer, together, "bytes that follow change the answer");
        let Ok(Progress::Done(request)) = answer else { continue };
        // What goes on says the same to the next reader, and changes no more.
        if let Asks::Forward { head, body } = &request.asks {
            let again = Inspector::new(Role::Server).inspect(head);
            let same = matches!(&again, Ok(Progress::Done(again)) if again.host == request.host
                && again.head_len == head.len() && again.asks == Asks::Forward { head: head.clone(), body: *body });
            assert!(same, "forwards {}, and reads it as {again:?}", head.escape_ascii());
        }
    }
}

/// What stands behind a hello, each direction's next piece told by a byte: its top bit the server's, the rest its length.
pub fn retry(data: &[u8]) {
    use crate::tls::retry::{MAX_EARLY, Watch};

    let Ok(name) = sekisho_name::Name::parse("a.example") else { return };
    let mut watch = Watch::new(name, false, Limits::default());
    let mut held = Vec::new();
    let mut passed = 0;
    let mut rest = data;
    while let Some((&piece, next)) = rest.split_first() {
        let (bytes, next) = next.split_at(usize::from(piece & 0x7f).min(next.len()));
        rest = next;
        if piece & 0x80 == 0 {
            held.extend_from_slice(bytes);
        } else if watch.server(bytes).is_err() {
            assert!(watch.is_strange(), "a server's bytes are wrong by themselves");
            return;
        }
        let Ok(pass) = watch.client(&held) else { return };
        assert!(pass <= held.len());
        let again = watch.client(held.get(pass..).unwrap_or_default());
        assert!(watch.is_settled() || watch.is_strange() || again == Ok(0), "more passes though nothing has come");
        held.drain(..pass);
        passed += pass;
        if watch.is_settled() {
            assert!(held.is_empty());
            return;
        }
        assert!(passed <= MAX_EARLY || watch.is_strange());
    }
}

/// Gives the bytes one at a time to one inspector and together to another.
fn byte_by_byte(data: &[u8], limits: &Limits) {
    let together = inspect(data, limits);
    let mut inspector = Inspector::new(*limits);
    let mut declared = Declared::default();
    for end in 0..=data.len() {
        let received = data.get(..end).unwrap_or_default();
        let answer = inspector.inspect(received);
        match &answer {
            Ok(Progress::Need { at_least }) => {
                assert!(*at_least > end, "waits for {at_least} and has {end}");
                assert!(*at_least <= declared.total(received), "waits for more than the lengths declare");
                assert!(*at_least <= limits.raw, "waits for more than the limits allow");
            }
            Ok(Progress::Done(hello)) => {
                assert_eq!(hello.raw_len, end, "the hello was whole before its last byte, or a byte behind it");
                consistent(hello, received);
                in_records_of_one_byte(hello, received, limits);
            }
            Err(refusal) => said(*refusal),
        }
        if is_final(&answer) {
            assert_eq!(answer, together, "bytes that follow change the answer");
            assert_eq!(answer, inspect(received, limits), "the looks before change the answer");
            assert_eq!(answer, inspector.inspect(data), "a look after the last changes the answer");
            return;
        }
    }
    assert!(!is_final(&together), "one at a time, the bytes are not enough");
}

fn is_final(answer: &Result<Progress, Refusal>) -> bool {
    !matches!(answer, Ok(Progress::Need { .. }))
}

/// How many bytes the record headers so far give a reason to wait for, where the record or header under way ends: read
/// apart from the code under test.
#[derive(Debug, Default)]
pub struct Declared {
    /// Where the first record begins that is not whole.
    record: usize,
}

impl Declared {
    /// The total, of everything received so far.
    pub fn total(&mut self, received: &[u8]) -> usize {
        loop {
            let Some(&[_, _, _, high, low]) = received.get(self.record..self.record + 5) else {
                return self.record + 5;
            };
            let end = self.record + 5 + usize::from(high) * 256 + usize::from(low);
            if end > received.len() {
                return end;
            }
            self.record = end;
        }
    }
}

/// What every hello that is read keeps to.
fn consistent(hello: &ClientHello, received: &[u8]) {
    assert!(hello.handshake_len + 5 <= hello.raw_len);
    assert!(hello.legacy_version >= 0x0301);
    let name = hello.name.as_str();
    assert!(name.len() <= 253 && !name.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii_graphic()));
    // In several records, headers may stand inside the name.
    let in_one_record = hello.raw_len == hello.handshake_len + 5;
    let is_there = received.windows(name.len()).any(|bytes| bytes.eq_ignore_ascii_case(name.as_bytes()));
    assert!(is_there || !in_one_record, "the name is none of the client's");
    assert!(hello.versions.len() <= MAX_VERSIONS && hello.versions.is_sorted_by(|a, b| a > b));
    assert!(hello.alpn.len() <= MAX_ALPN);
    for protocol in &hello.alpn {
        assert!((1..=MAX_ALPN_LEN).contains(&protocol.len()));
        assert!(protocol.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
    }
}

/// The same message in the smallest records there are says the same.
fn in_records_of_one_byte(hello: &ClientHello, received: &[u8], limits: &Limits) {
    let mut small = Vec::with_capacity(6 * hello.handshake_len);
    let mut rest = received;
    while let Some((&[_, _, _, high, low], behind)) = rest.split_first_chunk() {
        let (fragment, next) = behind.split_at(usize::from(high) * 256 + usize::from(low));
        small.extend(fragment.iter().flat_map(|&byte| [0x16, 3, 1, 0, 1, byte]));
        rest = next;
    }
    let limits = Limits { raw: small.len(), ..*limits };
    let expected = ClientHello { raw_len: small.len(), ..hello.clone() };
    assert_eq!(inspect(&small, &limits), Ok(Progress::Done(expected)));
}

/// What every refusal says is fit for a log.
fn said(refusal: Refusal) {
    let (label, detail) = (refusal.label(), refusal.to_string());
    assert!(!label.is_empty() && label.bytes().all(|b| b == b'_' || b.is_ascii_lowercase()));
    assert!(!detail.is_empty() && detail.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
}
