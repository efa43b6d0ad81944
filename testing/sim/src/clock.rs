//! Virtual time: a duration since the beginning of the run, and the `Instant` that stands for it.

use std::time::{Duration, Instant};

/// The present moment of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Instant,
    now: Duration,
}

impl Clock {
    /// The beginning of a run.
    pub(crate) fn new() -> Clock {
        // There is no other way to get an `Instant`. Only differences to it are ever used.
        #[expect(clippy::disallowed_methods, reason = "an arbitrary zero of the virtual clock")]
        let base = Instant::now();
        Clock { base, now: Duration::ZERO }
    }

    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// The present moment as the stack takes it.
    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// What the stack means by `instant`, in virtual time.
    pub(crate) fn since_start(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.base)
    }

    /// Goes forward to `time`; never back.
    pub(crate) fn advance_to(&mut self, time: Duration) {
        self.now = self.now.max(time);
    }
}
