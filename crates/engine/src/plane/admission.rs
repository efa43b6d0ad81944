//! How many file descriptors there are left. Whatever would use one asks first, so that the limit is met by a clean
//! refusal and not by a call that fails half way.

use std::time::{Duration, Instant};

/// Between two complaints about the limit.
const PAUSE: Duration = Duration::from_secs(10);

/// A count of file descriptors against a limit.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    used: usize,
    /// Of pipes, which come and go with the data in flight.
    pipes: usize,
    complained: Option<Instant>,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Admission {
        Admission { limit, used: 0, pipes: 0, complained: None }
    }

    /// Takes `count` descriptors, or none.
    pub(super) fn take(&mut self, count: usize) -> bool {
        let enough = self.used + self.pipes + count <= self.limit;
        if enough {
            self.used += count;
        }
        enough
    }

    /// Says in the log that something was refused at the limit, but not each time.
    pub(super) fn complain(&mut self, now: Instant, refused: &str) {
        if self.complained.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE) {
            self.complained = Some(now);
            tracing::warn!(limit = self.limit, "{refused} was refused: the limit of open files is reached");
        }
    }

    /// How many there are in all.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.room_for_pipes().saturating_sub(self.pipes)
    }

    /// How many descriptors pipes may have, including those that they have.
    pub(super) fn room_for_pipes(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    /// Pipes have this many now.
    pub(super) fn set_pipes(&mut self, descriptors: usize) {
        self.pipes = descriptors;
    }

    /// Takes `count` descriptors that exist already, whatever the limit says.
    pub(super) fn record(&mut self, count: usize) {
        self.used += count;
    }

    pub(super) fn give_back(&mut self, count: usize) {
        debug_assert!(count <= self.used);
        self.used = self.used.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_flows_share_one_limit() {
        let mut admission = Admission::new(10);
        assert!(admission.take(4));
        admission.set_pipes(4);
        assert_eq!((admission.left(), admission.room_for_pipes()), (2, 6));
        assert!(!admission.take(3));
        assert!(admission.take(2));
        assert_eq!(admission.room_for_pipes(), 4);
        // What exists already may be more than is allowed.
        admission.record(7);
        assert_eq!((admission.left(), admission.room_for_pipes()), (0, 0));
        admission.give_back(13);
        admission.set_pipes(0);
        assert_eq!(admission.left(), 10);
    }
}
