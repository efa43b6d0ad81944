//! The stack's own clock: nanoseconds since the stack was made. One word instead of `Instant`'s two, so that a connection's
//! many times are small and their arithmetic is an addition; `Instant` is what callers speak, and is read once per call.

use std::num::NonZeroU64;
use std::ops::{Add, AddAssign, Div, Mul};
use std::time::{Duration, Instant};

/// A point in time. Counts from one, so that an `Option` of it takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time(NonZeroU64);

impl Time {
    /// When the stack was made.
    pub(crate) const START: Time = Time(NonZeroU64::MIN);

    /// How long after `earlier` this is; zero if it is before.
    pub(crate) fn since(self, earlier: Time) -> Interval {
        Interval(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// The clock of TCP's timestamp option (RFC 7323 §4.1).
    pub(crate) fn milliseconds(self) -> u32 {
        self.since_start().as_millis() as u32
    }

    /// How long after the stack was made this is.
    pub(crate) fn since_start(self) -> Interval {
        self.since(Time::START)
    }
}

impl Add<Interval> for Time {
    type Output = Time;

    fn add(self, interval: Interval) -> Time {
        Time(self.0.saturating_add(interval.0))
    }
}

/// The earliest of times that may not be set.
pub(crate) fn earliest<const N: usize>(times: [Option<Time>; N]) -> Option<Time> {
    // What is not set is zero, and one less than that is the latest.
    let before = |time: Option<Time>| time.map_or(0, |time| time.0.get()).wrapping_sub(1);
    let least = times.into_iter().map(before).min()?;
    NonZeroU64::new(least.wrapping_add(1)).map(Time)
}

/// A length of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Interval(u64);

impl Interval {
    pub(crate) const ZERO: Interval = Interval(0);

    pub(crate) const fn from_secs(seconds: u64) -> Interval {
        Interval(seconds * 1_000_000_000)
    }

    pub(crate) const fn from_millis(milliseconds: u64) -> Interval {
        Interval(milliseconds * 1_000_000)
    }

    pub(crate) const fn from_nanos(nanoseconds: u64) -> Interval {
        Interval(nanoseconds)
    }

    pub(crate) fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    pub(crate) fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    pub(crate) fn as_nanos(self) -> u64 {
        self.0
    }

    pub(crate) fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    pub(crate) fn abs_diff(self, other: Interval) -> Interval {
        Interval(self.0.abs_diff(other.0))
    }
}

impl Add for Interval {
    type Output = Interval;

    fn add(self, other: Interval) -> Interval {
        Interval(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Interval {
    fn add_assign(&mut self, other: Interval) {
        *self = *self + other;
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        self + Interval::from(duration)
    }
}

impl Mul<u64> for Interval {
    type Output = Interval;

    fn mul(self, factor: u64) -> Interval {
        Interval(self.0.saturating_mul(factor))
    }
}

impl Div<u64> for Interval {
    type Output = Interval;

    fn div(self, divisor: u64) -> Interval {
        Interval(self.0 / divisor)
    }
}

/// What is longer than 584 years counts as that long.
impl From<Duration> for Interval {
    fn from(duration: Duration) -> Interval {
        Interval(duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos())))
    }
}

impl From<Interval> for Duration {
    fn from(interval: Interval) -> Duration {
        Duration::from_nanos(interval.0)
    }
}

/// Translates between callers' time and the stack's. Many calls come with the same `now`, so the last one is remembered.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    last: Instant,
    time: Time,
}

impl Clock {
    pub(crate) fn new(epoch: Instant) -> Clock {
        Clock { epoch, last: epoch, time: Time::START }
    }

    /// What time it is.
    pub(crate) fn read(&mut self, now: Instant) -> Time {
        if now != self.last {
            self.last = now;
            self.time = Time::START + now.saturating_duration_since(self.epoch);
        }
        self.time
    }

    /// The same time for callers; `None` if it is further away than an `Instant` can tell.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.epoch.checked_add(time.since_start().into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Clock, Interval, Time, earliest};

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn callers_time_comes_back_as_it_was() {
        let epoch = Instant::now();
        let mut clock = Clock::new(epoch);
        for nanoseconds in [0, 1, 999_999_999, 86_400_000_000_000] {
            let then = epoch + Duration::from_nanos(nanoseconds);
            let time = clock.read(then);
            assert_eq!(time.since_start().as_nanos(), nanoseconds);
            assert_eq!(clock.instant(time), Some(then));
        }
        assert_eq!(clock.read(epoch - Duration::from_secs(1)), Time::START);
    }

    #[test]
    fn what_is_not_set_is_never_the_earliest() {
        let late = Time::START + Interval::from_secs(1);
        assert_eq!(earliest([None, Some(late), Some(Time::START)]), Some(Time::START));
        assert_eq!(earliest([Some(late), None]), Some(late));
        assert_eq!(earliest([None, None]), None);
    }

    #[test]
    fn an_optional_time_is_one_word() {
        assert_eq!(size_of::<Option<Time>>(), 8);
    }
}
