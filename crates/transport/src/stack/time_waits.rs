//! Connections in TIME-WAIT, oldest first.

use std::collections::VecDeque;

use crate::slots::{Slots, drop_stale_deadlines};
use crate::tcp::{TimeWait, TimeWaitAnswer};
use crate::time::Time;
use crate::wire::tcp::Segment;

/// All last equally long, so the order of entering is the order of leaving (nearly: a repeated FIN starts the time anew,
/// which is noticed when the old time is up).
#[derive(Debug, Default)]
pub(super) struct TimeWaits {
    places: Slots<TimeWait>,
    order: VecDeque<(Time, u32, u32)>,
}

impl TimeWaits {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The new one's index, and the oldest with its index if it had to make room.
    pub(super) fn insert(&mut self, time_wait: TimeWait, limit: usize) -> (u32, Option<(u32, TimeWait)>) {
        let mut forgotten = None;
        while self.places.len() >= limit.max(1) {
            let Some((_, index, generation)) = self.order.pop_front() else { break };
            if self.places.is_current(index, generation) {
                forgotten = self.places.remove(index).map(|old| (index, old));
            }
        }
        let expires = time_wait.expires;
        let (index, generation) = self.places.insert(time_wait);
        self.order.push_back((expires, index, generation));
        drop_stale_deadlines(&mut self.order, &self.places);
        (index, forgotten)
    }

    pub(super) fn get(&self, index: u32) -> Option<&TimeWait> {
        self.places.get(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TimeWait> {
        self.places.iter().map(|(_, time_wait)| time_wait)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<TimeWait> {
        self.places.remove(index)
    }

    pub(super) fn on_segment(&self, index: u32, segment: &Segment<'_>) -> TimeWaitAnswer {
        self.places.get(index).map_or(TimeWaitAnswer::Ignore, |time_wait| time_wait.on_segment(segment))
    }

    /// RFC 9293 §3.10.7.4: a repeated FIN restarts the 2 MSL.
    pub(super) fn restart(&mut self, index: u32, expires: Time) {
        if let Some(time_wait) = self.places.get_mut(index) {
            time_wait.expires = expires;
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.order.front().map(|(at, ..)| *at)
    }

    /// The next whose time is up, with its index.
    pub(super) fn expire(&mut self, now: Time) -> Option<(u32, TimeWait)> {
        while let Some(&(at, index, generation)) = self.order.front() {
            let current = self.places.is_current(index, generation);
            if current && at > now {
                break;
            }
            self.order.pop_front();
            if !current {
                continue;
            }
            match self.places.get(index).map(|time_wait| time_wait.expires) {
                Some(expires) if expires > now => self.order.push_back((expires, index, generation)),
                _ => return self.places.remove(index).map(|old| (index, old)),
            }
        }
        None
    }
}
