//! What a policy means, as a hash: the same for every policy that decides alike.

use std::collections::HashMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Space;
use super::regions::{Regions, made_by};
use crate::index::Shape;
use crate::policy::Policy;

/// A region whose behaviour is not that of the names around it, ready to be sorted.
struct Item {
    /// The behaviour's place in the order of fingerprints.
    rank: u32,
    shape: Shape,
    /// Sorts as well as the name, and faster.
    hash: u64,
    entry: u32,
}

/// SHA-256, as hex, of `mode`, `on_revoke`, and each behaviour with the regions that have it where the names around them
/// have another. Everything is in an order of its own, so that no order of the files is left.
pub(crate) fn digest(policy: &Policy) -> String {
    let (mut space, mut regions, mut items) = (Space::default(), Regions::new(policy), Vec::new());
    for entry in 0..policy.index.len() {
        for (at, (shape, name)) in made_by(&policy.index, entry).enumerate() {
            // The first is the entry's own, whose rules are at hand.
            let (behaviour, around) = match at {
                0 => regions.pair_of(&mut space, entry),
                _ => regions.pair(&mut space, shape, name),
            };
            if behaviour != around {
                items.push(Item { rank: behaviour, shape, hash: fnv(name), entry });
            }
        }
    }
    let mut used: Vec<u32> = items.iter().map(|item| item.rank).collect();
    used.sort_unstable();
    used.dedup();
    let mut known = HashMap::new();
    let mut ranked: Vec<_> = used.iter().map(|&id| (space.fingerprint(id, &mut known), id)).collect();
    ranked.sort_unstable();
    let ranks: HashMap<u32, u32> = ranked.iter().zip(0..).map(|((_, id), rank)| (*id, rank)).collect();
    for item in &mut items {
        item.rank = ranks.get(&item.rank).copied().unwrap_or(u32::MAX);
    }
    let name = |item: &Item| policy.index.entry(item.entry).1;
    items.sort_unstable_by(|a, b| {
        (a.rank, a.shape, a.hash).cmp(&(b.rank, b.shape, b.hash)).then_with(|| name(a).cmp(name(b)))
    });

    let mut hash = Sha256::new();
    hash.update(format!("sekisho policy 2\n{}\n{}\n", policy.mode.label(), policy.on_revoke.label()));
    let mut rank = None;
    // Names lie anywhere in memory, so many are fetched before the hash is made of them.
    let mut gathered = Vec::new();
    for some in items.chunks(256) {
        for item in some {
            if rank != Some(item.rank) {
                rank = Some(item.rank);
                // No region begins with this byte, and every region ends with a line's.
                gathered.push(b'#');
                gathered.extend(ranked.get(item.rank as usize).map_or([0; 32], |(fingerprint, _)| *fingerprint));
            }
            gathered.push(match item.shape {
                Shape::Exact => b'=',
                Shape::OneLabel => b'*',
                Shape::Below => b'.',
                Shape::Ending => b'-',
            });
            gathered.extend_from_slice(name(item).as_bytes());
            gathered.push(b'\n');
        }
        hash.update(&gathered);
        gathered.clear();
    }
    let mut hex = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// FNV-1a: an order that is the same in every build, and cheap to compare by.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
