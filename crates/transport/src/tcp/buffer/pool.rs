//! Memory that no queue uses, for all of them.
//!
//! The last chunk returned is given first, so a stream whose reader keeps up stays in the processor's cache however large
//! its window is.

use std::collections::VecDeque;

use super::chunk::{Chunk, Memory};
use super::{CHUNK, SMALL_CHUNK};
use crate::spare::Spare;

/// Small chunks kept for reuse.
const SMALL_KEEP: usize = 1024;

/// Length of the longest list of chunks that is kept for reuse.
const LIST_MAX: usize = 64;

/// Chunks that no queue uses.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    pub(super) free: Spare<Box<[u8]>>,
    small: Spare<Box<[u8]>>,
    /// Lists of chunks, all empty, for queues that have none.
    lists: Spare<VecDeque<Chunk>>,
    /// Bytes of chunks that queues have now.
    pub(super) used: usize,
    /// From how many on buffers should not grow.
    limit: usize,
}

impl ChunkPool {
    /// `keep` is how many free big chunks are not given back to the allocator.
    pub(crate) fn new(keep: usize, limit: usize) -> ChunkPool {
        let (free, small, lists) = (Spare::new(keep), Spare::new(SMALL_KEEP), Spare::new(SMALL_KEEP));
        ChunkPool { free, small, lists, used: 0, limit }
    }

    /// Whether so much is used that buffers should not grow.
    pub(crate) fn is_short(&self) -> bool {
        self.used >= self.limit
    }

    /// Gives the allocator all that no queue uses.
    pub(crate) fn release(&mut self) {
        self.free.clear();
        self.small.clear();
        self.lists.clear();
    }

    /// Gives the allocator what no queue needed since the last call. Whether something is left.
    pub(crate) fn decay(&mut self) -> bool {
        self.free.decay();
        self.small.decay();
        self.lists.decay();
        self.has_spare()
    }

    /// Whether there is memory that no queue uses.
    pub(crate) fn has_spare(&self) -> bool {
        !(self.free.is_empty() && self.small.is_empty() && self.lists.is_empty())
    }

    /// Bytes of chunks that queues have, and of those that none has.
    pub(crate) fn bytes(&self) -> usize {
        self.used + self.free.iter().chain(self.small.iter()).map(|chunk| chunk.len()).sum::<usize>()
    }

    pub(super) fn take(&mut self, wanted: usize) -> Box<[u8]> {
        self.used += if wanted <= SMALL_CHUNK { SMALL_CHUNK } else { CHUNK };
        if wanted <= SMALL_CHUNK {
            return self.small.take().unwrap_or_else(|| vec![0; SMALL_CHUNK].into_boxed_slice());
        }
        self.free.take().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
    }

    pub(super) fn take_list(&mut self) -> VecDeque<Chunk> {
        self.lists.take().unwrap_or_else(|| VecDeque::with_capacity(1))
    }

    pub(super) fn give_list(&mut self, list: VecDeque<Chunk>) {
        if list.capacity() <= LIST_MAX {
            self.lists.give(list);
        }
    }

    /// A queue has memory that is not the pool's.
    pub(super) fn count(&mut self, length: usize) {
        self.used += length;
    }

    /// A queue gave memory to its caller.
    pub(super) fn discount(&mut self, length: usize) {
        self.used -= length;
    }

    pub(super) fn give(&mut self, memory: Memory) {
        self.discount(memory.length());
        let Memory::Own(bytes) = memory else { return };
        match bytes.len() {
            CHUNK => self.free.give(bytes),
            SMALL_CHUNK => self.small.give(bytes),
            _ => {}
        }
    }
}
