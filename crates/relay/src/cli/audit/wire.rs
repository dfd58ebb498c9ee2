//! What is said on a way out, and what an answer means.

use sekisho_name::Name;

/// In every datagram, so that `sekisho audit answer` answers nobody else. As long as a QUIC connection id may be, so
/// that it can be one.
pub(super) const MARK: &[u8; 20] = b"sekisho-egress-audit";

/// What `sekisho audit answer` says. It does not have the mark, so that two of them never answer each other, and is shorter
/// than whatever is sent, so that nothing is amplified.
pub(super) const ANSWER: &[u8] = b"answered by sekisho\n";

/// What is said once a way is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// A TLS hello that names a host.
    Named,
    /// A TLS hello that names none.
    Unnamed,
    /// A line that is neither TLS nor HTTP, as SSH on another's port begins.
    Plain,
    /// A plain HTTP request.
    Http,
    /// A query for a name that does not exist.
    Dns,
    /// A QUIC packet of a version that no server knows, which all answer with those that they do (RFC 9000 §6).
    Quic,
    /// An ICMP echo request.
    Echo,
}

impl Says {
    /// In a few words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Named => "TLS with a name that no rule lists",
            Self::Unnamed => "TLS without a name",
            Self::Plain => "neither TLS nor HTTP",
            Self::Http => "HTTP for a name that no rule lists",
            Self::Dns => "DNS",
            Self::Quic => "QUIC",
            Self::Echo => "echo",
        }
    }

    /// Its bytes over TCP.
    pub(super) fn stream(self, name: &Name) -> Vec<u8> {
        match self {
            Self::Named => hello(Some(name)),
            Self::Unnamed => hello(None),
            Self::Http => format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", name.as_str()).into(),
            Self::Dns => sized(&query()),
            Self::Plain | Self::Quic | Self::Echo => [MARK.as_slice(), b"\r\n"].concat(),
        }
    }

    /// Its bytes in one datagram.
    pub(super) fn datagram(self) -> Vec<u8> {
        match self {
            Self::Dns => query(),
            Self::Quic => quic(),
            // Type 8 or 128 and the rest of the header, which the kernel writes, are `attempt.rs`'s business.
            _ => [MARK.as_slice(), b"\r\n"].concat(),
        }
    }
}

/// What bytes that came back are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The gate's own refusal.
    Refusal(String),
    /// Anything else.
    Other(String),
}

/// Alerts (RFC 8446 §6.2) that a gate refuses by, and that their names are known of.
const ACCESS_DENIED: u8 = 49;
const MISSING_EXTENSION: u8 = 109;
const UNRECOGNIZED_NAME: u8 = 112;

/// Reads what came back over TCP. An alert that servers send as well is the gate's only where the operator says that the
/// gate sends it (`unrecognized_name`).
pub(super) fn read(says: Says, bytes: &[u8], unrecognized_name: bool) -> Reply {
    if let [0x15, 3, _, 0, 2, _, alert, ..] = *bytes {
        return match alert {
            ACCESS_DENIED => Reply::Refusal("TLS alert access_denied".to_owned()),
            MISSING_EXTENSION if says == Says::Unnamed => Reply::Refusal("TLS alert missing_extension".to_owned()),
            UNRECOGNIZED_NAME if unrecognized_name => Reply::Refusal("TLS alert unrecognized_name".to_owned()),
            UNRECOGNIZED_NAME => Reply::Other("TLS alert unrecognized_name, as servers send it, too".to_owned()),
            other => Reply::Other(format!("TLS alert {other}, as a server sends it")),
        };
    }
    // A server's text is not shown: it would be the target's own words on the operator's terminal.
    if bytes.starts_with(b"HTTP/1.1 403 ") {
        let text = String::from_utf8_lossy(bytes);
        if let Some((_, why)) = text.split_once(" is not let through by the gate: ") {
            let label: String = why.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            return Reply::Refusal(format!("HTTP 403, {label}"));
        }
    }
    Reply::Other(match bytes {
        [0x16, 3, ..] => "a TLS server answered".to_owned(),
        [b'H', b'T', b'T', b'P', b'/', ..] => "an HTTP server answered".to_owned(),
        _ => answered(bytes),
    })
}

/// Who answered that is not the gate.
pub(super) fn answered(bytes: &[u8]) -> String {
    let ours = bytes.starts_with(ANSWER);
    if ours { "the target answered".to_owned() } else { format!("somebody answered, {} bytes", bytes.len()) }
}

