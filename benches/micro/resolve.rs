//! The address of a name that the resolver has, as a worker asks for it.

use std::cell::Cell;
use std::net::UdpSocket;
use std::time::Duration;

use divan::{Bencher, black_box};
use sekisho_name::Name;
use sekisho_resolve::{Resolver, Settings};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// A server on its own thread, to which every name has one address for an hour. It ends with the process.
fn server() -> std::io::Result<std::net::SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(reply) = query.get(..length).and_then(reply) {
                let _ = socket.send_to(&reply, from);
            }
        }
    });
    Ok(address)
}

/// The query's header and question, and one address where it asks for IPv4 (RFC 1035 §4.1).
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + query.get(12..)?.iter().position(|&byte| byte == 0)? + 5;
    let (id, question) = (query.get(..2)?, query.get(12..end)?);
    let v4 = question.ends_with(&[0, 1, 0, 1]);
    let header = [0x81, 0x80, 0, 1, 0, u8::from(v4), 0, 0, 0, 0];
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 7];
    Some([id, &header, question, if v4 { &answer } else { &[] }].concat())
}

/// A resolver that knows these names.
fn resolver(names: &[Name]) -> Option<Resolver> {
    let settings =
        Settings { servers: vec![server().ok()?], ttl_max: Duration::from_secs(3600), ..Settings::default() };
    let resolver = Resolver::start(settings).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    for name in names {
        runtime.block_on(resolver.resolve(name)).ok()?;
    }
    Some(resolver)
}

thread_local! {
    static NEXT: Cell<usize> = const { Cell::new(0) };
}

fn hot(bencher: Bencher<'_, '_>, names: usize) {
    let names: Vec<Name> =
        (0..names).filter_map(|i| Name::parse(&format!("b{i}.s3.ap-northeast-1.amazonaws.com")).ok()).collect();
    let Some(resolver) = resolver(&names) else {
        eprintln!("the names could not be resolved");
        return;
    };
    // Each thread goes through the names by itself.
    bencher.bench(|| {
        let next = NEXT.replace(NEXT.get() + 1) % names.len();
        names.get(next).and_then(|name| resolver.cached(black_box(name)))
    });
}

#[divan::bench(threads = [1, 2], sample_size = 1000, sample_count = 300)]
fn a_thousand_hot_names(bencher: Bencher<'_, '_>) {
    hot(bencher, 1000);
}

/// With two threads the worst that there is: both want the same answer all the time.
#[divan::bench(threads = [1, 2], sample_size = 1000, sample_count = 300)]
fn one_hot_name(bencher: Bencher<'_, '_>) {
    hot(bencher, 1);
}
