use smallvec::SmallVec;

use super::bitmap::{CountedSet, Counts, bit, clear_bit, set_bit};

/// More ports than this in use, and a list becomes a bitmap.
const LIST_MAX: usize = 64;
/// Fewer than this in use, and a bitmap becomes a list again.
const BITMAP_MIN: u32 = 16;

/// The ports in use towards one destination, as offsets into the range.
///
/// Invariant, after [`synchronise`](Self::synchronise): the counts are those of the available of `version`.
#[derive(Debug)]
pub(super) struct Destination {
    version: u64,
    used: Used,
}

#[derive(Debug)]
enum Used {
    /// Ascending, without repetition.
    List {
        offsets: SmallVec<[u16; 12]>,
        /// How many of them are excluded too.
        excluded: u16,
    },
    Bitmap(Bitmap),
}

/// Offsets as bits, in one of two sizes: a range's own would need one more indirection, and that is what a choice among
/// many destinations takes longest for.
#[derive(Debug)]
enum Bitmap {
    /// For ranges of up to 16,384 ports, as IANA's dynamic one.
    Small(Box<Words<256>>),
    Large(Box<Words<1024>>),
}

/// Words and counts in one piece. Aligned, so that the words of a block are in one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Words<const NUMBER: usize> {
    words: [u64; NUMBER],
    tally: Tally,
}

#[derive(Debug)]
struct Tally {
    used: u32,
    /// Of the offsets that are neither used nor excluded.
    free: Counts,
}

impl Destination {
    pub(super) fn new(version: u64) -> Destination {
        Destination { version, used: Used::List { offsets: SmallVec::new(), excluded: 0 } }
    }

    /// Counts again when available have changed since the last time.
    pub(super) fn synchronise(&mut self, available: &CountedSet, version: u64) {
        if self.version == version {
            return;
        }
        self.version = version;
        match &mut self.used {
            Used::List { offsets, excluded } => *excluded = count_excluded(offsets, available),
            Used::Bitmap(bitmap) => {
                let (words, tally) = bitmap.parts_mut();
                tally.free.recount(available.words().len(), |index| free_word(words, available, index).count_ones());
            }
        }
    }

    /// How many ports are in use.
    pub(super) fn used(&self) -> u32 {
        match &self.used {
            Used::List { offsets, .. } => offsets.len() as u32,
            Used::Bitmap(bitmap) => bitmap.parts().1.used,
        }
    }

    pub(super) fn is_used(&self, offset: u32) -> bool {
        match &self.used {
            Used::List { offsets, .. } => offsets.binary_search(&(offset as u16)).is_ok(),
            Used::Bitmap(bitmap) => bit(bitmap.parts().0, offset),
        }
    }

    /// How many ports are neither in use nor excluded.
    pub(super) fn free(&self, available: &CountedSet) -> u32 {
        match &self.used {
            Used::List { offsets, excluded } => available.count() - (offsets.len() as u32 - u32::from(*excluded)),
            Used::Bitmap(bitmap) => bitmap.parts().1.free.total(),
        }
    }

    /// How many free offsets are below `offset`.
    pub(super) fn rank(&self, offset: u32, available: &CountedSet) -> u32 {
        match &self.used {
            Used::List { offsets, .. } => {
                let below = offsets.iter().take_while(|used| u32::from(**used) < offset);
                available.rank(offset) - below.filter(|used| available.contains(u32::from(**used))).count() as u32
            }
            Used::Bitmap(bitmap) => {
                let (words, tally) = bitmap.parts();
                tally.free.rank(offset, |index| free_word(words, available, index))
            }
        }
    }

    /// Takes the free offset that has exactly `rank` free ones below it. `rank` must be less than their number.
    pub(super) fn take_kth_free(&mut self, rank: u32, available: &CountedSet) -> u32 {
        let offset = match &self.used {
            Used::List { offsets, excluded } => available.kth(rank + skipped(offsets, *excluded, rank, available)),
            Used::Bitmap(bitmap) => {
                let (words, tally) = bitmap.parts();
                tally.free.select(rank, |index| free_word(words, available, index))
            }
        };
        self.take(offset, available);
        offset
    }

