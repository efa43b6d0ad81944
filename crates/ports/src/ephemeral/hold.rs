use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use ahash::RandomState;

use super::key::{HeldKey, Key};

/// Ports that become free later, soonest first.
///
/// Invariant: `until` says which ports are held and until when; every such pair is in the heap. What the heap has
/// beyond that is stale and skipped.
#[derive(Debug)]
pub(super) struct Holds {
    heap: BinaryHeap<Reverse<(Instant, HeldKey)>>,
    /// Keyed by destination and offset, used by every hold and release. Peers choose the destinations.
    until: HashMap<HeldKey, Instant, RandomState>,
}

impl Holds {
    pub(super) fn new(hasher: RandomState) -> Holds {
        Holds { heap: BinaryHeap::new(), until: HashMap::with_hasher(hasher) }
    }

    /// Holds a port, or changes until when it is held.
    pub(super) fn push(&mut self, key: Key, offset: u32, until: Instant) {
        let held = key.with_offset(offset);
        if self.until.insert(held, until) != Some(until) {
            self.heap.push(Reverse((until, held)));
        }
        self.drop_stale();
    }

    /// Forgets a hold, if there is one.
    pub(super) fn cancel(&mut self, key: Key, offset: u32) {
        if !self.until.is_empty() && self.until.remove(&key.with_offset(offset)).is_some() {
            self.drop_stale();
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((until, ..))| *until)
    }

    /// The next one whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Key, u32)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, held)) = self.heap.pop()?;
        self.until.remove(&held);
        self.drop_stale();
        Some(held.parts())
    }

    /// Keeps the top of the heap a hold that is in force, and the heap at most twice as large as what is.
    fn drop_stale(&mut self) {
        if self.heap.len() > 2 * self.until.len() {
            self.heap.retain(|Reverse((until, held))| self.until.get(held) == Some(until));
        }
        while let Some(Reverse((until, held))) = self.heap.peek() {
            if self.until.get(held) == Some(until) {
                break;
            }
            self.heap.pop();
        }
    }
}
