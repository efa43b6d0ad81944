//! The ephemeral allocator: which source port an outgoing connection gets.
//!
//! A 4-tuple must be unique, so a port is taken only towards one destination and stays free towards all others
//! (RFC 6056 §2.2). Per destination the used ports are known by a short list or a bitmap with counts, from which the
//! k-th free port is found without probing; a busy one's free ports are drawn several at a time.

mod bitmap;
mod busy;
mod destination;
mod draw;
mod hand;
mod hold;
mod key;
mod randomness;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use ahash::RandomState;
use thiserror::Error;

use crate::{Port, PortRange};
use bitmap::CountedSet;
use destination::Destination;
use hold::Holds;
use key::{Key, Secret, map_hasher};
use randomness::Randomness;

/// Chooses source ports for one transport and one local address.
///
/// The destination is the remote address and port. The same port is given to many destinations at once, but never
/// twice to one. Memory: 200 bytes per destination, which suffice for up to 64 ports in use; for a busier one a bitmap of
/// the range beside them, at most 8 KiB, and its counts, an eighth of that. A destination with no port in use takes nothing.
///
/// Invariant: a port is in use towards a destination from the [`allocate`](Self::allocate) or
/// [`claim`](Self::claim) that took it until its [`release`](Self::release), or until its
/// [`hold`](Self::hold) has run out.
///
/// ```
/// use minato_ports::{EphemeralAllocator, PortRange};
///
/// let mut ephemeral = EphemeralAllocator::new(PortRange::DYNAMIC, [7; 16]);
/// let server = "192.0.2.1:443".parse().unwrap();
/// let port = ephemeral.allocate(server, 0x9e37_79b9_7f4a_7c15).unwrap(); // randomness is the caller's
/// assert!(PortRange::DYNAMIC.contains(port));
/// assert_eq!(ephemeral.used(server), 1);
/// ephemeral.release(server, port);
/// assert_eq!(ephemeral.used(server), 0);
/// ```
#[derive(Debug)]
pub struct EphemeralAllocator {
    range: PortRange,
    selection: Selection,
    /// Ports that are not excluded, as offsets into the range.
    available: CountedSet,
    /// Grows with every change of `available`; destinations compare it with the state they have counted.
    version: u64,
    /// Keyed by remote endpoint, used by every call. Programs choose the keys, hence the keyed hasher; nothing shows them
    /// what it yields, hence a quick one.
    destinations: HashMap<Key, Destination, RandomState>,
    /// Positions of [`Selection::Keyed`] (RFC 6056 §3.3.4), indexed by a hash of the destination.
    counters: Box<[u32; COUNTERS]>,
    holds: Holds,
    secret: Secret,
    randomness: Randomness,
}

const COUNTERS: usize = 256;

/// How the allocator chooses among the free ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Selection {
    /// Uniformly at random among all free ports: what RFC 6056 §3.3.1 aims at, without its probing.
    #[default]
    Uniform,
    /// The next free port from a position that starts at a keyed hash of the destination and moves on by one with
    /// each allocation (RFC 6056 §3.3.3 and §3.3.4): a port returns late, and other destinations' ports tell nothing.
    Keyed,
}

/// Why no port was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "no free port towards {destination}: of the {} ports {range}, {used} are in use towards it and {excluded} are reserved",
    range.length()
)]
pub struct AllocateError {
    /// The range that was searched.
    pub range: PortRange,
    /// The remote endpoint towards which all of it is taken.
    pub destination: SocketAddr,
    /// How many ports of the range are in use towards it, held ones included.
    pub used: u32,
    /// How many ports of the range are excluded for every destination. A port may be in use and excluded at once.
    pub excluded: u32,
}

impl EphemeralAllocator {
    /// An allocator with every port of `range` free. `key` keys the hash of the destinations: give it random bytes
    /// when peers can choose destinations, constant ones for reproducible runs.
    pub fn new(range: PortRange, key: [u8; 16]) -> EphemeralAllocator {
        let secret = Secret::new(&key);
        let hasher = map_hasher(&secret);
        EphemeralAllocator {
            range,
            selection: Selection::default(),
            available: CountedSet::full(range.length()),
            version: 0,
            destinations: HashMap::with_hasher(hasher.clone()),
            counters: Box::new([0; COUNTERS]),
            holds: Holds::new(hasher),
            randomness: Randomness::new(&secret),
            secret,
        }
    }

    /// The same allocator with another way to choose.
    pub fn with_selection(mut self, selection: Selection) -> EphemeralAllocator {
        self.selection = selection;
        self
    }

    /// The range that ports are taken from.
    pub fn range(&self) -> PortRange {
        self.range
    }