    /// False when it is in use already.
    pub(super) fn take(&mut self, offset: u32, available: &CountedSet) -> bool {
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let Err(index) = offsets.binary_search(&(offset as u16)) else { return false };
                offsets.insert(index, offset as u16);
                *excluded += u16::from(!available.contains(offset));
                if offsets.len() > LIST_MAX {
                    self.used = Used::Bitmap(Bitmap::from_list(offsets, available));
                }
                true
            }
            Used::Bitmap(bitmap) => bitmap.take(offset, available),
        }
    }

    /// False when it was not in use.
    pub(super) fn give_back(&mut self, offset: u32, available: &CountedSet) -> bool {
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let Ok(index) = offsets.binary_search(&(offset as u16)) else { return false };
                offsets.remove(index);
                *excluded -= u16::from(!available.contains(offset));
                true
            }
            Used::Bitmap(bitmap) => {
                let freed = bitmap.give_back(offset, available);
                if bitmap.parts().1.used < BITMAP_MIN {
                    let offsets = bitmap.list();
                    let excluded = count_excluded(&offsets, available);
                    self.used = Used::List { offsets, excluded };
                }
                freed
            }
        }
    }
}

#[cfg(test)]
impl Destination {
    /// Bytes of the bitmap and of its counts; 0 for a list.
    pub(super) fn memory(&self) -> (usize, usize) {
        match &self.used {
            Used::List { .. } => (0, 0),
            Used::Bitmap(bitmap) => (size_of_val(bitmap.parts().0), bitmap.parts().1.free.memory()),
        }
    }
}

impl Bitmap {
    fn from_list(offsets: &[u16], available: &CountedSet) -> Bitmap {
        let length = available.words().len();
        let tally = Tally { used: 0, free: Counts::new(length, |index| available.words()[index].count_ones()) };
        let mut bitmap = if length <= 256 {
            Bitmap::Small(Box::new(Words { words: [0; 256], tally }))
        } else {
            Bitmap::Large(Box::new(Words { words: [0; 1024], tally }))
        };
        for offset in offsets {
            bitmap.take(u32::from(*offset), available);
        }
        bitmap
    }

    fn list(&self) -> SmallVec<[u16; 12]> {
        let mut offsets = SmallVec::new();
        for (index, word) in self.parts().0.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                offsets.push(index as u16 * u64::BITS as u16 + rest.trailing_zeros() as u16);
                rest &= rest - 1;
            }
        }
        offsets
    }

    fn take(&mut self, offset: u32, available: &CountedSet) -> bool {
        let (words, tally) = self.parts_mut();
        let taken = set_bit(words, offset);
        if taken {
            tally.used += 1;
            if available.contains(offset) {
                tally.free.decrement(offset);
            }
        }
        taken
    }

    fn give_back(&mut self, offset: u32, available: &CountedSet) -> bool {
        let (words, tally) = self.parts_mut();
        let freed = clear_bit(words, offset);
        if freed {
            tally.used -= 1;
            if available.contains(offset) {
                tally.free.increment(offset);
            }
        }
        freed
    }

    fn parts(&self) -> (&[u64], &Tally) {
        match self {
            Bitmap::Small(piece) => (&piece.words, &piece.tally),
            Bitmap::Large(piece) => (&piece.words, &piece.tally),
        }
    }

    fn parts_mut(&mut self) -> (&mut [u64], &mut Tally) {
        match self {
            Bitmap::Small(piece) => (&mut piece.words, &mut piece.tally),
            Bitmap::Large(piece) => (&mut piece.words, &mut piece.tally),
        }
    }
}

fn free_word(words: &[u64], available: &CountedSet, index: usize) -> u64 {
    available.words()[index] & !words[index]
}

fn count_excluded(offsets: &[u16], available: &CountedSet) -> u16 {
    offsets.iter().filter(|offset| !available.contains(u32::from(**offset))).count() as u16
}

/// How many used, not excluded offsets lie below the free one of that rank: a used offset does if at most `rank` free
/// ones are below it.
fn skipped(offsets: &[u16], excluded: u16, rank: u32, available: &CountedSet) -> u32 {
    if excluded > 0 {
        let mut skipped = 0;
        for used in offsets.iter().map(|used| u32::from(*used)).filter(|used| available.contains(*used)) {
            if available.rank(used) - skipped > rank {
                break;
            }
            skipped += 1;
        }
        return skipped;
    }
    // None is excluded, so exactly `index` used ones are below the one at `index`: the condition can be bisected.
    let (mut low, mut high) = (0, offsets.len() as u32);
    while low < high {
        let middle = (low + high) / 2;
        if available.rank(u32::from(offsets[middle as usize])) - middle <= rank {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
