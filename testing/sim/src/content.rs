//! What streams carry: bytes that depend on stream and position, so that the receiver knows each of them without
//! having seen the sender, and tells a lost, repeated or swapped piece from the right one.

use std::net::SocketAddr;

use crate::random::{mix, scramble};

/// The bytes of one direction of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    key: u64,
}

impl Content {
    /// What `sender` sends to `receiver` in the run of `seed`.
    pub(crate) fn new(seed: u64, sender: SocketAddr, receiver: SocketAddr) -> Content {
        let key = [sender, receiver].into_iter().fold(seed, |key, end| {
            let address = match end.ip() {
                std::net::IpAddr::V4(address) => u128::from(address.to_bits()),
                std::net::IpAddr::V6(address) => address.to_bits(),
            };
            mix(mix(key, address as u64 ^ (address >> 64) as u64), u64::from(end.port()))
        });
        Content { key }
    }

    /// Writes the bytes from `offset` on.
    pub(crate) fn fill(self, mut offset: u64, mut buffer: &mut [u8]) {
        while !buffer.is_empty() {
            let word = self.word(offset);
            let length = word.len().min(buffer.len());
            let (part, rest) = buffer.split_at_mut(length);
            part.copy_from_slice(&word[..length]);
            offset += length as u64;
            buffer = rest;
        }
    }

    /// The position of the first of these bytes, which begin at `offset`, that was never sent there.
    pub(crate) fn first_difference(self, mut offset: u64, mut data: &[u8]) -> Option<u64> {
        while !data.is_empty() {
            let word = self.word(offset);
            let length = word.len().min(data.len());
            let (part, rest) = data.split_at(length);
            if part != &word[..length] {
                let same = part.iter().zip(word.iter()).take_while(|(a, b)| a == b).count();
                return Some(offset + same as u64);
            }
            offset += length as u64;
            data = rest;
        }
        None
    }

    /// The eight bytes around `offset`, from it on.
    fn word(self, offset: u64) -> Word {
        let bytes = scramble(self.key ^ (offset / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes();
        Word { bytes, first: (offset % 8) as usize }
    }
}

struct Word {
    bytes: [u8; 8],
    first: usize,
}

impl std::ops::Deref for Word {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.first..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_the_same_however_it_is_cut() {
        let [a, b] = ["10.0.0.1:1", "10.0.0.2:2"].map(|end| end.parse::<SocketAddr>().unwrap());
        let content = Content::new(1, a, b);
        let mut whole = vec![0; 1000];
        content.fill(0, &mut whole);
        let mut parts = vec![0; 1000];
        let (left, right) = parts.split_at_mut(333);
        content.fill(333, right);
        content.fill(0, left);
        assert_eq!(whole, parts);
        assert_eq!(content.first_difference(77, &whole[77..]), None);
        whole[501] ^= 1;
        assert_eq!(content.first_difference(77, &whole[77..]), Some(501));
        assert!(Content::new(1, b, a).first_difference(0, &parts).is_some_and(|at| at < 8));
    }
}
