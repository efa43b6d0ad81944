//! Memory that no queue uses, for all of them.
//!
//! The last chunk returned is given first, so a stream whose reader keeps up stays in the processor's cache however large
//! its window is.

use std::collections::VecDeque;

use super::chunk::{Chunk, Memory};
use super::{CHUNK, SMALL_CHUNK};

/// Small chunks kept for reuse.
const SMALL_KEEP: usize = 1024;

/// Length of the longest list of chunks that is kept for reuse.
const LIST_MAX: usize = 64;

/// Chunks that no queue uses.
#[derive(Debug)]
pub(crate) struct ChunkPool {
    pub(super) free: Vec<Box<[u8]>>,
    small: Vec<Box<[u8]>>,
    /// Lists of chunks, all empty, for queues that have none.
    lists: Vec<VecDeque<Chunk>>,
    keep: usize,
    /// Bytes of chunks that queues have now.
    pub(super) used: usize,
    /// From how many on buffers should not grow.
    limit: usize,
}

impl ChunkPool {
    /// `keep` is how many free big chunks are not given back to the allocator.
    pub(crate) fn new(keep: usize, limit: usize) -> ChunkPool {
        ChunkPool { free: Vec::new(), small: Vec::new(), lists: Vec::new(), keep, used: 0, limit }
    }

    /// Whether so much is used that buffers should not grow.
    pub(crate) fn is_short(&self) -> bool {
        self.used >= self.limit
    }

    /// Gives the allocator all that no queue uses.
    pub(crate) fn release(&mut self) {
        (self.free, self.small, self.lists) = (Vec::new(), Vec::new(), Vec::new());
    }

    pub(super) fn take(&mut self, wanted: usize) -> Box<[u8]> {
        self.used += if wanted <= SMALL_CHUNK { SMALL_CHUNK } else { CHUNK };
        if wanted <= SMALL_CHUNK {
            return self.small.pop().unwrap_or_else(|| vec![0; SMALL_CHUNK].into_boxed_slice());
        }
        self.free.pop().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
    }

    pub(super) fn take_list(&mut self) -> VecDeque<Chunk> {
        self.lists.pop().unwrap_or_else(|| VecDeque::with_capacity(1))
    }

    pub(super) fn give_list(&mut self, list: VecDeque<Chunk>) {
        if self.lists.len() < SMALL_KEEP && list.capacity() <= LIST_MAX {
            self.lists.push(list);
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
        if bytes.len() == CHUNK && self.free.len() < self.keep {
            self.free.push(bytes);
        } else if bytes.len() == SMALL_CHUNK && self.small.len() < SMALL_KEEP {
            self.small.push(bytes);
        }
    }
}
