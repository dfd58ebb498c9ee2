//! The fuzz body over requests put together from the parts that servers read differently.

use proptest::prelude::*;
use sekisho_peek::fuzz;

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Host: a.example\r\n".to_owned()),
        Just("Host: b.example\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close, x\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        "[A-Za-z_-]{0,8} ?: ?[ -~\t]{0,12}(\r\n|\n|\r)",
        "[ -~\r\n\t]{0,12}",
    ]
}

proptest! {
    #[test]
    fn any_request(
        start in "(GET|HEAD|PUT|CONNECT|get) (/|http://a.example|http://b.example/x|a.example:443|[ -~]{0,12}) HTTP/1.[01]\r\n",
        parts in proptest::collection::vec(part(), 0..6),
    ) {
        fuzz::http(format!("{start}{}\r\n", parts.concat()).as_bytes());
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::http(&bytes);
        fuzz::http(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat());
    }
}
