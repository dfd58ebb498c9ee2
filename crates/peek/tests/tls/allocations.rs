//! How often a hello makes the parser allocate. The client chooses what it sends, and is not to choose that.

use sekisho_peek::tls::{Inspector, Limits, MAX_ALPN, Progress, inspect};

use crate::corpus::hellos;
use crate::craft::{ALPN, Hello, SUPPORTED_VERSIONS, records};

/// The name, the versions, the list of protocols, the cipher suites, the compression methods, and a list of extensions.
const PLAIN: u64 = 8;

#[test]
fn a_real_hello_is_read_in_a_few_allocations() {
    let mut most = 0;
    for flight in hellos() {
        let mut protocols = 0;
        let used = allocation_counter::measure(|| {
            let Ok(Progress::Done(hello)) = inspect(&flight.bytes, &Limits::default()) else {
                panic!("{} is not read", flight.file)
            };
            protocols = hello.alpn.len() as u64;
        });
        most = most.max(used.count_total);
        assert!(used.count_total <= PLAIN + protocols, "{}: {} allocations", flight.file, used.count_total);
    }
    println!("{most} allocations at most");
}

#[test]
fn the_worst_hello_is_read_in_a_bounded_number_of_allocations() {
    // As many protocols that need escaping, versions and unknown extensions as fit, and each byte a record and a read.
    let protocols: Vec<u8> = (0..1000).flat_map(|_| [2, 0xff, 0xff]).collect();
    let length = u16::try_from(protocols.len()).unwrap().to_be_bytes();
    let versions: Vec<u8> = (0..127).flat_map(|_| [3, 4]).collect();
    let hello = Hello::named("reports.example")
        .with(ALPN, [&length[..], &protocols].concat())
        .with(SUPPORTED_VERSIONS, [&[254][..], &versions].concat());
    let hello = (1000..1300).fold(hello, |hello, kind| hello.with(kind, []));
    let wire = records(&hello.message(), 1);
    let used = allocation_counter::measure(|| {
        let mut inspector = Inspector::new(Limits::default());
        let last = (1..=wire.len()).map(|end| inspector.inspect(&wire[..end])).last();
        let Some(Ok(Progress::Done(hello))) = last else { panic!("not read: {last:?}") };
        assert_eq!(hello.alpn.len(), MAX_ALPN);
    });
    println!("{} allocations for {} bytes", used.count_total, wire.len());
    assert!(used.count_total <= 64, "{} allocations", used.count_total);
}
