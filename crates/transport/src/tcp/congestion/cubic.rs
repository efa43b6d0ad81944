//! CUBIC (RFC 9438): the window is a cubic function of the time since the last congestion.

use super::Acked;
use crate::time::Time;

/// RFC 9438 §5: how aggressive the growth is.
const C: f64 = 0.4;

/// RFC 9438 §4.6: the multiplicative decrease.
const BETA: f64 = 0.7;

/// State of the curve. Windows are in segments, times in seconds, as in the RFC.
#[derive(Clone, Debug, Default)]
pub(super) struct Cubic {
    /// The window at the last congestion event, W_max.
    plateau: f64,
    /// When this avoidance phase began.
    epoch: Option<Time>,
    /// When an acknowledgement was looked at last, in this phase.
    seen: Option<Time>,
    /// Seconds from the epoch until the plateau is reached again, K.
    until_plateau: f64,
    /// What Reno would have, W_est.
    estimate: f64,
    /// Window at the beginning of the epoch, cwnd_epoch.
    start: f64,
    /// Growth that did not make a byte yet.
    rest: f64,
}

impl Cubic {
    pub(super) fn growth(&mut self, window: usize, segment_size: usize, acked: &Acked) -> usize {
        let segment = segment_size as f64;
        let current = window as f64 / segment;
        let epoch = *self.epoch.get_or_insert_with(|| {
            // RFC 9438 §4.2, equation 2; after a timeout or an idle start there is no plateau to return to.
            self.plateau = self.plateau.max(current);
            self.start = current;
            self.estimate = current;
            self.until_plateau = ((self.plateau - current) / C).cbrt();
            acked.now
        });
        self.seen = Some(acked.now);
        let round_trip = acked.round_trip.map_or(0.0, crate::time::Interval::as_secs_f64);
        let elapsed = acked.now.since(epoch).as_secs_f64();
        let ahead = elapsed + round_trip - self.until_plateau;
        let curve = C * ahead * ahead * ahead + self.plateau;
        // §4.2: the target is between the window and one and a half of it.
        let target = curve.clamp(current, 1.5 * current);
        let acked_segments = acked.bytes as f64 / segment;
        // §4.3, equation 4: Reno's line, whose slope is 1 again once it passed the plateau.
        let slope = if self.estimate >= self.plateau { 1.0 } else { 3.0 * (1.0 - BETA) / (1.0 + BETA) };
        self.estimate += slope * acked_segments / current;
        // §4.3 to §4.5: in the friendly region the line, otherwise (target - cwnd)/cwnd per acknowledged segment.
        let growth = if self.estimate > curve.max(current) {
            self.estimate - current
        } else {
            (target - current) / current * acked_segments
        };
        let bytes = growth.max(0.0) * segment + self.rest;
        self.rest = bytes.fract();
        bytes as usize
    }

    /// §5.8: time in which the window was not what held the sender back does not count on the curve.
    pub(super) fn pause(&mut self, now: Time) {
        if let (Some(epoch), Some(seen)) = (self.epoch, self.seen) {
            self.epoch = Some(epoch + now.since(seen));
            self.seen = Some(now);
        }
    }

    /// The new threshold in bytes.
    pub(super) fn on_congestion(&mut self, window: usize, segment_size: usize) -> usize {
        let current = window as f64 / segment_size as f64;
        // §4.7, fast convergence: a plateau below the former one means that others came, so more is left to them.
        self.plateau = if current < self.plateau { current * (1.0 + BETA) / 2.0 } else { current };
        self.epoch = None;
        self.rest = 0.0;
        (current * BETA * segment_size as f64) as usize
    }

    /// §4.8: the curve begins anew when congestion avoidance does.
    pub(super) fn on_timeout(&mut self) {
        self.epoch = None;
    }
}

#[cfg(test)]
mod tests {
    use super::Cubic;
    use crate::tcp::Seq;
    use crate::tcp::congestion::Acked;
    use crate::time::{Interval, Time};

    /// A segment that is acknowledged so many seconds after the start.
    fn at(seconds: u64) -> Acked {
        Acked {
            now: Time::START + Interval::from_secs(seconds),
            bytes: 1000,
            round_trip: None,
            sample: None,
            acknowledged: Seq(0),
            next: Seq(1000),
            window_limited: true,
        }
    }

    #[test]
    fn after_a_timeout_the_curve_begins_anew() {
        let mut cubic = Cubic::default();
        let window = cubic.on_congestion(100_000, 1000);
        let first = cubic.growth(window, 1000, &at(0));
        assert!(cubic.growth(window, 1000, &at(60)) > first, "a minute on");
        cubic.on_timeout();
        cubic.rest = 0.0;
        assert_eq!(cubic.growth(window, 1000, &at(61)), first);
    }

    #[test]
    fn time_without_use_of_the_window_does_not_count() {
        let growth = |pauses: &[u64], last| {
            let mut cubic = Cubic::default();
            let window = cubic.on_congestion(100_000, 1000);
            cubic.growth(window, 1000, &at(0));
            for second in pauses {
                cubic.pause(at(*second).now);
            }
            cubic.growth(window, 1000, &at(last))
        };
        assert_eq!(growth(&[30, 60], 61), growth(&[], 1));
        assert!(growth(&[], 61) > growth(&[30, 60], 61));
    }
}
