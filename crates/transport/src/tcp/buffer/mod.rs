//! Stream bytes in chunks: a buffer that grows and shrinks by whole chunks, hands out slices without copying, and joins
//! with another by moving chunks. A chunk is memory of the pool, or memory that the caller gave and still shares.

mod chunk;
mod pool;

use std::collections::VecDeque;

use bytes::Bytes;

use chunk::{Chunk, Memory};
pub(crate) use pool::ChunkPool;

/// Capacity of a big chunk.
pub(crate) const CHUNK: usize = 64 << 10;

/// Capacity of the first chunk of a queue, while it holds little.
const SMALL_CHUNK: usize = 2 << 10;

/// Length from which on a queue that is filled sparingly counts as a bulk stream.
const BULK: usize = 16 << 10;

/// Least contiguous room for which `space` does not start a new chunk.
const SPACE_MIN: usize = 4 << 10;

/// Shared bytes shorter than this are copied: that costs less than to keep an account of them, and a chunk per handful of
/// bytes would leave segments short, which have few parts.
pub(crate) const SHARED_MIN: usize = 4 << 10;

/// A queue of bytes. Invariants: no chunk is empty except possibly the last; `length` is the sum of the chunks' lengths;
/// chunks' positions follow each other without gaps, from `position` on.
#[derive(Debug, Default)]
pub(crate) struct ChunkQueue {
    chunks: VecDeque<Chunk>,
    /// How many bytes went through before the first.
    position: u64,
    length: usize,
}

impl ChunkQueue {
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of memory that its chunks take.
    pub(crate) fn allocated(&self) -> usize {
        self.chunks.iter().map(Chunk::allocated).sum()
    }

    /// Copies `data` to the end.
    pub(crate) fn push(&mut self, data: &[u8], pool: &mut ChunkPool) {
        // A queue that holds something already is a bulk stream.
        self.push_in_chunks(data, 1, pool);
    }

    /// As `push`, for a queue that is likely to stay short: its chunks are as small as `data` allows until it is longer.
    pub(crate) fn push_sparingly(&mut self, data: &[u8], pool: &mut ChunkPool) {
        self.push_in_chunks(data, BULK, pool);
    }

    /// `bulk` is the length from which on all chunks are big.
    fn push_in_chunks(&mut self, mut data: &[u8], bulk: usize, pool: &mut ChunkPool) {
        while !data.is_empty() {
            if self.chunks.back().is_none_or(|chunk| chunk.room() == 0) {
                self.add_chunk(if self.length >= bulk { CHUNK } else { data.len() }, pool);
            }
            let Some(chunk) = self.chunks.back_mut() else { return };
            let count = chunk.room().min(data.len());
            let (now, later) = data.split_at(count);
            chunk.space()[..count].copy_from_slice(now);
            chunk.end += count as u32;
            self.length += count;
            data = later;
        }
    }

