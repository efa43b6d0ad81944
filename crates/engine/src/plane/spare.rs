//! When to give back the buffers that the stack keeps for reuse: a second after the last frame.

use std::time::{Duration, Instant};

/// A pause that is no pause between two requests.
const PAUSE: Duration = Duration::from_secs(1);

/// Since when the spare buffers were not needed.
#[derive(Debug)]
pub(super) struct Spare {
    used: Instant,
    /// When to look again; it is not moved by each frame. `None` when all was given back.
    due: Option<Instant>,
}

impl Spare {
    pub(super) fn new(now: Instant) -> Spare {
        Spare { used: now, due: None }
    }

    /// A frame has arrived.
    pub(super) fn used(&mut self, now: Instant) {
        self.used = now;
        self.due.get_or_insert(now + PAUSE);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to give everything back now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|at| at > now) {
            return false;
        }
        let due = self.used + PAUSE;
        self.due = (due > now).then_some(due);
        self.due.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_counted_from_the_last_frame() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut spare = Spare::new(start);
        assert_eq!(spare.deadline(), None);
        spare.used(start);
        spare.used(at(600));
        assert!(!spare.is_due(at(1000)));
        assert_eq!(spare.deadline(), Some(at(1600)));
        assert!(spare.is_due(at(1600)));
        assert_eq!(spare.deadline(), None);
        assert!(!spare.is_due(at(9000)), "once");
    }
}
