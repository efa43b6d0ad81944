use std::iter;

use super::bitmap::{CountedSet, LINE_WORDS, LINES, Starts, bit, clear_bit, rank, set_bit, sum, word_of};
use super::destination::Offsets;
use super::hand::{HAND, Hand, Recent};
use super::randomness::Randomness;
use super::scale;

/// The ports in use towards a destination that has many: a bitmap with counts, and some free ports at hand.
///
/// Invariant: the bitmap has the ports in use and those at hand; the counts are of what is neither in the bitmap nor
/// excluded; nothing at hand is excluded.
#[derive(Debug)]
pub(super) struct Busy {
    used: u16,
    /// Ports neither in use nor excluded, those at hand included.
    free: u16,
    hand: Hand,
    recent: Recent,
    bitmap: Bitmap,
}

/// Offsets as bits, in one of two sizes: a range's own would need one more indirection.
#[derive(Debug)]
enum Bitmap {
    /// For ranges of up to 16,384 ports, as IANA's dynamic one.
    Small(Box<Counted<SMALL>>),
    Large(Box<Counted<LINES>>),
}

/// Lines of a small one.
const SMALL: usize = 32;

/// Aligned, so that a line is one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Counted<const LINES: usize> {
    pub(super) words: [[u64; LINE_WORDS]; LINES],
    /// Per word, of the offsets that are neither set nor excluded.
    pub(super) free: [[u8; LINE_WORDS]; LINES],
}

impl Busy {
    pub(super) fn from_list(offsets: &[u16], available: &CountedSet) -> Busy {
        let bitmap = if available.words().len() <= SMALL * LINE_WORDS {
            Bitmap::Small(Box::new(Counted::new(available)))
        } else {
            Bitmap::Large(Box::new(Counted::new(available)))
        };
        let mut busy =
            Busy { used: 0, free: available.count() as u16, hand: Hand::new(), recent: Recent::new(), bitmap };
        for offset in offsets {
            busy.take(u32::from(*offset), available);
        }
        busy
    }

    pub(super) fn used(&self) -> u32 {
        u32::from(self.used)
    }

    pub(super) fn free(&self) -> u32 {
        u32::from(self.free)
    }

    pub(super) fn is_used(&self, offset: u32) -> bool {
        bit(self.bitmap.parts().0, offset) && !self.hand.contains(offset)
    }

    /// Counts again after another `available`.
    pub(super) fn synchronise(&mut self, available: &CountedSet) {
        self.write_all();
        let (words, counts) = self.bitmap.parts_mut();
        for ((count, word), available) in counts.iter_mut().zip(&*words).zip(available.words()) {
            *count = (available & !word).count_ones() as u8;
        }
        self.free = sum(counts) as u16;
    }

    /// Takes a free port, each as likely. There must be one.
    pub(super) fn choose(&mut self, random: u64, available: &CountedSet, randomness: &mut Randomness) -> u32 {
        if self.hand.drawn() == 0 {
            self.draw(available, randomness);
        }
        self.used += 1;
        self.free -= 1;
        let offset = self.hand.take(scale(random, self.hand.drawn()));
        self.recent.push(offset);
        offset
    }

    /// Takes the first free port from `position` on, or from 0 on when none follows. There must be one.
    pub(super) fn take_next(&mut self, position: u32, available: &CountedSet) -> u32 {
        self.write_all();
        let (words, counts) = self.bitmap.parts();
        let free_word = |word: usize| available.words()[word] & !words[word];
        let rank = rank(counts, position, free_word) % self.free();
        let place = Starts::<LINES>::new(counts.as_chunks().0).place(rank);
        let offset = place.offset(free_word(place.word));
        self.take(offset, available);
        offset
    }

    /// False when it is in use already.
    pub(super) fn take(&mut self, offset: u32, available: &CountedSet) -> bool {
        let (words, counts) = self.bitmap.parts_mut();
        let at_hand = self.hand.remove(offset);
        let taken = at_hand || set_bit(words, offset);
        if taken {
            self.used += 1;
        }
        if taken && available.contains(offset) {
            self.free -= 1;
            if !at_hand {
                counts[word_of(offset)] -= 1;
            }
        }
        taken
    }

    /// False when it was not in use.
    pub(super) fn give_back(&mut self, offset: u32, available: &CountedSet, randomness: &mut Randomness) -> bool {
        if !self.recent.remove(offset) && !self.is_used(offset) {
            return false;
        }
        self.used -= 1;
        if !available.contains(offset) {
            return clear_bit(self.bitmap.parts_mut().0, offset);
        }
        let returned = self.hand.admit(offset, self.free(), randomness);
        self.free += 1;
        if let Some(offset) = returned {
            self.put_back(offset);
        }
        true
    }

    /// All ports in use, ascending.
    pub(super) fn list(&mut self) -> Offsets {
        self.write_all();
        let (words, _) = self.bitmap.parts();
        let mut offsets = Offsets::new();
        for (index, word) in words.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                offsets.push(index as u16 * u64::BITS as u16 + rest.trailing_zeros() as u16);
                rest &= rest - 1;
            }
        }
        offsets
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        let (words, counts) = self.bitmap.parts();
        (size_of_val(words), size_of_val(counts))
    }

    fn draw(&mut self, available: &CountedSet, randomness: &mut Randomness) {
        self.write_returned();
        let free = self.free();
        match &mut self.bitmap {
            Bitmap::Small(counted) => counted.draw(free, available, &mut self.hand, randomness),
            Bitmap::Large(counted) => counted.draw(free, available, &mut self.hand, randomness),
        }
    }

    /// Keeps a returned port at hand, or writes it to the bitmap when there is no room that can be made.
    fn put_back(&mut self, offset: u32) {
        if self.hand.is_full() {
            self.write_returned();
        }
        if self.hand.is_full() {
            self.bitmap.free(iter::once(offset));
        } else {
            self.hand.put_back(offset);
            // What the next draw would write first is written now: each call has its share of the work.
            if self.hand.drawn() == 0 && self.hand.returned() >= HAND / 2 {
                self.write_returned();
            }
        }
    }

    fn write_returned(&mut self) {
        self.bitmap.free(self.hand.take_returned());
    }

    fn write_all(&mut self) {
        self.bitmap.free(self.hand.take_all());
    }
}

impl Bitmap {
    /// Clears bits that are set, of ports that are not excluded.
    fn free(&mut self, offsets: impl Iterator<Item = u32>) {
        let (words, counts) = self.parts_mut();
        for offset in offsets {
            clear_bit(words, offset);
            counts[word_of(offset)] += 1;
        }
    }

    fn parts(&self) -> (&[u64], &[u8]) {
        match self {
            Bitmap::Small(counted) => (counted.words.as_flattened(), counted.free.as_flattened()),
            Bitmap::Large(counted) => (counted.words.as_flattened(), counted.free.as_flattened()),
        }
    }

    fn parts_mut(&mut self) -> (&mut [u64], &mut [u8]) {
        match self {
            Bitmap::Small(counted) => (counted.words.as_flattened_mut(), counted.free.as_flattened_mut()),
            Bitmap::Large(counted) => (counted.words.as_flattened_mut(), counted.free.as_flattened_mut()),
        }
    }
}

impl<const LINES: usize> Counted<LINES> {
    /// With nothing in it.
    fn new(available: &CountedSet) -> Counted<LINES> {
        let mut counted = Counted { words: [[0; LINE_WORDS]; LINES], free: [[0; LINE_WORDS]; LINES] };
        counted.free.as_flattened_mut()[..available.counts().len()].copy_from_slice(available.counts());
        counted
    }
}
