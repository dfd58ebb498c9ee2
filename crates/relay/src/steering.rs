//! Each worker on a processor of its own, with the connections that this processor receives: what the kernel has just
//! done for a connection is then at hand, and no other processor is woken for it.
//!
//! Only where the operator says so: where a network card has fewer queues than there are workers, those without one would
//! be idle while others are full. The kernel's hash, which is the other way, gives every worker its share.

use std::io;
use std::net::TcpListener;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::SockRef;

/// A processor for each of `workers`, from those that this process may use; `None` where there are fewer.
pub(crate) fn processors(workers: usize) -> Option<Vec<usize>> {
    let allowed = sched_getaffinity(None).ok()?;
    let processors: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).take(workers).collect();
    (processors.len() == workers).then_some(processors)
}

/// Gives each worker's listening socket of one address the connections that the worker's processor receives. Before Linux
/// 6.2 this has no effect beside `SO_REUSEPORT`.
pub(crate) fn steer<'s>(sockets: impl IntoIterator<Item = &'s TcpListener>, processors: &[usize]) -> io::Result<()> {
    sockets.into_iter().zip(processors).try_for_each(|(socket, &cpu)| SockRef::from(socket).set_cpu_affinity(cpu))
}

/// Keeps the calling thread on `processor`.
pub(crate) fn stay_on(processor: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    Ok(sched_setaffinity(None, &only)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::listen::bind;

    #[test]
    fn a_worker_gets_what_its_processor_receives() {
        let Some(processors) = processors(2) else { return };
        assert!(super::processors(CpuSet::MAX_CPU).is_none(), "no host has so many");
        let listeners = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        steer(&listeners, &processors).unwrap();
        let address = listeners[0].local_addr().unwrap();
        for (worker, &processor) in processors.iter().enumerate() {
            // Over loopback, the processor that sends is the one that receives.
            let clients = std::thread::spawn(move || {
                stay_on(processor).unwrap();
                (0..50).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>()
            });
            let clients = clients.join().unwrap();
            let taken = std::iter::from_fn(|| listeners[worker].accept().ok()).count();
            assert_eq!(taken, clients.len(), "worker {worker}");
        }
    }
}
