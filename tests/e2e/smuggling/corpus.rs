//! Messages put together from what is known to be read in more than one way: each start with each set of host lines,
//! each framing with each body, each oddity of a line by itself.

const GOOD: &str = "a.example";
const OTHER: &str = "b.example";

/// Every message, each once.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for start in starts() {
        for hosts in host_lines() {
            all.push(format!("{start}\r\n{hosts}\r\n"));
        }
    }
    for method in ["GET", "POST", "PUT", "HEAD"] {
        for framing in framings() {
            for body in bodies() {
                all.push(format!("{method} / HTTP/1.1\r\nHost: {GOOD}\r\n{framing}\r\n{body}"));
            }
        }
    }
    for oddity in oddities() {
        all.push(format!("GET / HTTP/1.1\r\nHost: {GOOD}\r\n{oddity}\r\n\r\n"));
        all.push(format!("GET / HTTP/1.1\r\n{oddity}\r\nHost: {GOOD}\r\n\r\n"));
    }
    for end in ["\n", "\r", "\r\r\n", "\n\r", "\u{b}\r\n"] {
        for at in 0..3 {
            let ends: [&str; 3] = std::array::from_fn(|line| if line == at { end } else { "\r\n" });
            let [first, second, last] = ends;
            all.push(format!("GET / HTTP/1.1{first}Host: {GOOD}{second}{last}"));
        }
    }
    let mut all: Vec<Vec<u8>> = all.into_iter().map(String::into_bytes).collect();
    for byte in [0_u8, 1, 8, 9, 11, 12, 0x1f, 0x7f, 0x80, 0xa0, 0xff] {
        for template in [
            "GET /~ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example~\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:~a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost~: a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nX: ~\r\nHost: a.example\r\n\r\n",
            "GET~/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ] {
            all.push(template.bytes().map(|b| if b == b'~' { byte } else { b }).collect());
        }
    }
    all.sort();
    all.dedup();
    all
}

fn starts() -> Vec<String> {
    let targets = [
        "/".to_owned(),
        "/a?b=c".to_owned(),
        "//b.example/".to_owned(),
        format!("http://{GOOD}/"),
        format!("http://{OTHER}/"),
        format!("HTTP://{GOOD}:80/x"),
        format!("http://{GOOD}@{OTHER}/"),
        format!("https://{OTHER}/"),
        "*".to_owned(),
        OTHER.to_owned(),
    ];
    let mut starts: Vec<String> = targets.iter().map(|target| format!("GET {target} HTTP/1.1")).collect();
    starts.extend([
        "GET / HTTP/1.0".to_owned(),
        "GET /".to_owned(),
        "GET  /  HTTP/1.1".to_owned(),
        "GET\t/\tHTTP/1.1".to_owned(),
        "GET / HTTP/1.10".to_owned(),
        "get / HTTP/1.1".to_owned(),
        "\r\nGET / HTTP/1.1".to_owned(),
        "GET / HTTP/1.1 ".to_owned(),
        " GET / HTTP/1.1".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {OTHER}"),
    ]);
    starts
}

fn host_lines() -> Vec<String> {
    let mut lines: Vec<String> = [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a.example\r\n",
        "host:a.example\r\n",
        "HOST:\ta.example \t\r\n",
        "Host: A.Example\r\n",
        "Host: a.example:80\r\n",
        "Host: a.example:8080\r\n",
        "Host: a.example:\r\n",
        "Host: a.example:080\r\n",
        "Host: a.example:80:80\r\n",
        "Host: a.example.\r\n",
        "Host: a.example, b.example\r\n",
        "Host: a.example b.example\r\n",
        "Host: b.example@a.example\r\n",
        "Host: a.example@b.example\r\n",
        "Host: a.example/b.example\r\n",
        "Host: a.example#b.example\r\n",
        "Host: a.example?b\r\n",
        "Host: \"a.example\"\r\n",
        "Host: http://a.example\r\n",
        "Host: 192.0.2.1\r\n",
        "Host: [::1]\r\n",
        "Host: 0x7f.1\r\n",
        "Host : a.example\r\n",
        "Host\t: a.example\r\n",
        " Host: a.example\r\n",
        "\tHost: a.example\r\n",
        "Host: a.example\r\n b.example\r\n",
        "Host:\r\n a.example\r\n",
        "Host: a.example\r\nHost: a.example\r\n",
        "Host: a.example\r\nHost: b.example\r\n",
        "Host: b.example\r\nHost: a.example\r\n",
        "Host: a.example\r\nhost: b.example\r\n",
        "Host: a.example\r\nHost : b.example\r\n",
        "Host: a.example\r\n Host: b.example\r\n",
        "X: y\nHost: b.example\r\nHost: a.example\r\n",
        "Host: a.example\nHost: b.example\r\n",
        "Host: a.example\rHost: b.example\r\n",
        "X:\r\n\tHost: b.example\r\nHost: a.example\r\n",
        "Host\r\n",
        ": a.example\r\n",
        "Host=a.example\r\n",
        "X-Forwarded-Host: b.example\r\nHost: a.example\r\n",
        "Hos_t: b.example\r\nHost: a.example\r\n",
        "Connection: host\r\nHost: a.example\r\n",
        "Connection: close, Host\r\nHost: a.example\r\n",
    ]
    .map(str::to_owned)
    .into();
    lines.push(format!("Host: {}\r\n", "a".repeat(300)));
    lines
}

fn framings() -> Vec<&'static str> {
    vec![
        "",
        "Content-Length: 0\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 05\r\n",
        "Content-Length: 5 \r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content_Length: 5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length:\r\n 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: Chunked\r\n",
        "Transfer-Encoding:\tchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ]
}

fn bodies() -> Vec<String> {
    let second = format!("GET / HTTP/1.1\r\nHost: {OTHER}\r\n\r\n");
    vec![
        String::new(),
        "12345".to_owned(),
        format!("12345{second}"),
        second.clone(),
        "0\r\n\r\n".to_owned(),
        format!("0\r\n\r\n{second}"),
        format!("5\r\n12345\r\n0\r\n\r\n{second}"),
    ]
}

fn oddities() -> Vec<String> {
    let mut all: Vec<String> = [
        "X",
        "X:",
        "X :y",
        ":y",
        "X: y\r\n z",
        "X\u{e9}: y",
        "(X): y",
        "X: \u{e9}",
        "Upgrade: h2c",
        "Connection: Upgrade",
        "Expect: 100-continue",
        "TE: trailers",
        "Trailer: Host",
        "Via: 1.1 x",
        "Connection: ,,",
        "Connection: keep-alive, x",
        "Keep-Alive: timeout=5",
    ]
    .map(str::to_owned)
    .into();
    all.push(format!("X: {}", "y".repeat(9000)));
    all.push(format!("X: {}", "y".repeat(40_000)));
    all.push("X: y\r\n".repeat(120).trim_end().to_owned());
    all
}