/// A ClientHello of TLS 1.2 that servers of every kind take, in one record.
fn hello(name: Option<&Name>) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |number: u16, content: &[u8]| {
        extensions.extend(number.to_be_bytes());
        extensions.extend(sized(content));
    };
    if let Some(name) = name {
        // RFC 6066 §3: a list of one entry of type host_name.
        let entry = [&[0][..], &sized(name.as_str().as_bytes())].concat();
        extension(0, &sized(&entry));
    }
    // supported_groups: x25519, secp256r1. ec_point_formats. signature_algorithms: ECDSA, PSS and PKCS#1 with SHA-256.
    extension(10, &[0, 4, 0x00, 0x1d, 0x00, 0x17]);
    extension(11, &[1, 0]);
    extension(13, &[0, 6, 4, 3, 8, 4, 4, 1]);
    let mut body = vec![3, 3];
    // Nothing is ever encrypted, so the random need not be any.
    body.extend([MARK.as_slice(), &[0; 12]].concat());
    body.push(0);
    // ECDHE with AES-128-GCM and ChaCha20, ECDSA and RSA.
    body.extend(sized(&[0xc0, 0x2b, 0xc0, 0x2f, 0xcc, 0xa9, 0xcc, 0xa8]));
    body.extend([1, 0]);
    body.extend(sized(&extensions));
    // A ClientHello, whose length has three bytes.
    let message = [&[1, 0][..], &sized(&body)].concat();
    [&[0x16, 3, 1][..], &sized(&message)].concat()
}

/// A query for the mark's own name below `invalid`, which is in no zone (RFC 6761 §6.4).
fn query() -> Vec<u8> {
    let mut bytes = vec![0x5e, 0x15, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [MARK.as_slice(), b"invalid"] {
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label);
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// A long header of a version that is reserved to be unknown (RFC 9000 §15), with the mark for a connection id, as long as
/// a first packet has to be.
fn quic() -> Vec<u8> {
    let mut bytes = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 20];
    bytes.extend(MARK);
    bytes.extend([8, 1, 2, 3, 4, 5, 6, 7, 8]);
    bytes.resize(1200, 0);
    bytes
}

/// Bytes behind their length, which has two.
fn sized(bytes: &[u8]) -> Vec<u8> {
    // All that is written here is shorter than that.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sekisho_peek::tls::{Limits, Progress, inspect};

    fn name() -> Name {
        Name::parse("egress-audit.invalid").unwrap()
    }

    #[test]
    fn the_gate_itself_reads_the_hellos_as_they_are_meant() {
        let named = inspect(&Says::Named.stream(&name()), &Limits::default());
        assert!(matches!(named, Ok(Progress::Done(hello)) if hello.name == name()));
        let unnamed = inspect(&Says::Unnamed.stream(&name()), &Limits::default());
        assert_eq!(unnamed.unwrap_err().label(), "no_sni");
        let plain = inspect(&Says::Plain.stream(&name()), &Limits::default());
        assert_eq!(plain.unwrap_err().label(), "not_tls");
    }

    #[test]
    fn whatever_is_sent_in_a_datagram_is_marked_and_longer_than_its_answer() {
        for says in [Says::Plain, Says::Dns, Says::Quic, Says::Echo] {
            let bytes = says.datagram();
            assert!(bytes.len() > ANSWER.len(), "{says:?}");
            assert!(bytes.windows(MARK.len()).any(|window| window == MARK), "{says:?}");
        }
        assert!(!ANSWER.windows(MARK.len()).any(|window| window == MARK));
    }

    #[test]
    fn only_what_the_gate_says_counts_as_its_refusal() {
        let alert = |number| [0x15, 3, 3, 0, 2, 2, number];
        let refusal = |says, bytes: &[u8], unrecognized| matches!(read(says, bytes, unrecognized), Reply::Refusal(_));
        assert!(refusal(Says::Named, &alert(49), false));
        assert!(refusal(Says::Unnamed, &alert(109), false));
        assert!(!refusal(Says::Named, &alert(109), false));
        assert!(!refusal(Says::Named, &alert(112), false));
        assert!(refusal(Says::Named, &alert(112), true));
        assert!(!refusal(Says::Named, &alert(40), true));
        assert!(!refusal(Says::Named, &[0x16, 3, 3, 0, 80], true));
        assert!(!refusal(Says::Http, b"HTTP/1.1 403 Forbidden\r\n\r\nno", false));
        assert!(!refusal(Says::Named, ANSWER, true));
        let gate =
            b"HTTP/1.1 403 Forbidden\r\n\r\nThis request to a.example is not let through by the gate: no_rule.\n";
        assert_eq!(read(Says::Http, gate, false), Reply::Refusal("HTTP 403, no_rule".to_owned()));
    }
}
