//! HyStart++ (RFC 9406): the first slow start ends when the round-trip time grows, before the queue overflows and a whole
//! window is lost.

use super::Acked;
use crate::tcp::Seq;
use crate::time::Interval;

/// RFC 9406 §4.3: RTT_THRESH is an eighth of the round-trip time within these bounds.
const THRESHOLD_MIN: Interval = Interval::from_millis(4);
const THRESHOLD_MAX: Interval = Interval::from_millis(16);
const THRESHOLD_DIVISOR: u64 = 8;

/// N_RTT_SAMPLE.
const SAMPLES: u8 = 8;

/// CSS_GROWTH_DIVISOR and CSS_ROUNDS.
const CONSERVATIVE_DIVISOR: usize = 4;
const CONSERVATIVE_ROUNDS: u8 = 5;

/// How the window may grow by an acknowledgement in slow start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// By what was acknowledged, divided by this.
    Divided(usize),
    /// No more: slow start is over.
    Over,
}

/// What is known of the round trips of a slow start. A round is the time until what was sent at its beginning is acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct SlowStart {
    round_end: Option<Seq>,
    /// Least round-trip time of the round before, and of this one with the number of measurements.
    last: Option<Interval>,
    current: Option<Interval>,
    samples: u8,
    /// Conservative slow start: what the least round-trip time was when it began, and rounds since.
    conservative: Option<(Interval, u8)>,
}

impl SlowStart {
    pub(super) fn on_acknowledged(&mut self, acked: &Acked) -> Pace {
        if self.round_end.is_none_or(|end| acked.acknowledged.is_at_or_after(end)) && self.begin_round(acked.next) {
            return Pace::Over;
        }
        if let Some(sample) = acked.sample {
            self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= SAMPLES {
            self.compare();
        }
        Pace::Divided(if self.conservative.is_some() { CONSERVATIVE_DIVISOR } else { 1 })
    }

    /// Whether this was the last conservative round.
    fn begin_round(&mut self, end: Seq) -> bool {
        self.round_end = Some(end);
        self.last = self.current.take();
        self.samples = 0;
        self.conservative.as_mut().is_some_and(|(_, rounds)| {
            *rounds += 1;
            *rounds >= CONSERVATIVE_ROUNDS
        })
    }

    /// RFC 9406 §4.2: a longer round trip begins conservative slow start, a shorter one shows that it was a mistake.
    fn compare(&mut self) {
        let (Some(last), Some(current)) = (self.last, self.current) else { return };
        match self.conservative {
            Some((baseline, _)) if current < baseline => self.conservative = None,
            Some(_) => {}
            None => {
                let threshold = (last / THRESHOLD_DIVISOR).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
                if current >= last + threshold {
                    self.conservative = Some((current, 0));
                }
            }
        }
    }
}
