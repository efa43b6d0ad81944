//! How free ports come to hand. All ways yield a uniformly random choice of so many; they differ in what they cost.

use super::bitmap::{CountedSet, Place, Starts, WORD, bit, set_bit, word_of};
use super::busy::Counted;
use super::hand::{HAND, Hand};
use super::randomness::Randomness;

/// Up to so many free ports are listed, which then takes less than looking for some of them.
const FEW: usize = 4 * HAND;
/// Offsets are tried when at least one in so many is free.
const OFTEN: u32 = 4;

impl<const LINES: usize> Counted<LINES> {
    /// Takes some of the free ports, of which there are `free`, to hand, which is empty: all when there is room for them.
    pub(super) fn draw(&mut self, free: u32, available: &CountedSet, hand: &mut Hand, randomness: &mut Randomness) {
        if free as usize <= FEW {
            return self.draw_of_few(available, hand, randomness);
        }
        if free * OFTEN >= available.length() {
            self.draw_by_trying(available, hand, &randomness.halves());
        }
        // That nothing was found is all but impossible.
        if hand.drawn() == 0 {
            self.draw_by_rank(free, available, hand, randomness);
        }
    }

    /// Lists all, and shuffles the list as far as it is taken.
    fn draw_of_few(&mut self, available: &CountedSet, hand: &mut Hand, randomness: &mut Randomness) {
        let words = self.words.as_flattened_mut();
        let mut list = [0_u16; FEW + 1];
        let mut count = 0;
        for (index, (used, available)) in (0_u32..).zip(words.iter().zip(available.words())) {
            let first = |free: u64| (index * WORD + free.trailing_zeros()) as u16;
            let mut free = available & !used;
            // Without a branch, as most words have none or one: what is no port is written over by the next.
            list[count] = first(free);
            count += usize::from(free != 0);
            free &= free.wrapping_sub(1);
            while free != 0 {
                list[count] = first(free);
                count += 1;
                free &= free - 1;
            }
        }
        if count > HAND {
            (0..HAND).for_each(|index| list.swap(index, index + randomness.below((count - index) as u32) as usize));
        }
        let counts = self.free.as_flattened_mut();
        hand.draw_all(list[..count.min(HAND)].iter().map(|offset| {
            let offset = u32::from(*offset);
            counts[word_of(offset)] -= 1;
            set_bit(words, offset);
            (offset, true)
        }));
    }

    /// Tries random offsets, and takes those that are free, each as likely to be found.
    fn draw_by_trying(&mut self, available: &CountedSet, hand: &mut Hand, numbers: &[u16]) {
        let words = self.words.as_flattened_mut();
        let counts = self.free.as_flattened_mut();
        // Numbers that would make some offsets more likely than others (Lemire, as in `Randomness`).
        let unfair = (1 << u16::BITS) % available.length();
        hand.draw_all(numbers.iter().map(|number| {
            let product = u32::from(*number) * available.length();
            let offset = product >> u16::BITS;
            let is_fair = product % (1 << u16::BITS) >= unfair;
            let new = is_fair & bit(available.words(), offset) & !bit(words, offset);
            words[word_of(offset)] |= u64::from(new) << (offset % WORD);
            counts[word_of(offset)] -= u8::from(new);
            (offset, new)
        }));
    }

    /// Takes the free ports of random ranks. One that comes twice is taken once.
    ///
    /// They lie anywhere in the bitmap, so nearly each is in a line that is in no cache. First it is found out in which,
    /// then all are read, and then they are looked at: so the processor waits for all together.
    fn draw_by_rank(&mut self, free: u32, available: &CountedSet, hand: &mut Hand, randomness: &mut Randomness) {
        let starts = Starts::<LINES>::new(&self.free);
        let words = self.words.as_flattened_mut();
        let places: [Place; HAND] = std::array::from_fn(|_| starts.place(randomness.below(free)));
        let read = places.map(|place| words[place.word]);
        let counts = self.free.as_flattened_mut();
        hand.draw_all(places.iter().zip(read).map(|(place, used)| {
            let offset = place.offset(available.words()[place.word] & !used);
            let new = set_bit(words, offset);
            counts[place.word] -= u8::from(new);
            (offset, new)
        }));
    }
}
