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
    type Hasher = KeyedHasher;

    #[inline]
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { sip: SipHasher13::new_with_key(&self.key), bytes: [0; ROOM], length: 0, overflowed: false }
    }
}

/// Both ends of a flow over IPv6, and a little more.
const ROOM: usize = 56;

/// Gathers what is hashed, so that it is hashed in one go: keys are short, and hashing them word by word takes twice as long.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHasher {
    sip: SipHasher13,
    bytes: [u8; ROOM],
    length: usize,
    /// Something did not fit and is in `sip` already.
    overflowed: bool,
}

impl Hasher for KeyedHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        match self.bytes.get_mut(self.length..self.length + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            None => {
                self.sip.write(&self.bytes[..self.length]);
                self.sip.write(bytes);
                (self.length, self.overflowed) = (0, true);
            }
        }
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.write(&word.to_ne_bytes());
    }

    #[inline]
    fn finish(&self) -> u64 {
        let rest = &self.bytes[..self.length];
        if !self.overflowed {
            return self.sip.hash(rest);
        }
        let mut sip = self.sip;
        sip.write(rest);
        sip.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, Hasher};

    use super::{KeyedState, ROOM};

    #[test]
    fn every_byte_counts_whether_it_fits_or_not() {
        let state = KeyedState::new(&[7; 16], b't');
        let hash = |bytes: &[u8]| {
            let mut hasher = state.build_hasher();
            bytes.chunks(5).for_each(|part| hasher.write(part));
            hasher.finish()
        };
        for length in [1, 8, ROOM - 1, ROOM, ROOM + 1, 3 * ROOM] {
            let bytes = vec![1; length];
            let whole = hash(&bytes);
            assert_eq!(whole, hash(&bytes));
            for at in 0..length {
                let mut changed = bytes.clone();
                changed[at] ^= 0x80;
                assert_ne!(whole, hash(&changed), "byte {at} of {length}");
            }
        }
    }
}
