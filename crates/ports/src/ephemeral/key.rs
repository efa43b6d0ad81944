//! What the maps of the allocator are keyed by, and how that is hashed.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use ahash::RandomState;
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

impl From<&SocketAddr> for Key {
    fn from(destination: &SocketAddr) -> Key {
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
            Some(number) => state.write_u64(number),
            None => self.numbers().into_iter().for_each(|number| state.write_u64(number)),
        }
    }
}

impl Hash for HeldKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.numbers().into_iter().for_each(|number| state.write_u64(number));
    }
}

/// The hash of the maps. What it yields is seen nowhere outside, so it need not be as strong as [`Secret`]; its four
/// seeds come from there.
pub(super) fn map_hasher(secret: &Secret) -> RandomState {
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number| secret.seed(number));
    RandomState::with_seeds(first, second, third, fourth)
}

/// SipHash with the allocator's key. What it is used for differs in length: one number for seeds, three for a destination's
/// position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret(SipHasher13);

impl Secret {
    pub(super) fn new(key: &[u8; 16]) -> Secret {
        Secret(SipHasher13::new_with_key(key))
    }

    /// One of many seeds for other generators and hashes; none tells anything of another.
    pub(super) fn seed(&self, number: u64) -> u64 {
        self.0.hash(&number.to_ne_bytes())
    }

    /// A number for a destination that is independent of its place in a map.
    pub(super) fn position(&self, key: &Key) -> u64 {
        self.0.hash(key.numbers().map(u64::to_ne_bytes).as_flattened())
    }
}
