//! How many clients are handed over to a service: as many as come now and then.

use std::time::{Duration, Instant};

/// So many may come at once.
const MOST: u32 = 64;
/// And one more each time. A client that is handed over costs some 200 µs more than one that is relayed, which is then 2 % of
/// a core; what a service gets more often than that can't last long on average.
const EACH: Duration = Duration::from_millis(10);

/// A token bucket.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    /// Up to when what had come back is in `left`.
    since: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { left: MOST, since: None }
    }
}

impl Allowance {
    /// Takes one, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        true
    }

    /// Whether there is one left.
    pub(super) fn has_some(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left > 0
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let back = (now.saturating_duration_since(since).as_nanos() / EACH.as_nanos()).min(u128::from(MOST)) as u32;
        self.left = (self.left + back).min(MOST);
        // A full one begins to count anew; else what is left of an interval counts later.
        self.since = Some(if self.left == MOST { now } else { since + EACH * back });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_each_time() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        let taken = |allowance: &mut Allowance, now| (0..2 * MOST).filter(|_| allowance.take(now)).count() as u32;
        assert_eq!(taken(&mut allowance, start), MOST);
        assert_eq!(taken(&mut allowance, start + EACH / 2), 0);
        // Whoever asks often loses no part of an interval.
        assert_eq!(taken(&mut allowance, start + EACH), 1);
        assert_eq!(taken(&mut allowance, start + EACH * 5 / 2), 1);
        assert_eq!(taken(&mut allowance, start + EACH * 3), 1);
        assert_eq!(taken(&mut allowance, start + EACH * 1000), MOST);
    }
}
