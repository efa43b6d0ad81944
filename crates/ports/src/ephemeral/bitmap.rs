//! Sets of offsets as bits, with counts from which the k-th member is found without probing.

#[cfg(test)]
mod tests;

/// Bits per word.
pub(super) const WORD: u32 = u64::BITS;
/// Words per line, 512 bits: a cache line of the bitmap, and eight bytes of its counts.
pub(super) const LINE_WORDS: usize = 8;
/// Lines at most: 65,536 bits.
pub(super) const LINES: usize = 128;

/// A set of offsets with counts, so that the k-th member is found in constant time.
#[derive(Clone, Debug)]
pub(super) struct CountedSet {
    length: u32,
    words: Box<[u64]>,
    /// Members per word.
    counts: Box<[u8]>,
    count: u32,
}

impl CountedSet {
    /// All offsets below `length`, at most 65,536.
    pub(super) fn full(length: u32) -> CountedSet {
        let words = (length.div_ceil(WORD) as usize).next_multiple_of(LINE_WORDS);
        let words = vec![0; words].into_boxed_slice();
        let mut set = CountedSet { length, counts: vec![0; words.len()].into(), words, count: 0 };
        for offset in 0..length {
            set.insert(offset);
        }
        set
    }

    /// How many offsets there are.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// How many members there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn contains(&self, offset: u32) -> bool {
        bit(&self.words, offset)
    }

    /// False when it was a member already.
    pub(super) fn insert(&mut self, offset: u32) -> bool {
        let new = set_bit(&mut self.words, offset);
        if new {
            self.counts[word_of(offset)] += 1;
            self.count += 1;
        }
        new
    }

    /// False when it was not a member.
    pub(super) fn remove(&mut self, offset: u32) -> bool {
        let was = clear_bit(&mut self.words, offset);
        if was {
            self.counts[word_of(offset)] -= 1;
            self.count -= 1;
        }
        was
    }

    /// How many members are below `offset`.
    pub(super) fn rank(&self, offset: u32) -> u32 {
        if self.is_full() { offset } else { rank(&self.counts, offset, |word| self.words[word]) }
    }

    /// The member that has exactly `rank` members below it. `rank` must be less than their number.
    pub(super) fn kth(&self, rank: u32) -> u32 {
        if self.is_full() {
            return rank;
        }
        let place = Starts::<LINES>::new(self.counts.as_chunks().0).place(rank);
        place.offset(self.words[place.word])
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn counts(&self) -> &[u8] {
        &self.counts
    }

    /// As long as nothing was removed, which is the usual case, rank and offset are the same.
    fn is_full(&self) -> bool {
        self.count == self.length
    }
}

pub(super) fn bit(words: &[u64], offset: u32) -> bool {
    words[word_of(offset)] >> (offset % WORD) & 1 == 1
}

/// False when it was set already.
pub(super) fn set_bit(words: &mut [u64], offset: u32) -> bool {
    let word = &mut words[word_of(offset)];
    let before = *word;
    *word |= 1 << (offset % WORD);
    *word != before
}

/// False when it was clear already.
pub(super) fn clear_bit(words: &mut [u64], offset: u32) -> bool {
    let word = &mut words[word_of(offset)];
    let before = *word;
    *word &= !(1 << (offset % WORD));
    *word != before
}

/// The word that has the bit of an offset.
pub(super) fn word_of(offset: u32) -> usize {
    (offset / WORD) as usize
}

/// How many set bits are below `offset`, in a bitmap with these counts per word.
pub(super) fn rank(counts: &[u8], offset: u32, word: impl Fn(usize) -> u64) -> u32 {
    let index = word_of(offset);
    let below = word(index) & ((1 << (offset % WORD)) - 1);
    sum(&counts[..index]) + below.count_ones()
}

pub(super) fn sum(counts: &[u8]) -> u32 {
    counts.iter().map(|count| u32::from(*count)).sum()
}

/// The counts of a bitmap's words, and how many set bits are before each of its lines: what is looked through for the set
/// bit of some rank. No branch depends on what is there, as none could be foreseen.
#[derive(Debug)]
pub(super) struct Starts<'a, const LINES: usize> {
    lines: &'a [[u8; LINE_WORDS]],
    /// More than any rank, where there is no line.
    starts: [u16; LINES],
}