    /// Takes a port that is free towards `destination`, in constant time at any fill.
    ///
    /// `random` should be 64 uniform bits; each free port is equally likely, up to 2⁻⁴⁸. There is no other source of
    /// randomness: what later calls need besides their own is derived from this and the key. [`Selection::Keyed`] ignores it.
    pub fn allocate(&mut self, destination: SocketAddr, random: u64) -> Result<Port, AllocateError> {
        if self.available.count() == 0 {
            return Err(self.exhausted(&destination));
        }
        self.randomness.stir(random);
        let key = Key::from(&destination);
        let position = (self.selection == Selection::Keyed).then(|| self.next_position(&key));
        let mut new = None;
        let known = self.destinations.get_mut(&key);
        let state = known.unwrap_or_else(|| new.insert(Destination::new(self.version)));
        state.synchronise(&self.available, self.version);
        if state.free(&self.available) == 0 {
            return Err(self.exhausted(&destination));
        }
        let offset = match position {
            None => state.choose(random, &self.available, &mut self.randomness),
            Some(position) => state.take_next(position, &self.available),
        };
        if let Some(state) = new {
            self.destinations.insert(key, state);
        }
        Ok(self.range.nth(offset).expect("offsets are within the range"))
    }

    /// Takes one particular port towards `destination`, as when the program has bound its source port itself. False
    /// when it is in use towards it already, or outside the range, which needs no bookkeeping here. Excluded ports
    /// can be claimed.
    pub fn claim(&mut self, destination: SocketAddr, port: Port) -> bool {
        let Some(offset) = self.range.offset(port) else { return false };
        let state = self.destinations.entry(Key::from(&destination)).or_insert_with(|| Destination::new(self.version));
        state.synchronise(&self.available, self.version);
        state.take(offset, &self.available)
    }

    /// Gives a port back at once. False when it was not in use towards `destination`.
    pub fn release(&mut self, destination: SocketAddr, port: Port) -> bool {
        let Some(offset) = self.range.offset(port) else { return false };
        let key = Key::from(&destination);
        self.holds.cancel(key, offset);
        self.free(key, offset)
    }

    /// Gives a port back at the time `until`, such as the end of TIME-WAIT (RFC 9293 §3.6.1). Until then it counts as
    /// in use. False when it was not in use towards `destination`.
    ///
    /// Call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn hold(&mut self, destination: SocketAddr, port: Port, until: Instant) -> bool {
        let in_use = self.is_used(destination, port);
        if let Some(offset) = self.range.offset(port).filter(|_| in_use) {
            self.holds.push(Key::from(&destination), offset, until);
        }
        in_use
    }

    /// When the next held port becomes free; `None` when none is held. Ask again after every call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.holds.next()
    }

    /// Frees the ports whose hold has run out at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((key, offset)) = self.holds.pop(now) {
            self.free(key, offset);
        }
    }

    /// Excludes a port for every destination, such as one that a server has bound. Ports in use stay in use. False
    /// when it was excluded already or is outside the range.
    pub fn exclude(&mut self, port: Port) -> bool {
        self.range.offset(port).is_some_and(|offset| self.change_excluded(offset, true))
    }

    /// Makes an excluded port available again. False when it was not excluded.
    pub fn include(&mut self, port: Port) -> bool {
        self.range.offset(port).is_some_and(|offset| self.change_excluded(offset, false))
    }

    /// Whether the port is in use towards `destination`.
    pub fn is_used(&self, destination: SocketAddr, port: Port) -> bool {
        let state = self.destinations.get(&Key::from(&destination));
        self.range.offset(port).is_some_and(|offset| state.is_some_and(|state| state.is_used(offset)))
    }

    /// How many ports are in use towards `destination`, held ones included.
    pub fn used(&self, destination: SocketAddr) -> u32 {
        self.destinations.get(&Key::from(&destination)).map_or(0, Destination::used)
    }

    /// How many destinations have a port in use.
    pub fn destinations(&self) -> usize {
        self.destinations.len()
    }

    fn free(&mut self, key: Key, offset: u32) -> bool {
        let Some(state) = self.destinations.get_mut(&key) else { return false };
        state.synchronise(&self.available, self.version);
        let freed = state.give_back(offset, &self.available, &mut self.randomness);
        if state.used() == 0 {
            self.destinations.remove(&key);
        }
        freed
    }

    #[cold]
    fn exhausted(&self, destination: &SocketAddr) -> AllocateError {
        let destination = *destination;
        let (used, excluded) = (self.used(destination), self.range.length() - self.available.count());
        AllocateError { range: self.range, destination, used, excluded }
    }

    /// RFC 6056 §3.3.4: F(destination) plus a counter that is chosen by G(destination) and moves on; one keyed hash yields
    /// F and G.
    fn next_position(&mut self, key: &Key) -> u32 {
        let hash = self.secret.position(key);
        let counter = &mut self.counters[(hash >> 32) as usize % COUNTERS];
        let position = (hash as u32).wrapping_add(*counter) % self.range.length();
        *counter = counter.wrapping_add(1);
        position
    }

    fn change_excluded(&mut self, offset: u32, excluded: bool) -> bool {
        let changed = if excluded { self.available.remove(offset) } else { self.available.insert(offset) };
        self.version += u64::from(changed);
        changed
    }
}

/// A number below `limit`, each about equally likely when `random` is uniform (multiply and shift, no modulo bias
/// worth speaking of).
fn scale(random: u64, limit: u32) -> u32 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u32
}
