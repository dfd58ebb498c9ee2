//! What a whole head means.

use httparse::{EMPTY_HEADER, Error, Header, Status};
use sekisho_name::{InvalidName, Name};

use super::{Asks, Fault, MAX_HEADERS, MAX_METHOD, Refusal, Request, Role};

/// Headers that say where a request goes and where it ends.
const DECIDING: [&str; 3] = ["host", "content-length", "transfer-encoding"];
/// Headers that are meant for one hop (RFC 9110 §7.6.1; RFC 9112 appendix C.2.2), which `Connection` need not name.
const ONE_HOP: [&str; 7] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade"];

const fn bad(fault: Fault) -> Refusal {
    Refusal::Bad(fault)
}

/// Reads a whole head.
pub(super) fn of(head: &[u8], role: Role) -> Result<Request, Refusal> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(bad(Fault::RequestLine)),
        Err(error) => return Err(bad(fault(error))),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(bad(Fault::RequestLine));
    };
    // It stands in every record of the request, so it is no longer than a listener's `methods` may be.
    if method.len() > MAX_METHOD {
        return Err(bad(Fault::RequestLine));
    }
    let lines = Lines::read(request.headers)?;
    let target = Target::read(method, target, role)?;
    let (host, port) = whose(&target, lines.host, version)?;
    let body = lines.body(method)?;
    let asks = match target {
        Target::Authority(_) => Asks::Tunnel,
        Target::Origin(path) => forward(method, &["", path], version, &lines, body),
        Target::Absolute { path, .. } if path.starts_with('/') => forward(method, &["", path], version, &lines, body),
        Target::Absolute { path, .. } => forward(method, &["/", path], version, &lines, body),
    };
    // RFC 9112 §9.3: 1.1 persists unless told otherwise, 1.0 only when told so.
    let keep_alive = !lines.nominates("close") && (version == 1 || lines.nominates("keep-alive"));
    Ok(Request { method: method.into(), host, port, asks, head_len: head.len(), keep_alive })
}

const fn fault(error: Error) -> Fault {
    match error {
        Error::HeaderName | Error::HeaderValue | Error::NewLine => Fault::HeaderLine,
        Error::Version => Fault::Version,
        Error::TooManyHeaders => Fault::HeadTooLarge,
        Error::Status | Error::Token => Fault::RequestLine,
    }
}

/// The header lines, and those that decide.
struct Lines<'a> {
    all: &'a [Header<'a>],
    host: Option<&'a [u8]>,
    content_length: Option<u64>,
}

impl<'a> Lines<'a> {
    fn read(all: &'a [Header<'a>]) -> Result<Self, Refusal> {
        let mut lines = Self { all, host: None, content_length: None };
        for header in all {
            if header.name.eq_ignore_ascii_case("host") {
                // RFC 9112 §3.2: one, and one only.
                if lines.host.replace(header.value).is_some() {
                    return Err(bad(Fault::SeveralHosts));
                }
            } else if header.name.eq_ignore_ascii_case("content-length") {
                // RFC 9112 §6.3: also equal ones; some take the first and some the last.
                if lines.content_length.replace(number(header.value)?).is_some() {
                    return Err(bad(Fault::SeveralContentLengths));
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(bad(Fault::TransferEncoding));
            } else if looks_alike(header.name) {
                return Err(bad(Fault::LookAlike));
            }
        }
        if DECIDING.iter().any(|name| lines.nominates(name)) {
            return Err(bad(Fault::Connection));
        }
        Ok(lines)
    }

    /// Whether a `Connection` or `Proxy-Connection` line has `word`.
    fn nominates(&self, word: &str) -> bool {
        let lines = self.all.iter().filter(|header| {
            header.name.eq_ignore_ascii_case("connection") || header.name.eq_ignore_ascii_case("proxy-connection")
        });
        lines
            .flat_map(|header| header.value.split(|&b| b == b','))
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Bytes of the body.
    fn body(&self, method: &str) -> Result<u64, Refusal> {
        let body = self.content_length.unwrap_or_default();
        // RFC 9110 §9.3.1, §9.3.2, §9.3.6, §9.3.8: content that has no meaning, which some servers read and some do not.
        let none = matches!(method, "GET" | "HEAD" | "CONNECT" | "TRACE");
        if body > 0 && none { Err(bad(Fault::Body)) } else { Ok(body) }
    }
}

/// Decimal digits and nothing else (RFC 9110 §8.6).
fn number(value: &[u8]) -> Result<u64, Refusal> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok()).ok_or(bad(Fault::ContentLength))
}

