//! Deadlines of many connections, the earliest first.
//!
//! A connection whose deadline moves later leaves its entry as it is: it comes up early, finds nothing due, and is entered
//! again. So the usual case, a retransmission timer pushed on by every acknowledgement, costs nothing here.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// When, and whom to wake: index and generation.
pub(crate) type Deadline = (Time, u32, u32);

/// A heap of deadlines; O(log n) to enter and to take, O(1) to look.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Deadline>>,
}

impl Timers {
    pub(crate) fn push(&mut self, deadline: Deadline) {
        self.heap.push(Reverse(deadline));
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Keeps the entries that `is_live` knows, each once.
    pub(crate) fn retain(&mut self, mut is_live: impl FnMut(&Deadline) -> bool) {
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        entries.retain(|Reverse(deadline)| is_live(deadline));
        entries.sort_unstable();
        entries.dedup();
        self.heap = entries.into();
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The earliest entry that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Deadline> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
