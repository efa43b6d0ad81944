//! Keyed hashing: remote parties choose what is hashed (addresses, ports), so they must not know where it falls.

use std::hash::{BuildHasher, Hasher};

use siphasher::sip::SipHasher13;

/// Makes SipHash-1-3 hashers with one secret key.
#[derive(Clone, Debug)]
pub(crate) struct KeyedState {
    key: [u8; 16],
}

impl KeyedState {
    /// `purpose` separates the uses of one secret from each other.
    pub(crate) fn new(key: &[u8; 16], purpose: u8) -> KeyedState {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write_u8(purpose);
        let low = hasher.finish();
        hasher.write_u8(purpose);
        let high = hasher.finish();
        let mut derived = [0; 16];
        derived[..8].copy_from_slice(&low.to_le_bytes());
        derived[8..].copy_from_slice(&high.to_le_bytes());
        KeyedState { key: derived }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.key)
    }
}
