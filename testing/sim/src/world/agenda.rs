//! What is going to happen, in order of time; what was planned first goes first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Opening;
use crate::link::LinkConfig;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// A frame reaches a port of a node.
    Arrive { node: usize, port: usize, frame: Vec<u8> },
    /// A host's timer is due.
    Wake { host: usize },
    /// A host opens a connection.
    Open { host: usize, opening: Opening },
    /// A link gets other properties.
    Change { link: usize, config: Box<LinkConfig> },
}

/// A queue by time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BinaryHeap<Entry>,
    planned: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    order: u64,
    happening: Happening,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Duration, happening: Happening) {
        self.entries.push(Entry { at, order: self.planned, happening });
        self.planned += 1;
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        self.entries.peek().map(|entry| entry.at)
    }

    pub(super) fn pop(&mut self) -> Option<(Duration, Happening)> {
        self.entries.pop().map(|entry| (entry.at, entry.happening))
    }
}

impl Ord for Entry {
    /// Reversed, since the heap gives the greatest.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
