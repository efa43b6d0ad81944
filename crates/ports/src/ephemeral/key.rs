//! What the maps of the allocator are keyed by, and how that is hashed.

use std::hash::{BuildHasher, Hash, Hasher};
use std::net::SocketAddr;

use siphasher::sip::SipHasher13;

/// A remote endpoint in a form that is quick to hash and to compare. IPv4 addresses are held as IPv4-mapped ones, so a
/// mapped address and its plain form are the same destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The address, as two big-endian numbers.
    address: [u64; 2],
    /// Scope in the upper half, then the port, then 16 bits that are 0.
    rest: u64,
}

/// A port towards a destination: the last 16 bits of the key are the port's offset into the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HeldKey(Key);

impl Key {
    /// The same destination with a port, as an offset into the range.
    pub(super) fn with_offset(self, offset: u32) -> HeldKey {
        HeldKey(Key { rest: self.rest | u64::from(offset & 0xffff), ..self })
    }

    /// An IPv4 endpoint without a scope as one number.
    fn short(&self) -> Option<u64> {
        let [upper, lower] = self.address;
        let is_v4 = upper == 0 && lower >> 32 == 0xffff && self.rest >> 32 == 0;
        is_v4.then_some(lower << 32 | self.rest)
    }

    fn numbers(&self) -> [u64; 3] {
        [self.address[0], self.address[1], self.rest]
    }
}

impl HeldKey {
    pub(super) fn parts(self) -> (Key, u32) {
        let offset = self.0.rest & 0xffff;
        (Key { rest: self.0.rest - offset, ..self.0 }, offset as u32)
    }
}

impl From<SocketAddr> for Key {
    fn from(destination: SocketAddr) -> Key {
        let (address, scope) = match destination {
            SocketAddr::V4(v4) => (0xffff_0000_0000 | u128::from(v4.ip().to_bits()), 0),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), v6.scope_id()),
        };
        let rest = u64::from(scope) << 32 | u64::from(destination.port()) << 16;
        Key { address: [(address >> 64) as u64, address as u64], rest }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.short() {
            Some(number) => state.write(&number.to_ne_bytes()),
            None => state.write(&bytes::<24>(&self.numbers())),
        }
    }
}

impl Hash for HeldKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, second, third] = self.0.numbers();
        state.write(&bytes::<32>(&[first, second, third, 0]));
    }
}

fn bytes<const LENGTH: usize>(numbers: &[u64]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    for (piece, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        piece.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

/// SipHash with the allocator's key. What it is used for differs in length: 8 and 24 bytes for a destination, 32 for a
/// held port, 40 for a position.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyedState(SipHasher13);

impl KeyedState {
    pub(super) fn new(key: &[u8; 16]) -> KeyedState {
        KeyedState(SipHasher13::new_with_key(key))
    }

    /// A number for a destination that is independent of its place in a map.
    pub(super) fn position(&self, key: &Key) -> u64 {
        let [first, second, third] = key.numbers();
        self.0.hash(&bytes::<40>(&[first, second, third, 0, 0]))
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { sip: self.0, hash: 0 }
    }
}

/// Hashes what is written in one piece, as the keys of this module are: that is much faster than piece by piece.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher {
    sip: SipHasher13,
    hash: u64,
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.hash, 0, "keys are written in one piece");
        self.hash = self.sip.hash(bytes);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}
