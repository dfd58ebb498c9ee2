use hickory_resolver::proto::op::Message;
use tokio::net::UdpSocket;

use super::*;

fn order(upstream: &Upstream) -> Vec<u16> {
    upstream.order().iter().map(|server| server.address.port()).collect()
}

fn three() -> Upstream {
    let servers = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    Upstream::new(&servers, Duration::from_millis(100), 2)
}

#[test]
fn servers_are_asked_in_the_configured_order_and_suspects_last() {
    let upstream = three();
    assert_eq!(order(&upstream), [1, 2, 3]);
    upstream.suspect(&upstream.servers[0]);
    assert_eq!(order(&upstream), [2, 3, 1]);
    upstream.suspect(&upstream.servers[2]);
    assert_eq!(order(&upstream), [2, 1, 3]);
    upstream.suspect(&upstream.servers[1]);
    assert_eq!(order(&upstream), [1, 2, 3]);
}

#[tokio::test]
async fn a_suspect_is_probed_once_its_penalty_is_over_and_comes_first_again_when_it_answers() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = [socket.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 1))];
    let upstream = Upstream::new(&servers, Duration::from_secs(5), 2);
    let suspect = &upstream.servers[0];

    upstream.suspect(suspect);
    assert_eq!(order(&upstream), [1, servers[0].port()]);
    let mut buffer = [0; 512];
    let early = timeout(Duration::from_millis(50), socket.recv_from(&mut buffer)).await;
    assert!(early.is_err(), "probed before its penalty was over");

    // Its penalty was over a millisecond after the start.
    suspect.probe_at.store(1, Ordering::Relaxed);
    sleep(Duration::from_millis(2)).await;
    // Still last: nobody waits for the probe, and there is only one.
    assert_eq!(order(&upstream), [1, servers[0].port()]);
    assert_eq!(order(&upstream), [1, servers[0].port()]);
    let (length, from) = timeout(Duration::from_secs(5), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    let question = Message::from_vec(&buffer[..length]).unwrap();
    assert!(question.queries[0].name().is_root());
    let second = timeout(Duration::from_millis(50), socket.recv_from(&mut [0; 512])).await;
    assert!(second.is_err(), "probed twice");

    // Any reply will do.
    let mut reply = Message::error_msg(question.id, question.op_code, ResponseCode::Refused);
    reply.queries = question.queries.clone();
    socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
    let begun = Instant::now();
    while order(&upstream) != [servers[0].port(), 1] {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is still passed over");
        sleep(Duration::from_millis(5)).await;
    }
}