/// The word that has the set bit of some rank, and the bit's rank within it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) word: usize,
    rank: u32,
}

impl<const LINES: usize> Starts<'_, LINES> {
    /// For a bitmap of up to so many lines.
    #[inline]
    pub(super) fn new(lines: &[[u8; LINE_WORDS]]) -> Starts<'_, LINES> {
        let mut starts = [u16::MAX; LINES];
        let mut below = 0_u16;
        for (start, line) in starts.iter_mut().zip(lines) {
            *start = below;
            below = below.wrapping_add((ends_of_pairs(*line) >> 48) as u16);
        }
        Starts { lines, starts }
    }

    /// Where the set bit is that has exactly `rank` set bits below it.
    #[inline]
    pub(super) fn place(&self, rank: u32) -> Place {
        let mut line = 0;
        let mut step = LINES / 2;
        while step > 0 {
            let begun = u32::from(self.starts[(line + step) % LINES]) <= rank;
            line += if begun { step } else { 0 };
            step /= 2;
        }
        let rank = u64::from(rank) - u64::from(self.starts[line]);
        let ends = ends_of_pairs(self.lines[line]);
        // The high bit of each lane: whether the pair's end is no more than `rank`.
        let passed = (((rank * LANES) | (LANES << 15)) - ends) & (LANES << 15);
        let pair = (passed >> 15).wrapping_mul(LANES) >> 48;
        let rank = rank - (ends << 16 >> (pair * 16) & 0xffff);
        let first = u64::from_le_bytes(self.lines[line]) >> (pair * 16) & 0xff;
        let is_second = rank >= first;
        let word = line * LINE_WORDS + pair as usize * 2 + usize::from(is_second);
        Place { word, rank: (if is_second { rank - first } else { rank }) as u32 }
    }
}

impl Place {
    /// The set bit itself, in the bitmap that has `word` here.
    pub(super) fn offset(&self, word: u64) -> u32 {
        self.word as u32 * WORD + select_in_word(word, self.rank)
    }
}

/// 1 in each of four lanes of 16 bits.
const LANES: u64 = 0x0001_0001_0001_0001;

/// For each of a line's four pairs of words: the set bits up to its end.
fn ends_of_pairs(counts: [u8; LINE_WORDS]) -> u64 {
    let counts = u64::from_le_bytes(counts);
    let pairs = (counts & (0xff * LANES)) + ((counts >> 8) & (0xff * LANES));
    pairs.wrapping_mul(LANES)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * ONES;

/// The position of the set bit that has exactly `rank` set bits below it: first the byte, then the bit, by arithmetic on
/// eight bytes at once (Vigna, Broadword implementation of rank/select queries, 2008).
fn select_in_word(word: u64, rank: u32) -> u32 {
    let pairs = word - ((word >> 1) & (0x55 * ONES));
    let nibbles = (pairs & (0x33 * ONES)) + ((pairs >> 2) & (0x33 * ONES));
    let bytes = (nibbles + (nibbles >> 4)) & (0x0f * ONES);
    // Each byte: the set bits up to its end.
    let sums = bytes.wrapping_mul(ONES);
    let shift = bytes_up_to(sums, rank) * 8;
    let below = (sums << 8 >> shift) as u32 & 0xff;
    // Each byte: one bit of the chosen byte, as 0 or 1.
    let spread = (word >> shift & 0xff).wrapping_mul(ONES) & 0x8040_2010_0804_0201;
    let bits = ((spread + 0x7f * ONES) & HIGH_BITS) >> 7;
    shift + bytes_up_to(bits.wrapping_mul(ONES), rank - below)
}

/// How many of the ascending bytes are no more than `rank`. All are below 128.
fn bytes_up_to(bytes: u64, rank: u32) -> u32 {
    let up_to = (((u64::from(rank) * ONES) | HIGH_BITS) - bytes) & HIGH_BITS;
    ((up_to >> 7).wrapping_mul(ONES) >> 56) as u32
}
