//! Chi-squared tests: at every fill, each free port is chosen equally often.

use super::*;

/// Draws per free port, on average.
const DRAWS: u32 = 20;

/// Fills a share of the range, draws from the rest, and compares how often each free port came.
fn chi_squared(range: PortRange, per_myriad: u32, seed: u64) -> (f64, u32) {
    let mut allocator = EphemeralAllocator::new(range, [1; 16]);
    let mut random = random_numbers(seed);
    // Some of the fill is by exclusion, so that both kinds of absence take part.
    let taken = range.length() * per_myriad / 10_000;
    for number in 0..taken {
        let port = allocator.allocate(destination(1), random()).unwrap();
        if number % 10 == 0 {
            allocator.exclude(port);
            allocator.release(destination(1), port);
        }
    }
    let mut counts = vec![0_u32; range.length() as usize];
    let free = range.length() - taken;
    for _ in 0..free * DRAWS {
        let port = allocator.allocate(destination(1), random()).unwrap();
        counts[range.offset(port).unwrap() as usize] += 1;
        assert!(allocator.release(destination(1), port));
    }
    let is_free = |offset: &usize| {
        let port = range.nth(*offset as u32).unwrap();
        !allocator.is_used(destination(1), port) && allocator.available.contains(*offset as u32)
    };
    let expected = f64::from(DRAWS);
    let drawn: Vec<_> = (0..counts.len()).filter(is_free).map(|offset| counts[offset]).collect();
    assert_eq!(drawn.len() as u32, free);
    assert_eq!(drawn.iter().sum::<u32>(), free * DRAWS, "nothing else was drawn");
    (drawn.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum(), free - 1)
}

#[test]
fn every_free_port_is_equally_likely_at_any_fill() {
    for range in [PortRange::DYNAMIC, PortRange::ALL] {
        for per_myriad in [0, 100, 5000, 9900, 9990] {
            let (statistic, freedom) = chi_squared(range, per_myriad, u64::from(per_myriad) + 1);
            // Wilson and Hilferty: the cube root of chi-squared over its freedom is nearly normal. 4 standard
            // deviations: one in 16,000 by chance, and the seed is fixed.
            let freedom = f64::from(freedom);
            let spread = 2.0 / (9.0 * freedom);
            let deviation = ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt();
            assert!(deviation.abs() < 4.0, "{range} at {per_myriad}/10000: chi-squared {statistic}, {deviation} sigma");
        }
    }
}

#[test]
fn a_destination_with_few_ports_chooses_as_uniformly() {
    for taken in [0, 12, 64] {
        let range = range(50000, 50199);
        let (statistic, freedom) = chi_squared(range, taken * 10_000 / range.length(), u64::from(taken) + 1);
        assert!(statistic < f64::from(freedom) + 4.0 * (2.0 * f64::from(freedom)).sqrt(), "{taken} taken: {statistic}");
    }
}
