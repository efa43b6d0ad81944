use proptest::prelude::*;

use super::*;

#[test]
fn select_in_word_finds_every_bit() {
    for word in [1, u64::MAX, 1 << 63, 0x8000_0000_0000_0001, 0xdead_beef_0bad_f00d, 0x0101_0101_0101_0101] {
        let expected: Vec<_> = (0..64).filter(|position| word >> position & 1 == 1).collect();
        let found: Vec<_> = (0..word.count_ones()).map(|rank| select_in_word(word, rank)).collect();
        assert_eq!(found, expected, "{word:#x}");
    }
}

#[test]
fn a_full_set_has_every_offset() {
    for length in [1, 63, 64, 65, 512, 8192, 16384, 65535, 65536] {
        let set = CountedSet::full(length);
        assert_eq!(set.count(), length);
        assert_eq!(set.kth(length - 1), length - 1);
        assert_eq!(set.rank(length - 1), length - 1);
    }
}

proptest! {
    #[test]
    fn rank_and_kth_equal_counting(length in 1_u32..=20_000, changes in prop::collection::vec(any::<(u32, bool)>(), 0..400)) {
        let mut set = CountedSet::full(length);
        let mut members = vec![true; length as usize];
        for (offset, insert) in changes {
            let offset = offset % length;
            let changed = if insert { set.insert(offset) } else { set.remove(offset) };
            prop_assert_eq!(changed, members[offset as usize] != insert);
            members[offset as usize] = insert;
        }
        let mut below = 0;
        for offset in 0..length {
            prop_assert_eq!(set.rank(offset), below);
            prop_assert_eq!(set.contains(offset), members[offset as usize]);
            if members[offset as usize] {
                prop_assert_eq!(set.kth(below), offset);
                below += 1;
            }
        }
        prop_assert_eq!(set.count(), below);
    }
}
