//! What good requests say, however they arrive.

use sekisho_peek::http::{Asks, Inspector, Progress, Request, Role};

fn read(role: Role, bytes: &[u8]) -> Request {
    match Inspector::new(role).inspect(bytes) {
        Ok(Progress::Done(request)) => request,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

/// The head that goes on, and the length of its body.
fn forwarded(role: Role, bytes: &str) -> (String, u64) {
    match read(role, bytes.as_bytes()).asks {
        Asks::Forward { head, body } => (String::from_utf8(head).unwrap(), body),
        Asks::Tunnel => panic!("a tunnel"),
    }
}

const GOOD: [(Role, &str); 8] = [
    (Role::Server, "HEAD / HTTP/1.1\r\nHost: b.s3.amazonaws.com\r\n\r\n"),
    (Role::Server, "GET /a?b=c HTTP/1.0\r\nhost:b.s3.amazonaws.com:80\r\n\r\n"),
    (Role::Server, "GET http://B.s3.amazonaws.com HTTP/1.1\r\nHost: b.s3.amazonaws.com:80\r\n\r\n"),
    (Role::Server, "PUT /k HTTP/1.1\r\nHost: b.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
    (Role::Proxy, "GET http://b.example/x HTTP/1.1\r\nHost: b.example\r\nProxy-Connection: Keep-Alive\r\n\r\n"),
    (Role::Proxy, "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n"),
    (Role::Proxy, "CONNECT b.example:443 HTTP/1.1\r\nHost: B.example\r\nUser-Agent: x\r\n\r\n"),
    (Role::Proxy, "CONNECT b.example:443 HTTP/1.0\r\n\r\n"),
];

#[test]
fn the_host_is_read_with_its_port_if_there_is_one() {
    let request = read(Role::Server, b"GET / HTTP/1.1\r\nHOST:  B.example:8080 \t\r\n\r\n");
    assert_eq!((request.host.as_str(), request.port, &*request.method), ("b.example", Some(8080), "GET"));
    let request = read(Role::Proxy, b"CONNECT B.example:8443 HTTP/1.1\r\nHost: b.example\r\n\r\n\x16\x03");
    assert_eq!((request.host.as_str(), request.port), ("b.example", Some(8443)));
    assert!(request.asks == Asks::Tunnel);
}

#[test]
fn what_goes_on_is_origin_form_and_closes() {
    let (head, body) = forwarded(
        Role::Server,
        "HEAD /?x=http://other/ HTTP/1.1\r\nhOsT: b.example\r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\nX-Keep: \u{e9} a\r\n\
         Upgrade: h2c\r\nTE: trailers\r\n\r\n",
    );
    assert_eq!(
        head,
        "HEAD /?x=http://other/ HTTP/1.1\r\nhOsT: b.example\r\nX-Keep: \u{e9} a\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(body, 0);
    for (target, path) in [("", "/"), ("/", "/"), ("/a/b?c", "/a/b?c"), ("?c", "/?c")] {
        let (head, _) =
            forwarded(Role::Proxy, &format!("GET HTTP://b.example{target} HTTP/1.0\r\nHost: b.example\r\n\r\n"));
        assert_eq!(head, format!("GET {path} HTTP/1.0\r\nHost: b.example\r\nConnection: close\r\n\r\n"));
    }
    let secret = "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n";
    assert!(!forwarded(Role::Proxy, secret).0.contains("c2VjcmV0"), "what is meant for the proxy stays here");
    assert!(!format!("{:?}", read(Role::Proxy, secret.as_bytes())).contains("c2VjcmV0"), "and out of logs");
    assert_eq!(forwarded(Role::Server, GOOD[3].1).1, 5);
}

#[test]
fn every_prefix_needs_more_and_every_split_says_the_same() {
    for (role, text) in GOOD {
        let bytes = text.as_bytes();
        let whole = read(role, bytes);
        assert_eq!(whole.head_len, bytes.len());
        let mut inspector = Inspector::new(role);
        for end in 0..bytes.len() {
            let answer = inspector.inspect(&bytes[..end]);
            assert_eq!(answer, Inspector::new(role).inspect(&bytes[..end]));
            assert!(matches!(answer, Ok(Progress::Need { at_least }) if at_least > end && at_least <= bytes.len()));
        }
        assert_eq!(inspector.inspect(bytes), Ok(Progress::Done(whole)));
    }
}

#[test]
fn a_connection_is_kept_where_both_versions_keep_it() {
    let keeps = |version: &str, line: &str| {
        let text = format!("CONNECT b.example:443 HTTP/{version}\r\nHost: b.example:443\r\n{line}\r\n");
        read(Role::Proxy, text.as_bytes()).keep_alive
    };
    assert!(keeps("1.1", "") && keeps("1.1", "Proxy-Connection: keep-alive\r\n"));
    assert!(!keeps("1.1", "Connection: x, Close\r\n") && !keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn no_changed_byte_breaks_what_holds_for_all() {
    for (_, text) in GOOD {
        for at in 0..text.len() {
            for to in [0, b'\t', b'\n', b'\r', b' ', b'#', b'/', b':', b'@', b'[', b'_', 0x7f, 0x80, 0xff] {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = to;
                sekisho_peek::fuzz::http(&changed);
                changed.insert(at, text.as_bytes()[at]);
                sekisho_peek::fuzz::http(&changed);
            }
            sekisho_peek::fuzz::http(&[&text.as_bytes()[..at], &text.as_bytes()[at + 1..]].concat());
        }
    }
}
