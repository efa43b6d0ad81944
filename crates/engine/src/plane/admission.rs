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
    complained: Option<Instant>,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Admission {
        Admission { limit, used: 0, complained: None }
    }

    /// Takes `count` descriptors, or none.
    pub(super) fn take(&mut self, count: usize) -> bool {
        let enough = self.used + count <= self.limit;
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

    /// Takes `count` descriptors that exist already, whatever the limit says.
    pub(super) fn record(&mut self, count: usize) {
        self.used += count;
    }

    pub(super) fn give_back(&mut self, count: usize) {
        debug_assert!(count <= self.used);
        self.used = self.used.saturating_sub(count);
    }
}
