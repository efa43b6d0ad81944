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
    let drawn: Vec<_> = (0..counts.len()).filter(is_free).map(|offset| counts[offset]).collect();
    assert_eq!(drawn.len() as u32, free);
    assert_eq!(drawn.iter().sum::<u32>(), free * DRAWS, "nothing else was drawn");
    (statistic(&drawn), free - 1)
}

/// How many standard deviations a chi-squared statistic is from what is expected. Wilson and Hilferty: the cube root of
/// chi-squared over its freedom is nearly normal. More than 4 come once in 16,000 runs by chance, and the seeds are fixed.
fn deviation(statistic: f64, freedom: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    ((statistic / freedom).cbrt() - (1.0 - spread)) / spread.sqrt()
}

/// The chi-squared statistic of counts that should all be equal.
fn statistic(counts: &[u32]) -> f64 {
    let expected = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
}

#[test]
fn every_free_port_is_equally_likely_at_any_fill() {
    for range in [PortRange::DYNAMIC, PortRange::ALL, range(32768, 60999)] {
        for per_myriad in [0, 100, 5000, 9900, 9990] {
            let (statistic, freedom) = chi_squared(range, per_myriad, u64::from(per_myriad) + 1);
            let deviation = deviation(statistic, f64::from(freedom));
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

/// A destination with so many free ports, and the free ones in the order in which they were released.
struct Churn {
    allocator: EphemeralAllocator,
    used: Vec<Port>,
    free: Vec<Port>,
    random: Box<dyn FnMut() -> u64>,
}

impl Churn {
    fn new(free: usize) -> Churn {
        let range = range(50000, 51999);
        let mut churn = Churn {
            allocator: EphemeralAllocator::new(range, [1; 16]),
            used: Vec::new(),
            free: range.iter().collect(),
            random: Box::new(random_numbers(free as u64)),
        };
        while churn.free.len() > free {
            churn.allocate();
        }
        churn
    }

    /// Takes a port, and tells how many that are free were released before it.
    fn allocate(&mut self) -> usize {
        let port = self.allocator.allocate(destination(1), (self.random)()).unwrap();
        let age = self.free.iter().position(|free| *free == port).expect("a free one");
        self.free.remove(age);
        self.used.push(port);
        age
    }

    /// Releases one of the ports in use, each as likely; or the one that was taken last.
    fn release(&mut self, last: bool) {
        let index = if last { self.used.len() - 1 } else { scale((self.random)(), self.used.len() as u32) as usize };
        let port = self.used.swap_remove(index);
        assert!(self.allocator.release(destination(1), port));
        self.free.push(port);
    }
}

#[test]
fn when_a_port_was_released_says_nothing_about_when_it_is_chosen() {
    // Bursts of 1 are the steady state; with longer ones, ports at hand are drawn and written back in every mixture.
    for (free, burst, last) in [1, 2, 3, 17, 63, 64, 65, 66, 164, 300, 600]
        .into_iter()
        .flat_map(|free| [1, 5, 30, 64].into_iter().flat_map(move |burst| [(free, burst, false), (free, burst, true)]))
    {
        if burst > free {
            continue;
        }
        let mut churn = Churn::new(free);
        // By age at the first allocation of a burst, when all of them are free.
        let mut ages = vec![0; free];
        for _ in 0..free.max(10) * 100 {
            ages[churn.allocate()] += 1;
            (1..burst).for_each(|_| _ = churn.allocate());
            (0..burst).for_each(|_| churn.release(last));
        }
        if free > 1 {
            let deviation = deviation(statistic(&ages), (free - 1) as f64);
            assert!(deviation.abs() < 4.0, "{free} free, bursts of {burst}, last {last}: {deviation} sigma: {ages:?}");
        }
    }
}

#[test]
fn a_port_just_released_is_the_next_choice_as_often_as_any_other() {
    for free in [2, 5, 17, 64, 65, 100, 400] {
        for last in [false, true] {
            let mut churn = Churn::new(free);
            let trials = 20_000;
            let again = (0..trials)
                .filter(|_| {
                    churn.allocate();
                    churn.release(last);
                    let age = churn.allocate();
                    churn.release(false);
                    age == free - 1
                })
                .count();
            let probability = 1.0 / free as f64;
            let spread = (f64::from(trials) * probability * (1.0 - probability)).sqrt();
            let deviation = (again as f64 - f64::from(trials) * probability) / spread;
            assert!(deviation.abs() < 4.0, "{free} free, last {last}: {again} of {trials}, {deviation} sigma");
        }
    }
}

#[test]
fn one_choice_says_nothing_about_the_next() {
    for free in [2, 3, 6, 18, 66] {
        for last in [false, true] {
            let mut churn = Churn::new(free);
            let mut pairs = vec![0; free * free];
            let mut before = 0;
            for _ in 0..free * free * 100 {
                let age = churn.allocate();
                churn.release(last);
                pairs[before * free + age] += 1;
                before = age;
            }
            let deviation = deviation(statistic(&pairs), (free * free - 1) as f64);
            assert!(deviation.abs() < 4.0, "{free} free, last {last}: {deviation} sigma: {pairs:?}");
        }
    }
}
