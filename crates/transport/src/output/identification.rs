//! Identifications of the packets that we send in fragments (RFC 791 §3.2, RFC 8200 §4.5).

use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::hash::KeyedState;

/// Counters that the destinations share.
const COUNTERS: usize = 256;

/// RFC 7739 §5.3: successive numbers from one source to one destination, from a place that only the key tells. Nobody learns
/// by his own how many packets others get, and nobody can tell the next one to another.
#[derive(Debug)]
pub(super) struct Identifications {
    key: KeyedState,
    counters: Box<[u32; COUNTERS]>,
}

impl Identifications {
    pub(super) fn new(key: KeyedState) -> Identifications {
        Identifications { key, counters: Box::new([0; COUNTERS]) }
    }

    /// Of the next packet from `source` to `destination`. IPv4 takes the lower half.
    pub(super) fn next(&mut self, source: IpAddr, destination: IpAddr) -> u32 {
        let hash = self.key.hash_one((source, destination));
        let counter = &mut self.counters[(hash >> 32) as usize % COUNTERS];
        *counter = counter.wrapping_add(1);
        (hash as u32).wrapping_add(*counter)
    }
}
