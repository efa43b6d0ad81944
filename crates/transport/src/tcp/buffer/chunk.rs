//! A piece of a stream.

use bytes::Bytes;

use super::ChunkPool;

/// Where a chunk's bytes are.
#[derive(Debug)]
pub(super) enum Memory {
    /// In the pool's memory, with room behind them.
    Own(Box<[u8]>),
    /// In memory that others may hold as well: nothing is written to it.
    Shared(Bytes),
}

/// Bytes `start..end` of its memory are used, the rest after `end` is room.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where its first used byte is in the stream.
    pub(super) position: u64,
    pub(super) memory: Memory,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Own(bytes) => bytes,
            Memory::Shared(bytes) => bytes,
        }
    }

    pub(super) fn length(&self) -> usize {
        self.bytes().len()
    }
}

impl Chunk {
    pub(super) fn used(&self) -> &[u8] {
        &self.memory.bytes()[self.start as usize..self.end as usize]
    }

    pub(super) fn length(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Bytes of memory that it takes.
    pub(super) fn allocated(&self) -> usize {
        self.memory.length()
    }

    pub(super) fn room(&self) -> usize {
        match &self.memory {
            Memory::Own(bytes) => bytes.len() - self.end as usize,
            Memory::Shared(_) => 0,
        }
    }

    pub(super) fn space(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Own(bytes) => &mut bytes[self.end as usize..],
            Memory::Shared(_) => &mut [],
        }
    }

    /// Some of its bytes for others to hold; copied if the memory is the pool's.
    pub(super) fn share(&self, part: &[u8]) -> Bytes {
        match &self.memory {
            Memory::Own(_) => Bytes::copy_from_slice(part),
            Memory::Shared(bytes) => bytes.slice_ref(part),
        }
    }

    /// Its bytes, with their memory if that is not much larger than they are.
    pub(super) fn into_bytes(self, pool: &mut ChunkPool) -> Bytes {
        let used = self.start as usize..self.end as usize;
        match self.memory {
            Memory::Own(bytes) if 2 * used.len() < bytes.len() => {
                let copy = Bytes::copy_from_slice(&bytes[used]);
                pool.give(Memory::Own(bytes));
                copy
            }
            Memory::Own(bytes) => {
                pool.discount(bytes.len());
                Bytes::from(bytes).slice(used)
            }
            Memory::Shared(bytes) => {
                pool.discount(bytes.len());
                bytes.slice(used)
            }
        }
    }
}
