//! Frames that wait for the link, in bounded memory, their buffers used again and again.

use std::collections::VecDeque;

use crate::spare::Spare;

/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 64;

/// Complete frames, oldest first.
#[derive(Debug)]
pub(crate) struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    limit: usize,
    spare: Spare<Vec<u8>>,
    /// Frames that found no room.
    pub(crate) refused: u64,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Queue {
        Queue { frames: VecDeque::new(), bytes: 0, limit, spare: Spare::new(SPARE_BUFFERS), refused: 0 }
    }

    /// A buffer of zeroes for a frame; `None` if too much waits already, here and (`elsewhere`) for neighbours.
    pub(crate) fn buffer(&mut self, length: usize, elsewhere: usize) -> Option<Vec<u8>> {
        if self.bytes + elsewhere + length > self.limit {
            self.refused += 1;
            return None;
        }
        let mut buffer = self.spare.take().unwrap_or_default();
        buffer.clear();
        buffer.resize(length, 0);
        Some(buffer)
    }

    /// Gives the allocator the buffers that are kept for reuse.
    pub(crate) fn release(&mut self) {
        self.spare.clear();
    }

    /// Gives the allocator what was not needed since the last call. Whether something is left.
    pub(crate) fn decay(&mut self) -> bool {
        self.spare.decay();
        self.has_spare()
    }

    /// Whether buffers are kept for reuse.
    pub(crate) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    pub(crate) fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.give(buffer);
    }
}
