//! The floor is an honest relay: ends are passed on and bytes are not lost, whoever is slow.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc;

use rustix::net::sockopt;
use sekisho_benches::wire::Request;

use crate::peer;
use crate::program::Server;

const WAYS: [&str; 2] = ["copy", "splice"];
/// More than all buffers on the way hold.
const LONG: usize = 24 << 20;

#[test]
fn a_client_that_has_ended_still_gets_a_long_answer_slowly() {
    let origin = Server::origin();
    for via in WAYS {
        let floor = Server::floor(via, origin.address);
        let mut client = peer::connect(floor.address);
        client.write_all(&peer::hello(Request { up: 0, down: LONG as u64 })).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(peer::read_slowly(&mut client) == peer::pattern(LONG), "{via}: not what was sent");
    }
}

#[test]
fn a_server_that_reads_slowly_gets_all_and_then_the_end() {
    let (sender, got) = mpsc::channel();
    let server = peer::serve(move |mut stream| {
        let got = peer::read_slowly(&mut stream);
        stream.write_all(b"after the end").unwrap();
        sender.send(got).unwrap();
    });
    for via in WAYS {
        let floor = Server::floor(via, server);
        let mut client = peer::connect(floor.address);
        client.write_all(&peer::pattern(LONG)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "after the end", "{via}");
        assert!(got.recv().unwrap() == peer::pattern(LONG), "{via}: not what was sent");
    }
}

#[test]
fn a_server_may_end_first() {
    let server = peer::serve(|mut stream| {
        stream.write_all(b"before").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "after");
    });
    for via in WAYS {
        let floor = Server::floor(via, server);
        let mut client = peer::connect(floor.address);
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "before", "{via}");
        client.write_all(b"after").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "{via}");
    }
}

#[test]
fn a_reset_arrives_as_a_reset() {
    let server = peer::serve(|mut stream| {
        stream.read_exact(&mut [0; 5]).unwrap();
        sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
    });
    for via in WAYS {
        let floor = Server::floor(via, server);
        let mut client = peer::connect(floor.address);
        client.write_all(b"hello").unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{via}");
    }
}

#[test]
fn a_server_that_is_not_there_is_a_reset() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for via in WAYS {
        let floor = Server::floor(via, nobody);
        let mut client = peer::connect(floor.address);
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{via}");
    }
}

/// Dialling where the client was going would lead to the floor again, without end.
#[test]
fn a_connection_that_was_not_redirected_is_reset() {
    let mut command = std::process::Command::new(crate::program::FLOOR);
    let floor = Server::start(command.args(["--bind", "127.0.0.1:0", "--via", "copy", "--to", "original"]));
    let mut client = peer::connect(floor.address);
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
