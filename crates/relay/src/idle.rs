//! When a conversation without an end of its own is over: nothing passed for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many that are gone are no matter.
const FEW: usize = 1024;

/// Flows that end after the same time without use. Using a flow costs nothing here: its owner notes the time, and the
/// queue asks for it when the flow's turn comes. So each flow is looked at once per timeout, and the queue is always
/// ordered.
#[derive(Debug)]
pub struct IdleQueue<K> {
    timeout: Duration,
    /// Ordered by the instant at which the flow is looked at.
    waiting: VecDeque<(Instant, K)>,
}

impl<K: Copy> IdleQueue<K> {
    /// A queue of flows that end after `timeout` without use.
    pub fn new(timeout: Duration) -> IdleQueue<K> {
        IdleQueue { timeout, waiting: VecDeque::new() }
    }

    /// Adds a flow that was used now.
    pub fn add(&mut self, now: Instant, key: K) {
        self.waiting.push_back((now + self.timeout, key));
    }

    /// Forgets those that are gone already, if they are the most by far; `live` is how many are not, `is_live` which. To be
    /// called where flows end otherwise than here and new ones come, as fast as anybody wants: their entries would wait for
    /// as long as they could have lasted. A call costs little on average, however often it is made.
    pub fn forget_gone(&mut self, live: usize, mut is_live: impl FnMut(K) -> bool) {
        if self.waiting.len() > 2 * live + FEW {
            self.waiting.retain(|(_, key)| is_live(*key));
        }
    }

    /// When to call [`IdleQueue::expire`] next.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Takes the next flow that is over. `last_used` tells when a flow was used last, or `None` if it is gone already.
    /// To be called until it returns `None`.
    pub fn expire(&mut self, now: Instant, mut last_used: impl FnMut(K) -> Option<Instant>) -> Option<K> {
        while self.deadline().is_some_and(|at| at <= now) {
            let (_, key) = self.waiting.pop_front()?;
            match last_used(key) {
                None => {}
                Some(used) if used + self.timeout <= now => return Some(key),
                // Not earlier than what is at the back, so that the queue stays ordered.
                Some(used) => {
                    let at = used + self.timeout;
                    let at = self.waiting.back().map_or(at, |(last, _)| at.max(*last));
                    self.waiting.push_back((at, key));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an arbitrary point in time; std offers no other way to make one")]
    fn ends_what_was_not_used() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut queue = IdleQueue::new(10 * second);
        let mut used = [Some(start), Some(start), Some(start)];
        for key in 0..3 {
            queue.add(start, key);
        }
        assert_eq!(queue.deadline(), Some(start + 10 * second));
        assert_eq!(queue.expire(start + 9 * second, |key: usize| used[key]), None);

        used[0] = Some(start + 4 * second); // used since
        used[1] = None; // gone
        let now = start + 10 * second;
        assert_eq!(queue.expire(now, |key| used[key]), Some(2));
        assert_eq!(queue.expire(now, |key| used[key]), None);
        assert_eq!(queue.deadline(), Some(start + 14 * second));
        assert_eq!(queue.expire(start + 14 * second, |key| used[key]), Some(0));
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "as above")]
    fn what_is_gone_does_not_pile_up() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut queue = IdleQueue::new(180 * second);
        let mut looked_at = 0;
        // Each is gone when 10 others have come, but for the first ones.
        let is_live = |newest: usize, key: usize| key < 5 || key + 10 > newest;
        for newest in 0..100_000 {
            queue.add(start + second * newest as u32 / 1000, newest);
            queue.forget_gone(15, |key| {
                looked_at += 1;
                is_live(newest, key)
            });
            assert!(queue.waiting.len() <= 2 * 15 + FEW);
        }
        assert!(looked_at < 2 * 100_000, "{looked_at} looks");
        assert_eq!(queue.deadline(), Some(start + 180 * second), "the first ones are there");
        assert!(queue.waiting.iter().is_sorted());
    }
}
