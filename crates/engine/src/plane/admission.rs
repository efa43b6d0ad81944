//! How many file descriptors there are left. Whatever would use one asks first, so that the limit is met by a clean
//! refusal and not by a call that fails half way.

/// A count of file descriptors against a limit.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    used: usize,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Admission {
        Admission { limit, used: 0 }
    }

    /// Takes `count` descriptors, or none.
    pub(super) fn take(&mut self, count: usize) -> bool {
        let enough = self.used + count <= self.limit;
        if enough {
            self.used += count;
        }
        enough
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
