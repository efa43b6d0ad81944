//! Datagrams of one flow in a row, put together so that the kernel or the link cuts them apart again.

/// Most datagrams of a train: what every kernel cuts (`UDP_MAX_SEGMENTS`, 64 until Linux 6.9).
const MOST: usize = 64;

/// Most bytes of their payloads together: as one packet they must not exceed what IPv6 without extension headers, and IPv4,
/// can say of a packet's length.
const BYTES: usize = 65_535 - 40 - 8;

/// How the payloads of some datagrams lie one behind the other: all have the same size, but the last may be shorter. An empty
/// datagram is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Train {
    size: usize,
    length: usize,
}

impl Train {
    /// Of one datagram.
    pub(crate) fn new(length: usize) -> Train {
        Train { size: length, length }
    }

    /// Whether a datagram was added to the end: not if another one would come back when the payloads are cut.
    pub(crate) fn add(&mut self, length: usize) -> bool {
        let complete = self.size > 0 && self.length.is_multiple_of(self.size);
        let fits = (1..=self.size).contains(&length) && self.length + length <= BYTES;
        let added = complete && fits && self.count() < MOST;
        if added {
            self.length += length;
        }
        added
    }

    /// Bytes of each payload but the last.
    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// Bytes of all payloads.
    pub(crate) fn length(self) -> usize {
        self.length
    }

    /// Datagrams.
    pub(crate) fn count(self) -> usize {
        self.length.div_ceil(self.size.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cut_is_what_was_put_together(
            sizes in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(1400), 0_usize..2000, Just(65_507)], 1..200),
        ) {
            let mut trains: Vec<(Train, Vec<usize>)> = Vec::new();
            for size in &sizes {
                if let Some((train, held)) = trains.last_mut()
                    && train.add(*size)
                {
                    held.push(*size);
                } else {
                    trains.push((Train::new(*size), vec![*size]));
                }
            }
            for (train, held) in &trains {
                prop_assert_eq!(train.length(), held.iter().sum::<usize>());
                prop_assert_eq!(train.count(), held.len());
                prop_assert!(held.len() == 1 || (train.length() <= BYTES && held.len() <= MOST));
                let payload = vec![0_u8; train.length()];
                let cut: Vec<usize> = payload.chunks(train.size().max(1)).map(<[u8]>::len).collect();
                prop_assert!(cut == *held || (cut.is_empty() && *held == [0]), "{:?} became {:?}", held, cut);
            }
        }
    }

    #[test]
    fn equal_datagrams_share_a_train_until_a_shorter_one() {
        let mut train = Train::new(1400);
        assert!((1..46).all(|_| train.add(1400)), "64,400 bytes");
        assert!(!train.add(1400), "too long for one packet");
        assert!(train.add(3) && !train.add(3) && !train.add(1400), "the shorter one is the last");
        assert!(!Train::new(0).add(0) && !Train::new(5).add(0) && !Train::new(5).add(6));
        let mut small = Train::new(1);
        assert_eq!((1..100).filter(|_| small.add(1)).count(), MOST - 1);
    }
}
