/// Bits per word of a bitmap.
const WORD: u32 = u64::BITS;
/// Words per block: 512 bits, one cache line.
const BLOCK_WORDS: usize = 8;
/// Blocks per group: 8192 bits.
const GROUP_BLOCKS: usize = 16;
/// Groups at most: 65,536 bits.
const GROUPS: usize = 8;

/// A set of offsets with counts of its *absent* ones, so that the k-th absent one is found in constant time.
#[derive(Clone, Debug)]
pub(super) struct CountedBitmap {
    length: u32,
    words: Box<[u64]>,
    absent: Counts,
}

impl CountedBitmap {
    /// The empty set of offsets below `length`, at most 65,536.
    pub(super) fn new(length: u32) -> CountedBitmap {
        let words = vec![0; length.div_ceil(WORD) as usize].into_boxed_slice();
        let absent = Counts::new(words.len(), |index| absent_bits(length, index, 0).count_ones());
        CountedBitmap { length, words, absent }
    }

    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// How many offsets are in the set.
    pub(super) fn count(&self) -> u32 {
        self.length - self.absent.total()
    }

    pub(super) fn contains(&self, offset: u32) -> bool {
        bit(&self.words, offset)
    }

    /// False when it was in the set already.
    pub(super) fn insert(&mut self, offset: u32) -> bool {
        let new = set_bit(&mut self.words, offset);
        if new {
            self.absent.decrement(offset);
        }
        new
    }

    /// False when it was not in the set.
    pub(super) fn remove(&mut self, offset: u32) -> bool {
        let was = clear_bit(&mut self.words, offset);
        if was {
            self.absent.increment(offset);
        }
        was
    }

    /// How many absent offsets are below `offset`.
    pub(super) fn absent_below(&self, offset: u32) -> u32 {
        self.absent.rank(offset, |index| self.absent_word(index))
    }

    /// The absent offset that has exactly `rank` absent ones below it. `rank` must be less than their number.
    pub(super) fn kth_absent(&self, rank: u32) -> u32 {
        self.absent.select(rank, |index| self.absent_word(index))
    }

    /// The absent offsets of one word, as set bits.
    pub(super) fn absent_word(&self, index: usize) -> u64 {
        absent_bits(self.length, index, self.words[index])
    }

    pub(super) fn words(&self) -> usize {
        self.words.len()
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

/// The zero bits of a word as ones, without those at or beyond `length`.
fn absent_bits(length: u32, index: usize, word: u64) -> u64 {
    let valid = length - index as u32 * WORD;
    if valid >= WORD { !word } else { !word & ((1 << valid) - 1) }
}

/// How many bits of some bitmap are set, per block and per group of blocks. The bits stay with the caller.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    groups: [u16; GROUPS],
    blocks: Box<[u16]>,
    total: u32,
}

impl Counts {
    /// Counts a bitmap of `words` words, of which `ones` tells the number of set bits.
    pub(super) fn new(words: usize, ones: impl Fn(usize) -> u32) -> Counts {
        let blocks = vec![0; words.div_ceil(BLOCK_WORDS)].into_boxed_slice();
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

/// The position of the set bit that has exactly `rank` set bits below it, halving the word at each step.
fn select_in_word(word: u64, mut rank: u32) -> u32 {
    let mut position = 0;
    for width in [32, 16, 8, 4, 2, 1] {
        let low = word >> position & ((1 << width) - 1);
        let ones = low.count_ones();
        if rank >= ones {
            rank -= ones;
            position += width;
        }
    }
    position
}
