//! The only source of chance: xoshiro256++ seeded by SplitMix64, both given to the public domain by their authors
//! (Blackman and Vigna, "Scrambled linear pseudorandom number generators").

use std::time::Duration;

/// A stream of pseudorandom numbers. The same seed gives the same stream, on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        let mut position = seed;
        let state = std::array::from_fn(|_| {
            position = position.wrapping_add(GOLDEN_GAMMA);
            scramble(position)
        });
        Random { state }
    }

    /// The stream of a part of the run, told apart by `label`. What one part draws leaves the others' numbers alone, so
    /// that adding a link to a scenario does not change what happens on its other links.
    #[must_use]
    pub fn of_part(seed: u64, label: u64) -> Random {
        Random::new(mix(seed, label))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number below `bound`, which is not 0. The bias of at most `bound` in 2⁶⁴ is of no account here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something happens that has this probability. Draws nothing for what never happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.bits() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// Up to `longest`, each nanosecond with the same probability. Draws nothing for zero.
    pub fn duration(&mut self, longest: Duration) -> Duration {
        match longest.as_nanos() as u64 {
            0 => Duration::ZERO,
            nanoseconds => Duration::from_nanos(self.below(nanoseconds.saturating_add(1))),
        }
    }
}

/// One number out of two, well mixed.
#[must_use]
pub fn mix(a: u64, b: u64) -> u64 {
    scramble(scramble(a.wrapping_add(GOLDEN_GAMMA)) ^ b.wrapping_mul(GOLDEN_GAMMA))
}

/// SplitMix64's step: the odd number nearest to 2⁶⁴ divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (a finalizer of David Stafford's).
pub(crate) fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_algorithm() {
        // From the state 1, 2, 3, 4, as the reference program computes by hand: rotl(1 + 4, 23) + 1.
        let mut random = Random { state: [1, 2, 3, 4] };
        assert_eq!(random.bits(), (5 << 23) + 1);
        // s2 ^= s0; s3 ^= s1; s1 ^= s2; s0 ^= s3; s2 ^= t; s3 = rotl(s3, 45), with t = s1 << 17.
        assert_eq!(random.state, [1 ^ 6, 2 ^ 2, 2 ^ (2 << 17), 6 << 45]);
        // SplitMix64 of the seed 0 begins with this number in every implementation.
        assert_eq!(scramble(GOLDEN_GAMMA), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn probabilities_are_kept() {
        let mut random = Random::new(7);
        let hits = (0..100_000).filter(|_| random.happens(0.05)).count();
        assert!((4_800..5_200).contains(&hits), "{hits} of 100,000 at 5 %");
        assert!(!random.happens(0.0));
        assert!(random.happens(1.0));
        assert!((0..1_000).all(|_| random.below(3) < 3));
    }

    #[test]
    fn parts_differ_and_repeat() {
        let draw = |label| Random::of_part(1, label).bits();
        assert_eq!(draw(0), draw(0));
        assert_ne!(draw(0), draw(1));
    }
}