    /// Puts bytes to the end that stay where they are, if they are worth it.
    pub(crate) fn push_shared(&mut self, data: Bytes, pool: &mut ChunkPool) {
        if data.len() < SHARED_MIN {
            return self.push(&data, pool);
        }
        let length = data.len();
        pool.count(length);
        self.add(Memory::Shared(data), pool);
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.end = length as u32;
        }
        self.length += length;
    }

    fn add_chunk(&mut self, wanted: usize, pool: &mut ChunkPool) {
        let memory = Memory::Own(pool.take(wanted));
        self.add(memory, pool);
    }

    fn add(&mut self, memory: Memory, pool: &mut ChunkPool) {
        let position = self.position + self.length as u64;
        let chunk = Chunk { position, memory, start: 0, end: 0 };
        if let Some(last) = self.chunks.back_mut()
            && last.length() == 0
        {
            pool.give(std::mem::replace(last, chunk).memory);
        } else {
            if self.chunks.capacity() == 0 {
                self.chunks = pool.take_list();
            }
            self.chunks.push_back(chunk);
        }
    }

    /// Contiguous room at the end: at least `want` or `SPACE_MIN` bytes, whichever is less. Used by `commit`.
    pub(crate) fn space(&mut self, want: usize, pool: &mut ChunkPool) -> &mut [u8] {
        if self.chunks.back().is_none_or(|chunk| chunk.room() < want.clamp(1, SPACE_MIN)) {
            self.add_chunk(if self.length > 0 { CHUNK } else { want }, pool);
        }
        match self.chunks.back_mut() {
            Some(chunk) => chunk.space(),
            None => &mut [],
        }
    }

    /// Makes the first `count` bytes of the last `space` part of the queue; how many there were.
    pub(crate) fn commit(&mut self, count: usize, pool: &mut ChunkPool) -> usize {
        let Some(chunk) = self.chunks.back_mut() else { return 0 };
        let count = count.min(chunk.room());
        chunk.end += count as u32;
        self.length += count;
        if self.length <= SMALL_CHUNK && chunk.allocated() == CHUNK && chunk.length() == self.length {
            self.move_to_small(pool);
        }
        count
    }

    /// A big chunk is too much for a short message that may wait long for its acknowledgement.
    fn move_to_small(&mut self, pool: &mut ChunkPool) {
        let Some(chunk) = self.chunks.pop_back() else { return };
        let mut bytes = pool.take(chunk.length());
        bytes[..chunk.length()].copy_from_slice(chunk.used());
        let (position, end) = (chunk.position, chunk.length() as u32);
        self.chunks.push_back(Chunk { position, start: 0, end, memory: Memory::Own(bytes) });
        pool.give(chunk.memory);
    }

    /// Gives an empty last chunk back, so that an idle queue holds no memory.
    pub(crate) fn trim(&mut self, pool: &mut ChunkPool) {
        if self.chunks.back().is_some_and(|chunk| chunk.length() == 0)
            && let Some(chunk) = self.chunks.pop_back()
        {
            pool.give(chunk.memory);
            self.drop_list(pool);
        }
    }

    /// An empty queue has no memory at all, not even for its list of chunks.
    fn drop_list(&mut self, pool: &mut ChunkPool) {
        if self.chunks.is_empty() {
            pool.give_list(std::mem::take(&mut self.chunks));
        }
    }

    /// Drops `count` bytes from the front (at most all).
    pub(crate) fn consume(&mut self, count: usize, pool: &mut ChunkPool) {
        let mut left = count.min(self.length);
        self.length -= left;
        self.position += left as u64;
        while left > 0 {
            let Some(chunk) = self.chunks.front_mut() else { return };
            let now = left.min(chunk.length());
            chunk.start += now as u32;
            chunk.position += now as u64;
            left -= now;
            if chunk.length() == 0
                && let Some(chunk) = self.chunks.pop_front()
            {
                pool.give(chunk.memory);
                self.drop_list(pool);
            }
        }
    }

    /// Up to `N` slices of the bytes from `offset` on, at most `length` bytes; how many bytes they are.
    pub(crate) fn slices<const N: usize>(&self, offset: usize, length: usize) -> ([&[u8]; N], usize) {
        let mut slices: [&[u8]; N] = [&[]; N];
        let (first, mut skip) = self.find(offset);
        let mut left = length;
        for (slice, chunk) in slices.iter_mut().zip(self.chunks.range(first..)) {
            let used = chunk.used().get(skip..).unwrap_or_default();
            *slice = &used[..used.len().min(left)];
            skip = 0;
            left -= slice.len();
            if left == 0 {
                break;
            }
        }
        (slices, length - left)
    }

    /// The same bytes as `slices` with the same arguments, in parts of their own: shared where the chunk is, else copied.
    pub(crate) fn shared<const N: usize>(&self, offset: usize, length: usize) -> [Bytes; N] {
        let mut parts = [const { Bytes::new() }; N];
        let (slices, _) = self.slices::<N>(offset, length);
        let (first, _) = self.find(offset);
        for ((part, slice), chunk) in parts.iter_mut().zip(slices).zip(self.chunks.range(first..)) {
            *part = chunk.share(slice);
        }
        parts
    }

    /// Takes the first chunk's bytes off the queue, with their memory if that is not much larger than they are.
    pub(crate) fn pop_shared(&mut self, pool: &mut ChunkPool) -> Option<Bytes> {
        let chunk = self.chunks.pop_front_if(|chunk| chunk.length() > 0)?;
        self.length -= chunk.length();
        self.position += chunk.length() as u64;
        self.drop_list(pool);
        Some(chunk.into_bytes(pool))
    }

    /// The index of the chunk that has the byte at `offset`, and where in it.
    fn find(&self, offset: usize) -> (usize, usize) {
        // Most queues are one chunk.
        if let Some(first) = self.chunks.front().filter(|first| offset < first.length()) {
            debug_assert_eq!(first.position, self.position);
            return (0, offset);
        }
        let position = self.position + offset as u64;
        let after = self.chunks.partition_point(|chunk| chunk.position <= position);
        let index = after.saturating_sub(1);
        (index, self.chunks.get(index).map_or(0, |chunk| (position - chunk.position) as usize))
    }

    /// How many of the `length` bytes from `offset` on fit into `n` slices.
    pub(crate) fn reach(&self, offset: usize, length: usize, n: usize) -> usize {
        let (first, mut skip) = self.find(offset);
        let mut left = length;
        for chunk in self.chunks.range(first..).take(n) {
            left -= chunk.length().saturating_sub(skip).min(left);
            skip = 0;
            if left == 0 {
                break;
            }
        }
        length - left
    }

    /// Moves all of `other` to the end.
    pub(crate) fn append(&mut self, mut other: ChunkQueue, pool: &mut ChunkPool) {
        self.trim(pool);
        let end = self.position + self.length as u64;
        for chunk in &mut other.chunks {
            chunk.position = end + (chunk.position - other.position);
        }
        self.length += other.length;
        self.chunks.append(&mut other.chunks);
    }

    /// Copies bytes from the front to `buffer` and drops them; how many.
    pub(crate) fn pop_into(&mut self, buffer: &mut [u8], pool: &mut ChunkPool) -> usize {
        let mut copied = 0;
        for chunk in &self.chunks {
            let count = chunk.length().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&chunk.used()[..count]);
            copied += count;
            if copied == buffer.len() {
                break;
            }
        }
        self.consume(copied, pool);
        copied
    }

    /// Gives all memory back.
    pub(crate) fn clear(&mut self, pool: &mut ChunkPool) {
        for chunk in std::mem::take(&mut self.chunks) {
            pool.give(chunk.memory);
        }
        self.position += self.length as u64;
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{CHUNK, ChunkPool, ChunkQueue, SHARED_MIN};

    fn content(queue: &ChunkQueue) -> Vec<u8> {
        queue.slices::<64>(0, queue.length()).0.concat()
    }

    #[test]
    fn bytes_come_out_in_order_whatever_the_sizes() {
        let mut pool = ChunkPool::new(4, usize::MAX);
        let mut queue = ChunkQueue::default();
        let mut expected = Vec::new();
        for round in 0..200_usize {
            let piece: Vec<u8> = (0..round * 37 % 5000).map(|at| (at * 7 + round) as u8).collect();
            if round % 2 == 0 {
                queue.push(&piece, &mut pool);
            } else {
                let space = queue.space(piece.len(), &mut pool);
                let count = space.len().min(piece.len());
                space[..count].copy_from_slice(&piece[..count]);
                assert_eq!(queue.commit(count, &mut pool), count);
                queue.push(&piece[count..], &mut pool);
            }
            expected.extend_from_slice(&piece);
            let drop = (round * 91 % 4000).min(expected.len());
            queue.consume(drop, &mut pool);
            expected.drain(..drop);
            assert_eq!(queue.length(), expected.len());
            assert_eq!(content(&queue), expected);
            let (parts, count) = queue.slices::<2>(expected.len() / 2, 3000);
            assert_eq!(parts.concat(), expected[expected.len() / 2..][..count]);
            assert_eq!(queue.reach(expected.len() / 2, 3000, 2), count);
        }
    }

    #[test]
    fn shared_bytes_go_through_without_a_copy() {
        let mut pool = ChunkPool::new(4, usize::MAX);
        let mut queue = ChunkQueue::default();
        let large = Bytes::from(vec![7; 3 * SHARED_MIN]);
        queue.push(b"before", &mut pool);
        queue.push_shared(large.clone(), &mut pool);
        queue.push_shared(Bytes::from_static(b"small"), &mut pool);
        queue.push(b"after", &mut pool);
        assert_eq!(content(&queue), [b"before", &large[..], b"smallafter"].concat());
        let parts = queue.shared::<4>(4, 2 + large.len() + 3);
        assert_eq!(parts.concat(), [b"re", &large[..], b"sma"].concat());
        assert_eq!(parts[1].as_ptr(), large.as_ptr());
        queue.consume(8, &mut pool);
        let popped = queue.pop_shared(&mut pool).expect("there is more");
        assert_eq!((popped.as_ptr(), popped.len()), (large[2..].as_ptr(), large.len() - 2));
        assert_eq!(queue.pop_shared(&mut pool).as_deref(), Some(&b"smallafter"[..]));
        assert_eq!(queue.pop_shared(&mut pool), None);
        assert_eq!((queue.length(), pool.used), (0, 0));
    }

    #[test]
    fn a_full_chunk_is_given_away_with_its_memory_and_a_sparse_one_copied() {
        let mut pool = ChunkPool::new(4, usize::MAX);
        let mut queue = ChunkQueue::default();
        queue.push(&vec![1; CHUNK], &mut pool);
        queue.push(&[2; 100], &mut pool);
        let place = queue.slices::<1>(0, 1).0[0].as_ptr();
        assert_eq!(queue.pop_shared(&mut pool).map(|bytes| (bytes.as_ptr(), bytes.len())), Some((place, CHUNK)));
        assert!(pool.free.is_empty());
        assert_eq!(queue.pop_shared(&mut pool).as_deref(), Some(&[2; 100][..]));
        assert_eq!((pool.free.iter().count(), pool.used), (1, 0));
    }

    #[test]
    fn an_idle_queue_holds_no_memory_and_the_pool_keeps_a_few_chunks() {
        let mut pool = ChunkPool::new(2, usize::MAX);
        let mut queue = ChunkQueue::default();
        queue.push(&vec![1; 5 * CHUNK], &mut pool);
        queue.consume(5 * CHUNK, &mut pool);
        queue.trim(&mut pool);
        assert_eq!(pool.used, 0);
        assert!(queue.chunks.is_empty() && pool.free.iter().count() == 2);
    }

    #[test]
    fn joining_moves_chunks() {
        let mut pool = ChunkPool::new(2, usize::MAX);
        let (mut front, mut back) = (ChunkQueue::default(), ChunkQueue::default());
        front.push(b"ab", &mut pool);
        back.push(b"cde", &mut pool);
        front.append(back, &mut pool);
        let mut buffer = [0; 4];
        assert_eq!(front.pop_into(&mut buffer, &mut pool), 4);
        assert_eq!(&buffer, b"abcd");
        assert_eq!(content(&front), b"e");
    }
}
