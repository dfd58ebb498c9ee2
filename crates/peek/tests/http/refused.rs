//! What is refused, as what, and that it waits for nothing.

use sekisho_peek::http::{Fault, Inspector, MAX_HEAD, MAX_HEADERS, MAX_METHOD, Progress, Refusal, Role};

fn refusal(role: Role, bytes: &[u8]) -> Refusal {
    let refusal = Inspector::new(role).inspect(bytes).expect_err(&bytes.escape_ascii().to_string());
    assert_eq!(Inspector::new(role).inspect(&[bytes, b"\r\n\r\nmore"].concat()), Err(refusal));
    let mut inspector = Inspector::new(role);
    let first = (0..=bytes.len()).find_map(|end| inspector.inspect(&bytes[..end]).err());
    assert_eq!(first, Some(refusal), "one at a time");
    refusal
}

#[test]
fn every_ambiguity_of_a_request_has_its_name() {
    let cases: [(&str, Fault); 46] = [
        ("\r\n", Fault::RequestLine),
        ("\u{16}\u{3}\u{1}", Fault::RequestLine),
        (" GET", Fault::RequestLine),
        ("GET / HTTP/1.1\n", Fault::BareLf),
        ("GET / HTTP/1.1\r\nHost: a.example\n", Fault::BareLf),
        ("GET / HTTP/1.1\rHost", Fault::BareCr),
        ("GET / HTTP/1.1\r\nX: a\rb", Fault::BareCr),
        ("GET / HTTP/1.1\r\nX: a\0", Fault::Control),
        ("GET / HTTP/1.1\r\nX: a\u{b}", Fault::Control),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n b", Fault::Folded),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\tb", Fault::Folded),
        ("GET / HTTP/1.1\r\n Host: a.example", Fault::Folded),
        ("GET  / HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::RequestLine),
        ("GET /\r\nHost: a.example\r\n\r\n", Fault::RequestLine),
        ("GET / a HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::Version),
        ("GET / HTTP/1.2\r\nHost: a.example\r\n\r\n", Fault::Version),
        ("GET / HTTP/0.9\r\nHost: a.example\r\n\r\n", Fault::Version),
        ("GET / http/1.1\r\nHost: a.example\r\n\r\n", Fault::Version),
        ("PRI * HTTP/2.0\r\n\r\n", Fault::Version),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", Fault::HeaderLine),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", Fault::HeaderLine),
        ("GET / HTTP/1.1\r\n: a.example\r\n\r\n", Fault::HeaderLine),
        ("GET / HTTP/1.1\r\nX\u{e9}: a\r\nHost: a.example\r\n\r\n", Fault::HeaderLine),
        ("GET / HTTP/1.1\r\n\r\n", Fault::NoHost),
        ("GET / HTTP/1.0\r\nX: a.example\r\n\r\n", Fault::NoHost),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n", Fault::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: a.example.\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: a.example:080\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", Fault::Host),
        ("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", Fault::Host),
        ("GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::HostsDiffer),
        ("GET http://a.example:81/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::HostsDiffer),
        ("GET http://a.example@b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", Fault::TargetByte),
        ("GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::TargetForm),
        ("GET a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::TargetForm),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::TargetForm),
        ("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", Fault::TargetForm),
        ("GET /#x HTTP/1.1\r\nHost: a.example\r\n\r\n", Fault::TargetByte),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: identity\r\n\r\n", Fault::TransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close, hOST\r\n\r\n", Fault::Connection),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent_Length: 3\r\n\r\n", Fault::LookAlike),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer.Encoding: chunked\r\n\r\n", Fault::LookAlike),
    ];
    for (text, fault) in cases {
        assert_eq!(refusal(Role::Server, text.as_bytes()), Refusal::Bad(fault), "{text:?}");
    }
}

#[test]
fn a_method_is_as_short_as_methods_are() {
    let with = |method: &str| format!("{method} / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let longest = "M".repeat(MAX_METHOD);
    assert!(Inspector::new(Role::Server).inspect(with(&longest).as_bytes()).is_ok());
    let longer = with(&(longest + "M"));
    assert_eq!(refusal(Role::Server, longer.as_bytes()), Refusal::Bad(Fault::RequestLine));
}

#[test]
fn a_body_has_one_length_or_none() {
    let with = |method: &str, lines: &str| format!("{method} / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    for value in ["", "+1", "-1", "1,1", "1 1", "0x1", "1.0", "99999999999999999999"] {
        let text = with("PUT", &format!("Content-Length: {value}\r\n"));
        assert_eq!(refusal(Role::Server, text.as_bytes()), Refusal::Bad(Fault::ContentLength), "{value:?}");
    }
    let twice = with("PUT", "Content-Length: 1\r\nContent-Length: 1\r\n");
    assert_eq!(refusal(Role::Server, twice.as_bytes()), Refusal::Bad(Fault::SeveralContentLengths));
    for method in ["GET", "HEAD"] {
        let text = with(method, "Content-Length: 1\r\n");
        assert_eq!(refusal(Role::Server, text.as_bytes()), Refusal::Bad(Fault::Body));
        assert!(Inspector::new(Role::Server).inspect(with(method, "Content-Length: 0\r\n").as_bytes()).is_ok());
    }
}

#[test]
fn a_tunnel_ends_at_a_name_and_a_port() {
    let connect = |target: &str, host: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for target in ["192.0.2.1:443", "[2001:db8::1]:443", "127.1:443", "0x7f.1:443", "2130706433:443"] {
        assert_eq!(refusal(Role::Proxy, connect(target, target).as_bytes()), Refusal::Target, "{target}");
        assert_eq!(refusal(Role::Proxy, connect(target, "a.example").as_bytes()).label(), "target_not_allowed");
    }
    for (target, host, fault) in [
        ("a.example", "a.example", Fault::TargetForm),
        ("/", "a.example", Fault::TargetForm),
        ("a.example:", "a.example", Fault::TargetByte),
        ("a.example:0443", "a.example", Fault::TargetByte),
        ("a.example:70000", "a.example", Fault::TargetByte),
        ("u@a.example:443", "a.example", Fault::TargetByte),
        ("a.example.:443", "a.example", Fault::TargetByte),
        ("a.example:443", "b.example", Fault::HostsDiffer),
        ("a.example:443", "a.example:444", Fault::HostsDiffer),
    ] {
        assert_eq!(refusal(Role::Proxy, connect(target, host).as_bytes()), Refusal::Bad(fault), "{target} {host}");
    }
    let without_host = b"CONNECT a.example:443 HTTP/1.1\r\n\r\n";
    assert_eq!(refusal(Role::Proxy, without_host), Refusal::Bad(Fault::NoHost));
    let origin = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(refusal(Role::Proxy, origin), Refusal::Bad(Fault::TargetForm));
}

#[test]
fn a_head_has_its_cap_in_bytes_and_lines() {
    let start = "GET / HTTP/1.1\r\nHost: a.example\r\nX: ";
    let fits = format!("{start}{}\r\n\r\n", "x".repeat(MAX_HEAD - start.len() - 4));
    assert!(matches!(Inspector::new(Role::Server).inspect(fits.as_bytes()), Ok(Progress::Done(_))));
    let over = format!("{start}{}", "x".repeat(MAX_HEAD + 1 - start.len()));
    assert_eq!(refusal(Role::Server, over.as_bytes()), Refusal::Bad(Fault::HeadTooLarge));
    let lines = "X: 1\r\n".repeat(MAX_HEADERS);
    let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n");
    assert_eq!(refusal(Role::Server, many.as_bytes()), Refusal::Bad(Fault::HeadTooLarge));
}
