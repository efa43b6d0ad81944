#[cfg(test)]
mod tests;

use smallvec::SmallVec;

/// Bits per word of a bitmap.
const WORD: u32 = u64::BITS;
/// Words per block: 512 bits, one cache line.
const BLOCK_WORDS: usize = 8;
/// Blocks per group: 8192 bits.
const GROUP_BLOCKS: usize = 16;
/// Groups at most: 65,536 bits.
const GROUPS: usize = 8;

/// A set of offsets with counts, so that the k-th member is found in constant time.
#[derive(Clone, Debug)]
pub(super) struct CountedSet {
    length: u32,
    words: Box<[u64]>,
    counts: Counts,
}

impl CountedSet {
    /// All offsets below `length`, at most 65,536.
    pub(super) fn full(length: u32) -> CountedSet {
        let mut words = vec![u64::MAX; length.div_ceil(WORD) as usize].into_boxed_slice();
        if let (Some(last), 1..) = (words.last_mut(), length % WORD) {
            *last = (1 << (length % WORD)) - 1;
        }
        let counts = Counts::new(words.len(), |index| words[index].count_ones());
        CountedSet { length, words, counts }
    }

    /// How many members there are.
    pub(super) fn count(&self) -> u32 {
        self.counts.total()
    }

    pub(super) fn contains(&self, offset: u32) -> bool {
        bit(&self.words, offset)
    }

    /// False when it was a member already.
    pub(super) fn insert(&mut self, offset: u32) -> bool {
        let new = set_bit(&mut self.words, offset);
        if new {
            self.counts.increment(offset);
        }
        new
    }

    /// False when it was not a member.
    pub(super) fn remove(&mut self, offset: u32) -> bool {
        let was = clear_bit(&mut self.words, offset);
        if was {
            self.counts.decrement(offset);
        }
        was
    }

    /// How many members are below `offset`.
    pub(super) fn rank(&self, offset: u32) -> u32 {
        if self.is_full() { offset } else { self.counts.rank(offset, |index| self.words[index]) }
    }

    /// The member that has exactly `rank` members below it. `rank` must be less than their number.
    pub(super) fn kth(&self, rank: u32) -> u32 {
        if self.is_full() { rank } else { self.counts.select(rank, |index| self.words[index]) }
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// As long as nothing was removed, which is the usual case, rank and offset are the same.
    fn is_full(&self) -> bool {
        self.counts.total() == self.length
    }
}

pub(super) fn bit(words: &[u64], offset: u32) -> bool {
    words[(offset / WORD) as usize] >> (offset % WORD) & 1 == 1
}

/// False when it was set already.
pub(super) fn set_bit(words: &mut [u64], offset: u32) -> bool {
    let word = &mut words[(offset / WORD) as usize];
    let before = *word;
    *word |= 1 << (offset % WORD);
    *word != before
}

/// False when it was clear already.
pub(super) fn clear_bit(words: &mut [u64], offset: u32) -> bool {
    let word = &mut words[(offset / WORD) as usize];
    let before = *word;
    *word &= !(1 << (offset % WORD));
    *word != before
}

/// How many bits of some bitmap are set, per block and per group of blocks. The bits stay with the caller.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    total: u32,
    groups: [u16; GROUPS],
    /// Beside the groups, without an indirection, for ranges up to IANA's dynamic one.
    blocks: SmallVec<[u16; 32]>,
}

impl Counts {
    /// Counts a bitmap of `words` words, of which `ones` tells the number of set bits.
    pub(super) fn new(words: usize, ones: impl Fn(usize) -> u32) -> Counts {
        let blocks = SmallVec::from_elem(0, words.div_ceil(BLOCK_WORDS));
        let mut counts = Counts { groups: [0; GROUPS], blocks, total: 0 };
        counts.recount(words, ones);
        counts
    }

    pub(super) fn recount(&mut self, words: usize, ones: impl Fn(usize) -> u32) {
        self.groups = [0; GROUPS];
        self.total = 0;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let first = index * BLOCK_WORDS;
            let count: u32 = (first..words.min(first + BLOCK_WORDS)).map(&ones).sum();
            *block = count as u16;
            self.groups[index / GROUP_BLOCKS] += count as u16;
            self.total += count;
        }
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of::<Counts>() + if self.blocks.spilled() { size_of_val(&*self.blocks) } else { 0 }
    }

    pub(super) fn increment(&mut self, offset: u32) {
        let block = block_of(offset);
        self.blocks[block] += 1;
        self.groups[block / GROUP_BLOCKS] += 1;
        self.total += 1;
    }

    pub(super) fn decrement(&mut self, offset: u32) {
        let block = block_of(offset);
        self.blocks[block] -= 1;
        self.groups[block / GROUP_BLOCKS] -= 1;
        self.total -= 1;
    }

    /// How many set bits are below `offset`.
    pub(super) fn rank(&self, offset: u32, word: impl Fn(usize) -> u64) -> u32 {
        let block = block_of(offset);
        let group = block / GROUP_BLOCKS;
        let index = (offset / WORD) as usize;
        let below = word(index) & ((1 << (offset % WORD)) - 1);
        sum(&self.groups[..group])
            + sum(&self.blocks[group * GROUP_BLOCKS..block])
            + (block * BLOCK_WORDS..index).map(|index| word(index).count_ones()).sum::<u32>()
            + below.count_ones()
    }

    /// The set bit that has exactly `rank` set bits below it.
    pub(super) fn select(&self, mut rank: u32, word: impl Fn(usize) -> u64) -> u32 {
        debug_assert!(rank < self.total);
        let group = descend(&mut rank, 0, |group| u32::from(self.groups[group]));
        let block = descend(&mut rank, group * GROUP_BLOCKS, |block| u32::from(self.blocks[block]));
        let index = descend(&mut rank, block * BLOCK_WORDS, |index| word(index).count_ones());
        index as u32 * WORD + select_in_word(word(index), rank)
    }
}

fn block_of(offset: u32) -> usize {
    (offset / WORD) as usize / BLOCK_WORDS
}

fn sum(counts: &[u16]) -> u32 {
    counts.iter().map(|count| u32::from(*count)).sum()
}

/// Walks from `first` to the part that contains the set bit of that rank, and makes the rank relative to it.
fn descend(rank: &mut u32, first: usize, count: impl Fn(usize) -> u32) -> usize {
    let mut part = first;
    loop {
        let ones = count(part);
        if *rank < ones {
            return part;
        }
        *rank -= ones;
        part += 1;
    }
}

/// The position of the set bit that has exactly `rank` set bits below it: the byte by arithmetic on all bytes at once
/// (Vigna, Broadword implementation of rank/select queries, 2008), then the bit.
fn select_in_word(word: u64, rank: u32) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * ONES;
    let pairs = word - ((word >> 1) & (0x55 * ONES));
    let nibbles = (pairs & (0x33 * ONES)) + ((pairs >> 2) & (0x33 * ONES));
    let bytes = (nibbles + (nibbles >> 4)) & (0x0f * ONES);
    // Each byte: the set bits up to its end.
    let sums = bytes.wrapping_mul(ONES);
    // The high bit of each byte: whether they are no more than `rank`.
    let before = (((u64::from(rank) * ONES) | HIGH_BITS) - sums) & HIGH_BITS;
    let shift = ((before >> 7).wrapping_mul(ONES) >> 56) as u32 * 8;
    let below = (sums << 8 >> shift) as u32 & 0xff;
    let mut byte = word >> shift & 0xff;
    for _ in below..rank {
        byte &= byte - 1;
    }
    shift + byte.trailing_zeros()
}
