use super::randomness::Randomness;

/// Ports at hand, drawn and returned together.
pub(super) const HAND: usize = 64;

/// Free ports of a busy destination that its bitmap still has as used, so that most calls need not read it.
///
/// Invariant: of the free ports, the drawn ones are a uniformly random choice of so many. So any of them, chosen
/// uniformly, is uniform among all that are free. The returned ones are free ports like those in the bitmap; they only
/// wait to be written there.
#[derive(Debug)]
pub(super) struct Hand {
    /// Drawn ones from the front, returned ones from the back, `EMPTY` between them.
    slots: [u16; HAND],
    drawn: u8,
    returned: u8,
}

/// No offset: a range has 65,535 ports at most.
const EMPTY: u16 = u16::MAX;

impl Hand {
    pub(super) fn new() -> Hand {
        Hand { slots: [EMPTY; HAND], drawn: 0, returned: 0 }
    }

    pub(super) fn drawn(&self) -> u32 {
        u32::from(self.drawn)
    }

    pub(super) fn returned(&self) -> usize {
        usize::from(self.returned)
    }

    pub(super) fn is_full(&self) -> bool {
        usize::from(self.drawn + self.returned) == HAND
    }

    pub(super) fn contains(&self, offset: u32) -> bool {
        self.slots.iter().fold(false, |found, slot| found | (u32::from(*slot) == offset))
    }

    /// Adds to the drawn ones. There must be room.
    fn draw(&mut self, offset: u32) {
        self.slots[usize::from(self.drawn)] = offset as u16;
        self.drawn += 1;
    }

    /// Adds all that are marked as new, until there is no room. There must be none before.
    pub(super) fn draw_all(&mut self, offsets: impl Iterator<Item = (u32, bool)>) {
        // Without a branch, as which are new can't be foreseen: one that is not is written over by the next.
        let mut drawn = 0;
        for (offset, new) in offsets {
            self.slots[drawn] = offset as u16;
            drawn += usize::from(new);
            if drawn == HAND {
                break;
            }
        }
        self.drawn = drawn as u8;
        self.slots[drawn..].fill(EMPTY);
    }

    /// Adds to the returned ones. There must be room.
    pub(super) fn put_back(&mut self, offset: u32) {
        self.returned += 1;
        self.slots[HAND - usize::from(self.returned)] = offset as u16;
    }

    /// Takes a drawn one. `index` must be less than their number.
    pub(super) fn take(&mut self, index: u32) -> u32 {
        self.drawn -= 1;
        let last = std::mem::replace(&mut self.slots[usize::from(self.drawn)], EMPTY);
        if index == self.drawn() { u32::from(last) } else { self.replace(index, last) }
    }

    /// Takes in a port that becomes free beside `free` others, as likely as each of them is drawn. What is not drawn
    /// then, this one or the one whose place it took, is handed back.
    pub(super) fn admit(&mut self, offset: u32, free: u32, randomness: &mut Randomness) -> Option<u32> {
        if self.drawn() == free && !self.is_full() {
            self.draw(offset);
            return None;
        }
        if self.drawn == 0 {
            return Some(offset);
        }
        let index = randomness.below(free + 1);
        Some(if index < self.drawn() { self.replace(index, offset as u16) } else { offset })
    }

    /// Takes out one particular port. False when it is not here.
    pub(super) fn remove(&mut self, offset: u32) -> bool {
        let Some(index) = self.slots.iter().position(|slot| u32::from(*slot) == offset) else { return false };
        if index < usize::from(self.drawn) {
            self.take(index as u32);
        } else {
            let last = std::mem::replace(&mut self.slots[HAND - usize::from(self.returned)], EMPTY);
            self.returned -= 1;
            if last != offset as u16 {
                self.slots[index] = last;
            }
        }
        true
    }

    /// Takes all returned ones.
    pub(super) fn take_returned(&mut self) -> impl Iterator<Item = u32> + use<> {
        let slots = self.slots;
        let first = HAND - usize::from(self.returned);
        self.slots[first..].fill(EMPTY);
        self.returned = 0;
        slots.into_iter().skip(first).map(u32::from)
    }

    /// Takes all.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = u32> + use<> {
        let slots = std::mem::replace(self, Hand::new()).slots;
        slots.into_iter().filter(|slot| *slot != EMPTY).map(u32::from)
    }

    fn replace(&mut self, index: u32, offset: u16) -> u32 {
        u32::from(std::mem::replace(&mut self.slots[index as usize], offset))
    }
}

/// The ports that were taken last, as far as they are in use. One that comes back soon, like that of a short
/// connection, is known to be in use without the bitmap.
#[derive(Debug)]
pub(super) struct Recent([u64; 2]);

/// 1 in each of four lanes of 16 bits.
const LANES: u64 = 0x0001_0001_0001_0001;

impl Recent {
    pub(super) fn new() -> Recent {
        Recent([u64::MAX; 2])
    }

    /// Adds one, and drops the eighth last.
    pub(super) fn push(&mut self, offset: u32) {
        let [late, early] = self.0;
        self.0 = [late << 16 | u64::from(offset), early << 16 | late >> 48];
    }

    /// Takes one out. False when it is not among them.
    pub(super) fn remove(&mut self, offset: u32) -> bool {
        let before = self.0;
        self.0 = before.map(|lanes| lanes | equal_lanes(lanes, offset));
        self.0 != before
    }
}

/// All ones in the lanes that are `offset`.
fn equal_lanes(lanes: u64, offset: u32) -> u64 {
    const HIGH_BITS: u64 = LANES << 15;
    let different = lanes ^ (u64::from(offset) * LANES);
    let high_if_different = ((different & !HIGH_BITS) + !HIGH_BITS) | different;
    ((!high_if_different & HIGH_BITS) >> 15) * 0xffff
}
