use smallvec::SmallVec;

use super::bitmap::CountedSet;
use super::busy::Busy;
use super::randomness::Randomness;
use super::scale;

/// More ports than this in use, and a list becomes a bitmap.
const LIST_MAX: usize = 64;
/// Fewer than this in use, and a bitmap becomes a list again.
const BITMAP_MIN: u32 = 16;

/// A list, in the room that ports at hand would take.
pub(super) type Offsets = SmallVec<[u16; LIST_MAX]>;

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
        offsets: Offsets,
        /// How many of them are excluded too.
        excluded: u16,
    },
    Many(Busy),
}

impl Destination {
    pub(super) fn new(version: u64) -> Destination {
        Destination { version, used: Used::List { offsets: SmallVec::new(), excluded: 0 } }
    }

    /// Counts again when available have changed since the last time.
    #[inline]
    pub(super) fn synchronise(&mut self, available: &CountedSet, version: u64) {
        if self.version != version {
            self.version = version;
            self.recount(available);
        }
    }

    #[cold]
    fn recount(&mut self, available: &CountedSet) {
        match &mut self.used {
            Used::List { offsets, excluded } => *excluded = count_excluded(offsets, available),
            Used::Many(busy) => busy.synchronise(available),
        }
    }

    /// How many ports are in use.
    pub(super) fn used(&self) -> u32 {
        match &self.used {
            Used::List { offsets, .. } => offsets.len() as u32,
            Used::Many(busy) => busy.used(),
        }
    }

    pub(super) fn is_used(&self, offset: u32) -> bool {
        match &self.used {
            Used::List { offsets, .. } => offsets.binary_search(&(offset as u16)).is_ok(),
            Used::Many(busy) => busy.is_used(offset),
        }
    }

    /// How many ports are neither in use nor excluded.
    pub(super) fn free(&self, available: &CountedSet) -> u32 {
        match &self.used {
            Used::List { offsets, excluded } => available.count() - (offsets.len() as u32 - u32::from(*excluded)),
            Used::Many(busy) => busy.free(),
        }
    }

    /// Takes a free port, each as likely. There must be one.
    pub(super) fn choose(&mut self, random: u64, available: &CountedSet, randomness: &mut Randomness) -> u32 {
        let free = self.free(available);
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let rank = scale(random, free);
                let offset = available.kth(rank + skipped(offsets, *excluded, rank, available));
                self.take(offset, available);
                offset
            }
            Used::Many(busy) => busy.choose(random, available, randomness),
        }
    }

    /// Takes the first free port from `position` on, or the first of all when none follows. There must be one.
    pub(super) fn take_next(&mut self, position: u32, available: &CountedSet) -> u32 {
        let free = self.free(available);
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let below = offsets.iter().map(|used| u32::from(*used)).take_while(|used| *used < position);
                let rank = available.rank(position) - below.filter(|used| available.contains(*used)).count() as u32;
                let rank = rank % free;
                let offset = available.kth(rank + skipped(offsets, *excluded, rank, available));
                self.take(offset, available);
                offset
            }
            Used::Many(busy) => busy.take_next(position, available),
        }
    }

    /// False when it is in use already.
    pub(super) fn take(&mut self, offset: u32, available: &CountedSet) -> bool {
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let Err(index) = offsets.binary_search(&(offset as u16)) else { return false };
                if offsets.len() < LIST_MAX {
                    offsets.insert(index, offset as u16);
                    *excluded += u16::from(!available.contains(offset));
                } else {
                    let mut busy = Busy::from_list(offsets, available);
                    busy.take(offset, available);
                    self.used = Used::Many(busy);
                }
                true
            }
            Used::Many(busy) => busy.take(offset, available),
        }
    }

    /// False when it was not in use.
    pub(super) fn give_back(&mut self, offset: u32, available: &CountedSet, randomness: &mut Randomness) -> bool {
        match &mut self.used {
            Used::List { offsets, excluded } => {
                let Ok(index) = offsets.binary_search(&(offset as u16)) else { return false };
                offsets.remove(index);
                *excluded -= u16::from(!available.contains(offset));
                true
            }
            Used::Many(busy) => {
                let freed = busy.give_back(offset, available, randomness);
                if busy.used() < BITMAP_MIN {
                    let offsets = busy.list();
                    let excluded = count_excluded(&offsets, available);
                    self.used = Used::List { offsets, excluded };
                }
                freed
            }
        }
    }

    /// Bytes of the bitmap and of its counts; 0 for a list.
    #[cfg(test)]
    pub(super) fn memory(&self) -> (usize, usize) {
        match &self.used {
            Used::List { .. } => (0, 0),
            Used::Many(busy) => busy.memory(),
        }
    }
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
