//! Random numbers for what the allocator does besides choosing.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use super::key::Secret;

/// A generator whose numbers depend on all randomness that the allocator was given, and can't be foretold without its
/// key: blocks of ChaCha8, numbered by a sum of it.
#[derive(Debug)]
pub(super) struct Randomness {
    generator: ChaCha8Rng,
    sum: u64,
    numbers: [[u8; 4]; BLOCKS],
    /// How many of the numbers are not used yet.
    left: usize,
}

/// As many numbers as the generator makes at a time.
const BLOCKS: usize = 64;

impl Randomness {
    pub(super) fn new(secret: &Secret) -> Randomness {
        let seeds = [4, 5, 6, 7].map(|number| secret.seed(number).to_le_bytes());
        let seed = seeds.as_flattened().try_into().expect("four times eight bytes");
        Randomness { generator: ChaCha8Rng::from_seed(seed), sum: 0, numbers: [[0; 4]; BLOCKS], left: 0 }
    }

    /// Takes in what the caller gave.
    pub(super) fn stir(&mut self, random: u64) {
        self.sum = self.sum.wrapping_add(random);
    }

    /// A number below `limit`, each exactly as likely (Lemire, Fast random integer generation in an interval, 2019).
    #[inline]
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        loop {
            let product = u64::from(self.next()) * u64::from(limit);
            if product as u32 >= limit || product as u32 >= limit.wrapping_neg() % limit {
                return (product >> 32) as u32;
            }
        }
    }

    /// As many numbers of 16 bits as the generator makes at a time.
    pub(super) fn halves(&mut self) -> [u16; 2 * BLOCKS] {
        self.refill();
        self.left = 0;
        let mut halves = [0; 2 * BLOCKS];
        for (half, bytes) in halves.iter_mut().zip(self.numbers.as_flattened().as_chunks().0) {
            *half = u16::from_le_bytes(*bytes);
        }
        halves
    }

    #[inline]
    fn next(&mut self) -> u32 {
        if self.left == 0 {
            self.refill();
        }
        self.left -= 1;
        u32::from_le_bytes(self.numbers[self.left])
    }

    #[cold]
    fn refill(&mut self) {
        // Odd, so that the sum returns to a value only after 2⁶⁴ steps.
        self.sum = self.sum.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.generator.set_stream(self.sum);
        self.generator.fill_bytes(self.numbers.as_flattened_mut());
        self.left = BLOCKS;
    }
}
