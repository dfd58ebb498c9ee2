//! What an HTTP client is told: that its tunnel stands, or why it is not served.

use std::fmt::Write;
use std::io;

use sekisho_name::Name;
use sekisho_peek::http::{Asks, Request};
use tokio::net::TcpStream;

use crate::reason::Reason;

/// RFC 9110 §9.3.6: any 2xx switches to the tunnel, and has no content.
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How a client is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// It may ask again on the same connection.
    pub keep_alive: bool,
    /// It asked by HEAD, whose answer has no content (RFC 9110 §9.3.2).
    pub head: bool,
    /// It takes this gate for its proxy, and is told what a proxy says (RFC 9209).
    pub proxied: bool,
}

impl Manner {
    /// How the client of this request is to be told.
    pub(crate) fn of(request: &Request) -> Self {
        // What follows a request that is no CONNECT may be its body, so nothing else can be read there.
        let keep_alive = request.keep_alive && request.asks == Asks::Tunnel;
        Self { keep_alive, head: &*request.method == "HEAD", proxied: false }
    }
}

/// The status that tells of a reason, with its phrase (RFC 9110 §15) and a proxy's word for it (RFC 9209 §2.3).
pub const fn status(reason: Reason) -> (u16, &'static str, &'static str) {
    match reason {
        Reason::BadRequest => (400, "Bad Request", "http_request_error"),
        Reason::MethodNotAllowed => (405, "Method Not Allowed", "http_request_denied"),
        Reason::NameNotFound | Reason::DnsFailed => (502, "Bad Gateway", "dns_error"),
        Reason::ConnectFailed => (502, "Bad Gateway", "connection_refused"),
        Reason::PortsExhausted | Reason::DescriptorsExhausted => (502, "Bad Gateway", "proxy_internal_error"),
        Reason::ConnectTimeout => (504, "Gateway Timeout", "connection_timeout"),
        Reason::ForbiddenAddress => (403, "Forbidden", "destination_ip_prohibited"),
        _ => (403, "Forbidden", "http_request_denied"),
    }
}

/// The whole answer to a client that is not served. `allowed` are the methods of its listener.
pub(crate) fn refusal(
    reason: Reason,
    detail: Option<&str>,
    host: Option<&Name>,
    allowed: &[Box<str>],
    manner: Manner,
) -> Vec<u8> {
    let (status, phrase, error) = status(reason);
    let label = reason.label();
    // Names and details hold nothing that a header or a terminal could take for something else: no quote either.
    let whom = host.map_or_else(String::new, |host| format!(" to {}", host.as_str()));
    let why = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
    let what = if status < 500 { "is not let through by" } else { "could not be served through" };
    let content = format!("This request{whom} {what} the gate: {label}{why}.\n");
    // Of what a proxy answers to a CONNECT most clients show its first line alone (RFC 9112 §4: a phrase is for people).
    let phrase = if manner.proxied { format!("{phrase} (sekisho: {label})") } else { phrase.to_owned() };
    let mut answer = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n",
        content.len()
    );
    // Writing to a String cannot fail.
    if reason == Reason::MethodNotAllowed {
        let _ = write!(answer, "Allow: {}\r\n", allowed.join(", "));
    }
    if manner.proxied {
        let _ = write!(answer, "Proxy-Status: sekisho; error={error}; details=\"{label}{why}\"\r\n");
    }
    answer.push_str(if manner.keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
    if !manner.head {
        answer.push_str(&content);
    }
    answer.into_bytes()
}

/// Writes a few bytes to a client that goes on reading and writing.
///
/// # Errors
/// When it is gone.
pub(crate) async fn say(client: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        client.writable().await?;
        match client.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: Reason, manner: Manner) -> String {
        let host = Name::parse("b.example").unwrap();
        let allowed = ["GET".into(), "HEAD".into()];
        String::from_utf8(refusal(reason, Some("a few words"), Some(&host), &allowed, manner)).unwrap()
    }

    #[test]
    fn a_refusal_names_its_reason_and_has_the_length_that_it_says() {
        for &reason in Reason::ALL {
            let text = told(reason, Manner::default());
            let (head, content) = text.split_once("\r\n\r\n").unwrap();
            assert!(content.contains(reason.label()) && content.contains("b.example"), "{text}");
            assert!(head.contains(&format!("Content-Length: {}\r\n", content.len())), "{text}");
            assert!(head.ends_with("Connection: close") && !head.contains("Proxy-Status"), "{text}");
            assert_eq!(head.contains("Allow: GET, HEAD"), reason == Reason::MethodNotAllowed);
        }
    }

    #[test]
    fn a_proxys_client_is_told_in_its_own_words() {
        let manner = Manner { keep_alive: true, head: true, proxied: true };
        let text = told(Reason::ConnectTimeout, manner);
        assert!(text.starts_with("HTTP/1.1 504 Gateway Timeout (sekisho: connect_timeout)\r\n"), "{text}");
        let status = "Proxy-Status: sekisho; error=connection_timeout; details=\"connect_timeout (a few words)\"\r\n";
        assert!(text.contains(status), "{text}");
        assert!(text.ends_with("Connection: keep-alive\r\n\r\n"), "HEAD has no content: {text}");
    }
}