/// Whether gateways that write header names as variables take `name` for one that decides.
fn looks_alike(name: &str) -> bool {
    let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (b == b'-' && !a.is_ascii_alphanumeric());
    DECIDING.iter().any(|deciding| name.len() == deciding.len() && name.bytes().zip(deciding.bytes()).all(same))
}

/// A request's target (RFC 9112 §3.2).
enum Target<'a> {
    Origin(&'a str),
    Absolute { authority: &'a str, path: &'a str },
    Authority(&'a str),
}

impl<'a> Target<'a> {
    fn read(method: &str, target: &'a str, role: Role) -> Result<Self, Refusal> {
        // RFC 3986 §3: a fragment is never sent; what is not visible ASCII is no URI.
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(bad(Fault::TargetByte));
        }
        let form = bad(Fault::TargetForm);
        if method == "CONNECT" {
            return if role == Role::Proxy { Ok(Self::Authority(target)) } else { Err(form) };
        }
        if target.starts_with('/') {
            return if role == Role::Server { Ok(Self::Origin(target)) } else { Err(form) };
        }
        let (scheme, rest) = target.split_once("://").ok_or(form)?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(form);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        Ok(Self::Absolute { authority, path })
    }
}

/// The host and port that target and `Host` agree on.
fn whose(target: &Target<'_>, line: Option<&[u8]>, version: u8) -> Result<(Name, Option<u16>), Refusal> {
    let host = line.map(|line| host_and_port(line, Fault::Host)).transpose();
    let agreed = match *target {
        Target::Origin(_) => return host?.ok_or(bad(Fault::NoHost)),
        Target::Absolute { authority, .. } => {
            let named = host_and_port(authority.as_bytes(), Fault::TargetByte)?;
            // RFC 9112 §3.2.2: the target counts. A server that reads it otherwise would be passed by.
            let host = host?.ok_or(bad(Fault::NoHost))?;
            (named.0 == host.0 && named.1.unwrap_or(80) == host.1.unwrap_or(80)).then_some(named)
        }
        Target::Authority(authority) => {
            let named = tunnel_end(authority)?;
            match host? {
                Some(host) => {
                    // Some clients leave the port out of `Host`.
                    let same_port = host.1.is_none() || host.1 == named.1;
                    (named.0 == host.0 && same_port).then_some(named)
                }
                // RFC 9112 §3.2: HTTP/1.0 clients, older Pythons among them, need not send one.
                None if version == 0 => Some(named),
                None => return Err(bad(Fault::NoHost)),
            }
        }
    };
    agreed.ok_or(bad(Fault::HostsDiffer))
}

/// A CONNECT's target: host and port, and the host a name (RFC 9112 §3.2.3).
fn tunnel_end(authority: &str) -> Result<(Name, Option<u16>), Refusal> {
    let (host, port) = authority.rsplit_once(':').ok_or(bad(Fault::TargetForm))?;
    if host.starts_with('[') && host.ends_with(']') {
        return Err(Refusal::Target);
    }
    let port = port_number(port).ok_or(bad(Fault::TargetByte))?;
    match Name::parse(host) {
        Ok(name) => Ok((name, Some(port))),
        Err(InvalidName::IpAddress) => Err(Refusal::Target),
        Err(_) => Err(bad(Fault::TargetByte)),
    }
}

/// `host` or `host:port` with a valid name (RFC 9110 §7.2). No user information: it is no part of either.
fn host_and_port(text: &[u8], fault: Fault) -> Result<(Name, Option<u16>), Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| bad(fault))?;
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port_number(port).ok_or(bad(fault))?)),
        None => (text, None),
    };
    Ok((Name::parse(host).map_err(|_| bad(fault))?, port))
}

/// A decimal port in its one spelling.
fn port_number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// The head as it goes on: the lines as they came, without those for one hop.
fn forward(method: &str, target: &[&str], version: u8, lines: &Lines<'_>, body: u64) -> Asks {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(method.as_bytes());
    head.push(b' ');
    head.extend(target.iter().flat_map(|part| part.bytes()));
    head.extend_from_slice(if version == 0 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    let one_hop = |name: &str| ONE_HOP.iter().any(|hop| hop.eq_ignore_ascii_case(name)) || lines.nominates(name);
    for header in lines.all.iter().filter(|header| !one_hop(header.name)) {
        head.extend_from_slice(header.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    Asks::Forward { head, body }
}
