use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod uniformity;

fn destination(number: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, number].into(), 443)
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange::from_numbers(first, last).unwrap()
}

/// SplitMix64.
fn random_numbers(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn every_port_of_the_range_is_given_once_and_then_none() {
    for (selection, range) in [Selection::Uniform, Selection::Keyed].into_iter().flat_map(|selection| {
        [range(1, 1), range(5000, 5100), PortRange::DYNAMIC, PortRange::ALL].map(|range| (selection, range))
    }) {
        let mut allocator = EphemeralAllocator::new(range, [1; 16]).with_selection(selection);
        let mut random = random_numbers(1);
        let given: BTreeSet<_> =
            (0..range.length()).map(|_| allocator.allocate(destination(1), random()).unwrap()).collect();
        assert!(given.iter().copied().eq(range.iter()));
        let expected = AllocateError { range, destination: destination(1), used: range.length(), excluded: 0 };
        assert_eq!(allocator.allocate(destination(1), random()), Err(expected));
    }
}

#[test]
fn exhaustion_says_what_is_used_up() {
    let mut allocator = EphemeralAllocator::new(range(5000, 5003), [1; 16]);
    allocator.exclude(port(5001));
    while allocator.allocate(destination(1), 0).is_ok() {}
    let error = allocator.allocate(destination(1), 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free port towards 192.0.2.1:443: of the 4 ports 5000-5003, 3 are in use towards it and 1 are reserved"
    );
    assert!(allocator.allocate(destination(2), 0).is_ok(), "another destination has ports of its own");
}

#[test]
fn a_mapped_address_is_the_same_destination() {
    let mut allocator = EphemeralAllocator::new(range(5000, 5000), [1; 16]);
    let mapped = SocketAddr::new("::ffff:192.0.2.1".parse().unwrap(), 443);
    let taken = allocator.allocate(destination(1), 0).unwrap();
    assert!(allocator.allocate(mapped, 0).is_err());
    assert!(allocator.release(mapped, taken));
}

#[test]
fn an_excluded_port_is_not_given_and_stays_with_who_has_it() {
    let mut allocator = EphemeralAllocator::new(range(5000, 5001), [1; 16]);
    assert!(allocator.claim(destination(1), port(5000)));
    assert!(allocator.exclude(port(5000)));
    assert!(!allocator.exclude(port(5000)));
    assert!(!allocator.exclude(port(80)), "outside the range");
    assert_eq!(allocator.allocate(destination(2), 0), Ok(port(5001)));
    assert_eq!(allocator.allocate(destination(2), 0).unwrap_err().excluded, 1);
    assert!(allocator.release(destination(1), port(5000)));
    assert!(allocator.include(port(5000)));
    assert_eq!(allocator.allocate(destination(2), 0), Ok(port(5000)));
}

#[test]
fn all_excluded_leaves_no_trace_of_the_destination() {
    let mut allocator = EphemeralAllocator::new(range(5000, 5000), [1; 16]);
    allocator.exclude(port(5000));
    assert_eq!(allocator.allocate(destination(1), 0).unwrap_err().used, 0);
    assert_eq!(allocator.destinations(), 0);
}

#[test]
fn a_claim_takes_a_port_once() {
    let mut allocator = EphemeralAllocator::new(range(5000, 5001), [1; 16]);
    assert!(allocator.claim(destination(1), port(5001)));
    assert!(!allocator.claim(destination(1), port(5001)));
    assert!(!allocator.claim(destination(1), port(80)));
    assert_eq!(allocator.allocate(destination(1), u64::MAX), Ok(port(5000)));
    assert!(!allocator.release(destination(2), port(5000)));
}

#[test]
fn keyed_selection_goes_up_by_one_and_returns_late() {
    let mut allocator = EphemeralAllocator::new(PortRange::DYNAMIC, [9; 16]).with_selection(Selection::Keyed);
    let offsets: Vec<_> = (0..PortRange::DYNAMIC.length())
        .map(|_| {
            let port = allocator.allocate(destination(1), 0).unwrap();
            assert!(allocator.release(destination(1), port));
            PortRange::DYNAMIC.offset(port).unwrap()
        })
        .collect();
    for pair in offsets.windows(2) {
        assert_eq!((pair[0] + 1) % PortRange::DYNAMIC.length(), pair[1]);
    }
}

#[test]
fn keyed_selection_starts_elsewhere_for_another_destination_and_key() {
    let first = |key, number| {
        let mut allocator = EphemeralAllocator::new(PortRange::DYNAMIC, [key; 16]).with_selection(Selection::Keyed);
        allocator.allocate(destination(number), 0).unwrap()
    };
    assert_eq!(first(1, 1), first(1, 1));
    let starts: BTreeSet<_> = (0..100).map(|number| first(1, number)).collect();
    assert!(starts.len() > 95, "{} different starts", starts.len());
    assert_ne!(first(1, 1), first(2, 1));
}

#[test]
fn the_same_randomness_gives_the_same_ports() {
    let run = || {
        let mut allocator = EphemeralAllocator::new(PortRange::DYNAMIC, [3; 16]);
        let mut random = random_numbers(5);
        (0..500).map(|_| allocator.allocate(destination(1), random()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn memory_of_a_busy_destination_is_a_bit_for_a_port_and_counts() {
    let mut allocator = EphemeralAllocator::new(PortRange::ALL, [3; 16]);
    let mut random = random_numbers(5);
    for _ in 0..1000 {
        allocator.allocate(destination(1), random()).unwrap();
    }
    let state = allocator.destinations.values().next().unwrap();
    let (words, counts) = state.memory();
    assert_eq!(words, 8192);
    assert_eq!(counts, 8192 / 8);
    assert!(size_of::<(Key, Destination)>() <= 200, "{}", size_of::<(Key, Destination)>());
}

#[derive(Clone, Debug)]
enum Op {
    Allocate(u8, u64),
    Claim(u8, u16),
    Release(u8, u16),
    Exclude(u16),
    Include(u16),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..3, any::<u64>()).prop_map(|(to, random)| Op::Allocate(to, random)),
        1 => (0_u8..3, 5000_u16..5200).prop_map(|(to, port)| Op::Claim(to, port)),
        3 => (0_u8..3, 5000_u16..5200).prop_map(|(to, port)| Op::Release(to, port)),
        1 => (5000_u16..5200).prop_map(Op::Exclude),
        1 => (5000_u16..5200).prop_map(Op::Include),
    ]
}

/// The allocator and a naive model of it. `first_used` ports are in use towards the first destination from the start.
fn check(
    range: PortRange,
    first_used: u32,
    ops: Vec<Op>,
    given: impl Fn(&[Port], Option<Port>, u64) -> bool,
) -> Result<(), TestCaseError> {
    let mut allocator = EphemeralAllocator::new(range, [1; 16]);
    let mut used = [(); 3].map(|()| BTreeSet::new());
    let mut excluded = BTreeSet::new();
    used[0].extend(range.iter().take(first_used as usize));
    prop_assert!(used[0].iter().all(|port| allocator.claim(destination(0), *port)));
    for op in ops {
        match op {
            Op::Allocate(to, random) => {
                let used = &mut used[usize::from(to)];
                let free: Vec<_> =
                    range.iter().filter(|port| !used.contains(port) && !excluded.contains(port)).collect();
                let port = allocator.allocate(destination(to), random).ok();
                prop_assert!(given(&free, port, random), "{:?} of {:?}", port, free);
                used.extend(port);
            }
            Op::Claim(to, number) => {
                let expected = range.contains(port(number)) && used[usize::from(to)].insert(port(number));
                prop_assert_eq!(allocator.claim(destination(to), port(number)), expected);
            }
            Op::Release(to, number) => {
                let expected = used[usize::from(to)].remove(&port(number));
                prop_assert_eq!(allocator.release(destination(to), port(number)), expected);
            }
            Op::Exclude(number) => {
                let expected = range.contains(port(number)) && excluded.insert(port(number));
                prop_assert_eq!(allocator.exclude(port(number)), expected);
            }
            Op::Include(number) => prop_assert_eq!(allocator.include(port(number)), excluded.remove(&port(number))),
        }
        for (to, used) in (0..).zip(&used) {
            prop_assert_eq!(allocator.used(destination(to)), used.len() as u32);
            let is_used = range.iter().filter(|port| allocator.is_used(destination(to), *port));
            prop_assert!(is_used.eq(used.iter().copied()));
        }
        prop_assert_eq!(allocator.destinations(), used.iter().filter(|used| !used.is_empty()).count());
    }
    Ok(())
}

proptest! {
    #[test]
    fn choices_towards_a_destination_with_few_ports_equal_the_kth_of_a_naive_set(
        ops in prop::collection::vec(op(), 1..400)
    ) {
        check(range(5000, 5059), 0, ops, |free, given, random| {
            given == free.get(scale(random, free.len() as u32) as usize).copied()
        })?;
    }

    #[test]
    fn choices_towards_a_busy_destination_are_of_a_naive_set(
        first_used in 0_u32..150,
        ops in prop::collection::vec(op(), 1..400)
    ) {
        check(range(5000, 5149), first_used, ops, |free, given, _| match given {
            Some(port) => free.contains(&port),
            None => free.is_empty(),
        })?;
    }

    #[test]
    fn keyed_choices_are_the_next_of_a_naive_set(
        first_used in 0_u32..150,
        ops in prop::collection::vec((any::<bool>(), 5000_u16..5150), 1..400)
    ) {
        let range = range(5000, 5149);
        let new = || EphemeralAllocator::new(range, [1; 16]).with_selection(Selection::Keyed);
        let start = range.offset(new().allocate(destination(1), 0).unwrap()).unwrap();
        let mut allocator = new();
        let mut used: BTreeSet<_> = range.iter().take(first_used as usize).collect();
        prop_assert!(used.iter().all(|port| allocator.claim(destination(1), *port)));
        let mut allocations = 0;
        for (allocate, number) in ops {
            if allocate {
                let order = (0..150).map(|step| range.nth((start + allocations + step) % 150).unwrap());
                let expected = order.into_iter().find(|port| !used.contains(port));
                prop_assert_eq!(allocator.allocate(destination(1), 0).ok(), expected);
                allocations += 1;
                used.extend(expected);
            } else {
                prop_assert_eq!(allocator.release(destination(1), port(number)), used.remove(&port(number)));
            }
        }
    }
}
