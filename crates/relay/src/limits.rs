//! The caps on what the process holds: exact over all threads, and given back when a permit is dropped.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::settings;

const SHARDS: usize = 64;

/// What the process holds now, and may hold.
#[derive(Debug)]
pub struct Caps {
    limits: settings::Limits,
    connections: AtomicUsize,
    undecided: AtomicUsize,
    // Sharded, so that two threads meet on one lock only when their clients hash alike.
    clients: [Mutex<Clients>; SHARDS],
    hasher: RandomState,
}

/// How many connections each client has. A table and not a map: one hash finds the shard and the client in it.
type Clients = HashTable<(IpAddr, usize)>;

/// One connection's place under the caps; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    /// Whose it is, once that is known.
    client: Option<IpAddr>,
}

/// One undecided connection's place; dropped when its verdict falls.
#[derive(Debug)]
pub(crate) struct Undecided {
    caps: Arc<Caps>,
}

/// Which cap was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The whole process's.
    Connections,
    /// That of one client address.
    Client,
    /// That of connections without a verdict.
    Undecided,
}

impl Caps {
    /// Caps with nothing held.
    pub fn new(limits: settings::Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            connections: AtomicUsize::new(0),
            undecided: AtomicUsize::new(0),
            clients: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
        })
    }

    /// Connections held now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections held now whose verdict has not fallen.
    pub fn undecided(&self) -> usize {
        self.undecided.load(Ordering::Relaxed)
    }

    /// The caps themselves.
    pub fn limits(&self) -> &settings::Limits {
        &self.limits
    }

    /// Takes a place for a connection of `client`.
    pub(crate) fn admit(self: &Arc<Self>, client: IpAddr) -> Result<(Place, Undecided), Full> {
        let (mut place, undecided) = self.admit_somebody()?;
        place.claim(client)?;
        Ok((place, undecided))
    }

    /// Takes a place for a connection of which it is not known yet whose it is: [`Place::claim`] follows.
    pub(crate) fn admit_somebody(self: &Arc<Self>) -> Result<(Place, Undecided), Full> {
        if !take(&self.connections, self.limits.connections) {
            return Err(Full::Connections);
        }
        let place = Place { caps: Arc::clone(self), client: None };
        Ok((place, self.undecided_again()?))
    }

    /// One more connection waits for its verdict, which has a place already.
    pub(crate) fn undecided_again(self: &Arc<Self>) -> Result<Undecided, Full> {
        let taken = take(&self.undecided, self.limits.undecided);
        taken.then(|| Undecided { caps: Arc::clone(self) }).ok_or(Full::Undecided)
    }

    /// Counts one more connection of `client` unless that would pass its cap.
    fn admit_client(&self, client: IpAddr) -> bool {
        let limit = self.limits.connections_per_client;
        let hash = self.hasher.hash_one(client);
        let mut clients = self.shard(hash);
        match clients.entry(hash, |(known, _)| *known == client, |(known, _)| self.hasher.hash_one(known)) {
            Entry::Occupied(mut held) if held.get().1 < limit => {
                held.get_mut().1 += 1;
                true
            }
            Entry::Vacant(none) if limit > 0 => {
                none.insert((client, 1));
                true
            }
            Entry::Occupied(_) | Entry::Vacant(_) => false,
        }
    }

    /// Counts one connection of `client` less.
    fn dismiss_client(&self, client: IpAddr) {
        let hash = self.hasher.hash_one(client);
        let mut clients = self.shard(hash);
        let Ok(mut held) = clients.find_entry(hash, |(known, _)| *known == client) else { return };
        held.get_mut().1 -= 1;
        if held.get().1 == 0 {
            held.remove();
            // A flood from many addresses must not leave its table behind.
            if clients.capacity() > 1024 && clients.len() < clients.capacity() / 8 {
                clients.shrink_to_fit(|(known, _)| self.hasher.hash_one(known));
            }
        }
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Clients> {
        let [first, ..] = &self.clients;
        // By bits that the table itself does not begin with.
        let index = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        // A count is whole at every instant, so a panic elsewhere cannot have left it half done.
        self.clients.get(index).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more unless that would pass `limit`. Only the count itself is shared, so relaxed order is enough.
fn take(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1)).is_ok()
}

impl Place {
    /// Counts the connection as one of `client`'s.
    pub(crate) fn claim(&mut self, client: IpAddr) -> Result<(), Full> {
        debug_assert!(self.client.is_none(), "a connection has one client");
        if !self.caps.admit_client(client) {
            return Err(Full::Client);
        }
        self.client = Some(client);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(client) = self.client {
            self.caps.dismiss_client(client);
        }
        self.caps.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        self.caps.undecided.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(connections: usize, connections_per_client: usize, undecided: usize) -> Arc<Caps> {
        Caps::new(settings::Limits { connections, connections_per_client, undecided, hello_handshake: 0, hello_raw: 0 })
    }

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn each_cap_is_met_exactly_and_given_back() {
        let caps = caps(3, 2, 3);
        let first = caps.admit(A).unwrap();
        let second = caps.admit(A).unwrap();
        assert_eq!(caps.admit(A).unwrap_err(), Full::Client);
        let third = caps.admit(B).unwrap();
        assert_eq!(caps.admit(B).unwrap_err(), Full::Connections);
        drop(first);
        assert_eq!(caps.connections(), 2);
        drop((caps.admit(A).unwrap(), second, third));
        assert_eq!((caps.connections(), caps.undecided()), (0, 0));
        assert!(caps.clients.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn undecided_connections_have_a_cap_of_their_own() {
        let caps = caps(10, 10, 1);
        let (place, undecided) = caps.admit(A).unwrap();
        assert_eq!(caps.admit(B).unwrap_err(), Full::Undecided);
        drop(undecided);
        assert!(caps.admit(B).is_ok());
        assert_eq!(caps.connections(), 1);
        drop(place);
        assert_eq!(caps.connections(), 0);
    }

    #[test]
    fn a_client_that_is_refused_leaves_nothing_behind() {
        let caps = caps(1, 0, 1);
        for host in 0..1000_u32 {
            let client = std::net::Ipv4Addr::from(0x0a00_0000 + host).into();
            assert_eq!(caps.admit(client).unwrap_err(), Full::Client);
        }
        assert_eq!((caps.connections(), caps.undecided()), (0, 0));
        assert!(caps.clients.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn a_flood_from_many_addresses_does_not_leave_its_table_behind() {
        let caps = caps(usize::MAX, 1, usize::MAX);
        let flood: Vec<_> =
            (0..200_000_u32).map(|host| caps.admit(std::net::Ipv4Addr::from(host).into()).unwrap()).collect();
        let capacity = || caps.clients.iter().map(|shard| shard.lock().unwrap().capacity()).sum::<usize>();
        assert!(capacity() >= 200_000);
        drop(flood);
        assert!(capacity() < 70_000, "{}", capacity());
        assert_eq!(caps.connections(), 0);
    }

    #[test]
    fn the_cap_is_exact_under_contention() {
        let caps = caps(100, 1000, 1000);
        let held: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..50).filter_map(|_| caps.admit(A).ok()).collect::<Vec<_>>()))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 100);
        drop(held);
        assert_eq!(caps.connections(), 0);
    }
}
