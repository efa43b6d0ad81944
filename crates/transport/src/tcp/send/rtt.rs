//! The round-trip time and the retransmission timeout that follows from it (RFC 6298).

use crate::tcp::Config;
use crate::time::{Interval, Time};

/// RFC 6298 §2.1.
const INITIAL_TIMEOUT: Interval = Interval::from_secs(1);

/// RFC 6298 §5.7: what the timeout is set to when a SYN had to be repeated.
const TIMEOUT_AFTER_LOST_SYN: Interval = Interval::from_secs(3);

/// The clock's resolution.
const SAMPLE_MIN: Interval = Interval::from_nanos(1);

/// How long the smallest measurement counts (RFC 8985 §6.2 step 1 wants a windowed minimum).
const MINIMUM_WINDOW: Interval = Interval::from_secs(300);

/// Estimates from measurements of unambiguous segments (Karn's algorithm is the caller's).
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundTrip {
    /// Zero until something is measured.
    smoothed: Interval,
    variation: Interval,
    minimum: Interval,
    minimum_at: Option<Time>,
    lost_syn: bool,
}

impl RoundTrip {
    /// RFC 6298 §2.2, §2.3.
    pub(crate) fn measure(&mut self, now: Time, sample: Interval) {
        let sample = sample.max(SAMPLE_MIN);
        if self.smoothed == Interval::ZERO {
            self.smoothed = sample;
            self.variation = sample / 2;
        } else {
            self.variation = (self.variation * 3 + self.smoothed.abs_diff(sample)) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
        }
        let recent = self.minimum_at.is_some_and(|at| now.since(at) < MINIMUM_WINDOW);
        if !recent || sample < self.minimum {
            (self.minimum, self.minimum_at) = (sample, Some(now));
        }
    }

    pub(crate) fn smoothed(&self) -> Option<Interval> {
        (self.smoothed > Interval::ZERO).then_some(self.smoothed)
    }

    pub(crate) fn minimum(&self) -> Option<Interval> {
        self.minimum_at.map(|_| self.minimum)
    }

    /// The timeout before backing off, within the bounds.
    pub(crate) fn timeout(&self, config: &Config) -> Interval {
        let (least, most) = (Interval::from(config.rto_min), Interval::from(config.rto_max));
        let unmeasured = if self.lost_syn { TIMEOUT_AFTER_LOST_SYN } else { INITIAL_TIMEOUT };
        let timeout = self.smoothed().map_or(unmeasured, |smoothed| {
            // §2.3. Where the time hardly varies, the timer would run out just before the answer to a retransmission; so the
            // margin has a minimum and not only the sum, as in Linux.
            smoothed + (self.variation * 4).max(least)
        });
        timeout.clamp(least, most)
    }

    pub(crate) fn note_lost_syn(&mut self) {
        self.lost_syn = true;
    }
}
