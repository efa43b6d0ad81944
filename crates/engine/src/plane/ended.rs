//! The machine's sockets of connections that both sides have ended. Closing one costs as much as two frames: the kernel
//! tells the peer and, where that is on this machine, lets it answer, all within the call. Nobody waits for it, since the
//! peer has closed already; but a program that makes one connection after the other has the next one's request out
//! meanwhile. So they are closed when a program is busy itself, or at the latest before the loop sleeps.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::Plane;

/// Most sockets that wait.
const MAX: usize = 64;
/// How long one waits at most while the loop finds no time.
const PATIENCE: Duration = Duration::from_micros(500);

/// Sockets to be closed.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Each has one descriptor of the admission.
    sockets: Vec<OwnedFd>,
    /// The first of them.
    since: Option<Instant>,
}

impl Ended {
    fn add(&mut self, now: Instant, socket: OwnedFd) {
        self.since.get_or_insert(now);
        self.sockets.push(socket);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.since? + PATIENCE)
    }

    /// Whether they can't wait any longer.
    fn is_due(&self, now: Instant) -> bool {
        self.sockets.len() >= MAX || self.deadline().is_some_and(|at| at <= now)
    }

    /// Closes them; how many they were.
    fn close(&mut self) -> usize {
        self.since = None;
        self.sockets.drain(..).count()
    }
}

impl Plane {
    pub(super) fn close_later(&mut self, socket: OwnedFd) {
        self.admission.record(1);
        self.ended.add(self.now, socket);
    }

    pub(super) fn close_overdue(&mut self) {
        if self.ended.is_due(self.now) {
            self.close_ended();
        }
    }

    pub(super) fn close_ended(&mut self) {
        self.admission.give_back(self.ended.close());
    }

    /// Admits so many descriptors, in the place of ended sockets if there is no other.
    pub(super) fn admit(&mut self, count: usize) -> bool {
        if self.admission.left() < count {
            self.close_ended();
        }
        self.admission.take(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").expect("it is there").into()
    }

    #[test]
    fn sockets_wait_for_a_while_and_not_too_many_of_them() {
        let now = Instant::now();
        let mut ended = Ended::default();
        assert_eq!((ended.deadline(), ended.is_due(now), ended.close()), (None, false, 0));
        ended.add(now, descriptor());
        ended.add(now + PATIENCE / 2, descriptor());
        assert_eq!(ended.deadline(), Some(now + PATIENCE), "the first one counts");
        assert!(!ended.is_due(now + PATIENCE / 2) && ended.is_due(now + PATIENCE));
        assert_eq!((ended.close(), ended.deadline()), (2, None));
        (0..MAX).for_each(|_| ended.add(now, descriptor()));
        assert!(ended.is_due(now));
    }
}
