//! Random numbers for what the allocator does besides choosing.

use super::key::Secret;

/// A generator whose numbers depend on all randomness that the allocator was given, and can't be foretold without its
/// key: SipHash of a sum of it.
#[derive(Debug)]
pub(super) struct Randomness {
    secret: Secret,
    sum: u64,
    /// Half of a hash that is not used yet.
    spare: Option<u32>,
}

impl Randomness {
    pub(super) fn new(secret: Secret) -> Randomness {
        Randomness { secret, sum: 0, spare: None }
    }

    /// Takes in what the caller gave.
    pub(super) fn stir(&mut self, random: u64) {
        self.sum = self.sum.wrapping_add(random);
    }

    /// A number below `limit`, each exactly as likely (Lemire, Fast random integer generation in an interval, 2019).
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        loop {
            let product = u64::from(self.next()) * u64::from(limit);
            if product as u32 >= limit || product as u32 >= limit.wrapping_neg() % limit {
                return (product >> 32) as u32;
            }
        }
    }

    fn next(&mut self) -> u32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // Odd, so that the sum returns to a value only after 2⁶⁴ steps.
        self.sum = self.sum.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let hash = self.secret.hash(&[self.sum]);
        self.spare = Some((hash >> 32) as u32);
        hash as u32
    }
}
