use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// 8 Mbit/s: a byte takes a microsecond.
fn byte_per_microsecond() -> LinkConfig {
    LinkConfig::new(8_000_000, 10 * MILLISECOND)
}

fn link(config: LinkConfig) -> Link {
    Link::new(config, Medium::IP, Random::new(42))
}

fn arrival(link: &mut Link, now: Duration, length: usize) -> Option<Duration> {
    link.offer(now, vec![0; length]).ok().map(|delivery| delivery.arrival.at)
}

#[test]
fn frames_take_their_time_and_their_turn() {
    let mut link = link(byte_per_microsecond());
    assert_eq!(arrival(&mut link, Duration::ZERO, 1000), Some(11 * MILLISECOND));
    assert_eq!(arrival(&mut link, Duration::ZERO, 1000), Some(12 * MILLISECOND), "after the first");
    assert_eq!(link.queued(Duration::ZERO), 2000);
    assert_eq!(link.queued(MILLISECOND), 1000);
    assert_eq!(arrival(&mut link, 5 * MILLISECOND, 1000), Some(16 * MILLISECOND), "idle in between");
}

#[test]
fn what_the_queue_or_the_mtu_does_not_hold_is_dropped() {
    let mut link = link(LinkConfig { queue: 2500, ..byte_per_microsecond() });
    assert!(arrival(&mut link, Duration::ZERO, 1500).is_some());
    assert_eq!(link.offer(Duration::ZERO, vec![0; 1500]), Err(DropReason::Overflow));
    assert!(arrival(&mut link, Duration::ZERO, 1000).is_some());
    assert!(arrival(&mut link, MILLISECOND, 1000).is_some(), "a thousand bytes left meanwhile");
    assert_eq!(link.offer(Duration::ZERO, vec![0; 1501]), Err(DropReason::TooBig));
    link.change(LinkConfig { mtu: 9000, ..LinkConfig::default() });
    assert!(arrival(&mut link, Duration::from_secs(1), 9000).is_some());
    let statistics = link.statistics();
    assert_eq!((statistics.offered, statistics.overflowed, statistics.too_big), (6, 1, 1));
    assert_eq!(statistics.queue_peak, 9000);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let jitter = LinkConfig { jitter: 20 * MILLISECOND, ..LinkConfig::default() };
    let mut even = link(jitter);
    let arrivals: Vec<_> = (0..200).filter_map(|n| arrival(&mut even, n * MILLISECOND, 100)).collect();
    assert!(arrivals.is_sorted());
    let reorder = LinkConfig { reorder: 0.1, reorder_delay: 20 * MILLISECOND, ..LinkConfig::default() };
    let mut odd = link(reorder);
    let arrivals: Vec<_> = (0..200).filter_map(|n| arrival(&mut odd, n * MILLISECOND, 100)).collect();
    assert!(!arrivals.is_sorted());
    assert!((5..40).contains(&odd.statistics().reordered));
}

#[test]
fn loss_has_the_share_and_the_bursts_that_were_asked_for() {
    let lost = |loss| {
        let mut link = link(LinkConfig { loss, ..LinkConfig::default() });
        (0..50_000).map(|_| arrival(&mut link, Duration::ZERO, 100).is_none()).collect::<Vec<bool>>()
    };
    let bursts = |lost: &[bool]| lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    let independent = lost(Loss::Independent(0.05));
    let bursty = lost(Loss::bursts(0.05, 10.0));
    for lost in [&independent, &bursty] {
        let count = lost.iter().filter(|lost| **lost).count();
        assert!((2_000..3_000).contains(&count), "{count} of 50,000 at 5 %");
    }
    assert!(bursts(&independent) > 2_000);
    assert!((150..400).contains(&bursts(&bursty)), "about 250 bursts of 10");
}

#[test]
fn damage_is_one_bit_and_duplicates_are_equal() {
    let mut link = link(LinkConfig { corrupt: 0.5, duplicate: 0.5, ..LinkConfig::default() });
    for _ in 0..1000 {
        let delivery = link.offer(Duration::ZERO, vec![0; 40]).unwrap();
        let flipped: u32 = delivery.arrival.frame.iter().map(|byte| byte.count_ones()).sum();
        assert!(flipped <= 1);
        assert!(delivery.duplicate.is_none_or(|twin| twin.frame == delivery.arrival.frame));
    }
    let statistics = link.statistics();
    assert!((400..600).contains(&statistics.corrupted) && (400..600).contains(&statistics.duplicated));
}

#[test]
fn a_long_queue_is_marked() {
    let mut link = link(LinkConfig { ecn_threshold: Some(150), ..byte_per_microsecond() });
    let capable = crate::packet::tests::packet(false, 100, 2);
    let marks: Vec<bool> =
        (0..4).map(|_| link.offer(Duration::ZERO, capable.clone()).unwrap().arrival.frame != capable).collect();
    assert_eq!(marks, [false, false, true, true]);
    assert_eq!(link.statistics().marked, 2);
}

#[test]
fn the_same_seed_gives_the_same_faults() {
    let config = LinkConfig {
        loss: Loss::Independent(0.3),
        corrupt: 0.3,
        duplicate: 0.3,
        reorder: 0.3,
        reorder_delay: MILLISECOND,
        ..byte_per_microsecond()
    };
    let run = || {
        let mut link = link(config.clone());
        (0..100).map(|n| link.offer(n * MILLISECOND, vec![0; 100])).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
