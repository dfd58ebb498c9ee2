use std::net::TcpStream;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::testing;

/// A listener of that name, on an address of loopback.
fn listener(name: &str, bind: &str) -> Listener {
    let mut listener = testing::settings().listeners.remove(0);
    (listener.name, listener.bind) = (name.into(), bind.parse().unwrap());
    listener
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn handed(names: &[&str]) -> Handed {
    Handed { sockets: names.iter().map(|&name| (name.to_owned(), socket())).collect() }
}

fn said<T: std::fmt::Debug>(result: Result<T, HandedError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn every_worker_has_a_socket_and_every_socket_a_worker() {
    for (sockets, workers, each) in [(1, 3, [1, 1, 1]), (2, 3, [1, 1, 1]), (3, 3, [1, 1, 1]), (5, 3, [2, 2, 1])] {
        let mut handed = handed(&vec!["a"; sockets]);
        let addresses: Vec<_> = handed.sockets.iter().map(|(_, socket)| socket.local_addr().unwrap()).collect();
        let row = handed.take(&listener("a", "127.0.0.1:0"), workers).unwrap().unwrap();
        assert_eq!(row.iter().map(Vec::len).collect::<Vec<_>>(), each, "{sockets} for {workers}");
        // Each is taken from by somebody, and a connection by whoever has it.
        for address in addresses {
            let client = TcpStream::connect(address).unwrap();
            let mut takers = row.iter().flatten().filter(|socket| socket.local_addr().unwrap() == address);
            let (_, from) = takers.next_back().unwrap().accept().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
    }
}

#[test]
fn a_socket_is_its_listeners_by_name_and_address() {
    let mut sockets = handed(&["a", "b"]);
    assert!(sockets.take(&listener("other", "127.0.0.1:0"), 1).unwrap().is_none(), "bound by the gate itself");
    assert!(sockets.take(&listener("a", "127.0.0.1:0"), 1).unwrap().is_some());
    let nobodys = said(sockets.all_taken(&[listener("a", "127.0.0.1:0"), listener("c", "127.0.0.1:0")]));
    assert!(nobodys.contains("by the name `b`, which no listener has (`a`, `c`)"), "{nobodys}");

    for bind in ["127.0.0.2:0", "127.0.0.1:1", "[::1]:0"] {
        let elsewhere = said(handed(&["a"]).take(&listener("a", bind), 1));
        assert!(elsewhere.contains("listens on 127.0.0.1:") && elsewhere.contains(bind), "{elsewhere}");
    }
    let mut one = handed(&["a"]);
    let at = one.sockets[0].1.local_addr().unwrap().to_string();
    assert!(one.take(&listener("a", &at), 1).unwrap().is_some(), "where it says");
}

#[test]
fn a_listener_that_needs_a_socket_of_its_kind_gets_no_other() {
    let mut needs = listener("a", "127.0.0.1:0");
    needs.handed_over = true;
    let missing = said(handed(&[]).take(&needs, 1));
    assert!(missing.contains("listener `a` has `socket: handed_over`, and no socket"), "{missing}");
    needs.destination = Destination::Tproxy;
    let opaque = said(handed(&["a"]).take(&needs, 1));
    assert!(opaque.contains("`a` is not transparent") && opaque.contains("Transparent=yes"), "{opaque}");
}

#[test]
fn what_connections_inherit_is_set_on_a_socket_from_elsewhere_too() {
    let plain = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    plain.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    plain.listen(1).unwrap();
    let mut handed = Handed { sockets: vec![("a".to_owned(), plain.into())] };
    let row = handed.take(&listener("a", "127.0.0.1:0"), 1).unwrap().unwrap();
    let socket = SockRef::from(&row[0][0]);
    assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
    assert_eq!(row[0][0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
