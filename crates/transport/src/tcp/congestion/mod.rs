//! How much may be under way: one congestion window per connection, by NewReno or CUBIC. All amounts are bytes.

mod cubic;
mod new_reno;
mod slow_start;

use super::{CongestionControl, Seq};
use crate::time::{Interval, Time};
use cubic::Cubic;
use new_reno::NewReno;
use slow_start::{Pace, SlowStart};

/// Windows are kept below this, so that arithmetic in bytes can't overflow: RFC 7323's largest window.
const WINDOW_MAX: usize = 1 << 30;

/// What `slow_start_threshold` is before anything is known of the path.
const UNKNOWN: u32 = WINDOW_MAX as u32;

/// What an acknowledgement says to the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) now: Time,
    pub(crate) bytes: usize,
    /// The smoothed round-trip time, and the measurement that this acknowledgement gave.
    pub(crate) round_trip: Option<Interval>,
    pub(crate) sample: Option<Interval>,
    /// SND.UNA and SND.NXT.
    pub(crate) acknowledged: Seq,
    pub(crate) next: Seq,
    /// Whether the window, and not the sender or the receiver, was what held data back.
    pub(crate) window_limited: bool,
}

/// The congestion window of one connection. Most connections never fill it, so what it takes to let it grow is made when one
/// does.
#[derive(Clone, Debug)]
pub(crate) struct Congestion {
    window: u32,
    slow_start_threshold: u32,
    segment_size: u16,
    /// The first slow start, which knows no threshold yet.
    slow_start: Option<Box<SlowStart>>,
    algorithm: Algorithm,
}

#[derive(Clone, Debug)]
enum Algorithm {
    NewReno(NewReno),
    Cubic(Option<Box<Cubic>>),
}

impl Congestion {
    pub(crate) fn new(control: CongestionControl, segment_size: u16) -> Congestion {
        let algorithm = match control {
            CongestionControl::NewReno => Algorithm::NewReno(NewReno::default()),
            CongestionControl::Cubic => Algorithm::Cubic(None),
        };
        let window = initial_window(segment_size);
        Congestion { window, slow_start_threshold: UNKNOWN, segment_size, slow_start: None, algorithm }
    }

    /// Goes on with another algorithm, from where the window is.
    pub(crate) fn set_control(&mut self, control: CongestionControl) {
        if self.control() != control {
            let begun = Congestion::new(control, self.segment_size);
            self.algorithm = begun.algorithm;
        }
    }

    fn control(&self) -> CongestionControl {
        match self.algorithm {
            Algorithm::NewReno(_) => CongestionControl::NewReno,
            Algorithm::Cubic(_) => CongestionControl::Cubic,
        }
    }

    pub(crate) fn window(&self) -> usize {
        self.window as usize
    }

    /// Keeps no memory that an idle connection does not need: a slow start that goes on later measures anew.
    pub(crate) fn shrink(&mut self) {
        self.slow_start = None;
    }

    /// The segment size is settled by the handshake and may shrink with the path (before anything is measured).
    pub(crate) fn set_segment_size(&mut self, segment_size: u16) {
        let initial = self.window == initial_window(self.segment_size);
        self.segment_size = segment_size;
        if initial {
            self.window = initial_window(segment_size);
        }
    }

    /// RFC 6298 §5: after a lost SYN the first window is one segment (RFC 5681 §3.1).
    pub(crate) fn restart_from_one(&mut self) {
        self.window = u32::from(self.segment_size);
    }

    /// New data was acknowledged outside of recovery, or in the slow start after a timeout.
    pub(crate) fn on_acknowledged(&mut self, acked: &Acked) {
        // RFC 9293 §3.8.5 by RFC 2861 and 7661: a window that was not used says nothing about the path.
        if !acked.window_limited {
            if let Algorithm::Cubic(Some(cubic)) = &mut self.algorithm {
                cubic.pause(acked.now);
            }
            return;
        }
        let divisor = self.pace(acked);
        let (window, segment_size) = (self.window(), usize::from(self.segment_size));
        let growth = if self.window < self.slow_start_threshold {
            // RFC 5681 §3.1 with the byte counting of RFC 3465; acknowledgements of 64 KiB segments come rarely, so L is
            // not limited to two segments.
            (acked.bytes / divisor).min((self.slow_start_threshold - self.window) as usize)
        } else {
            match &mut self.algorithm {
                Algorithm::NewReno(reno) => reno.growth(window, segment_size, acked.bytes),
                Algorithm::Cubic(cubic) => cubic.get_or_insert_default().growth(window, segment_size, acked),
            }
        };
        self.window = (window + growth).min(WINDOW_MAX) as u32;
    }

    /// By what the growth of slow start is divided.
    fn pace(&mut self, acked: &Acked) -> usize {
        if self.slow_start_threshold != UNKNOWN {
            return 1;
        }
        match self.slow_start.get_or_insert_default().on_acknowledged(acked) {
            Pace::Divided(divisor) => divisor,
            Pace::Over => {
                self.slow_start = None;
                self.slow_start_threshold = self.window;
                1
            }
        }
    }

    /// Loss (or an ECN mark) was noticed: once per window of data.
    pub(crate) fn on_congestion(&mut self, flight: usize) {
        let (window, segment_size) = (self.window(), usize::from(self.segment_size));
        let reduced = match &mut self.algorithm {
            // RFC 5681 §3.1 (4) takes FlightSize, not the window.
            Algorithm::NewReno(reno) => reno.on_congestion(flight.min(window)),
            Algorithm::Cubic(cubic) => cubic.get_or_insert_default().on_congestion(window, segment_size),
        };
        self.slow_start = None;
        self.slow_start_threshold = reduced.clamp(2 * segment_size, WINDOW_MAX - 1) as u32;
        self.window = self.slow_start_threshold;
    }

    /// What was taken for congestion was none (RFC 9438 §4.9.2): back to how it was `before`, unless it is better now.
    pub(crate) fn restore(&mut self, before: Congestion) {
        let window = self.window.max(before.window);
        *self = Congestion { window, segment_size: self.segment_size, ..before };
    }

    /// A timeout was none (RFC 4015 §3.2, steps 0 and 5): what arrives lets as much out again, in slow start up to where it was
    /// `before`, with `flight_then` bytes under way. Now there are `flight`, after `acknowledged` bytes arrived.
    pub(crate) fn resume(&mut self, before: Congestion, flight_then: usize, flight: usize, acknowledged: usize) {
        let window = self.window().max(flight + acknowledged.min(initial_window(before.segment_size) as usize));
        let threshold = before.slow_start_threshold.max(flight_then.min(WINDOW_MAX - 1) as u32);
        *self = Congestion { slow_start_threshold: threshold, segment_size: self.segment_size, ..before };
        self.set_window(window);
    }

    /// Another window, in bytes.
    pub(crate) fn set_window(&mut self, window: usize) {
        self.window = window.clamp(usize::from(self.segment_size), WINDOW_MAX) as u32;
    }

    /// The retransmission timer ran out: RFC 5681 §3.1, the loss window is one segment.
    pub(crate) fn on_timeout(&mut self, flight: usize, first: bool) {
        if first {
            self.on_congestion(flight);
        }
        if let Algorithm::Cubic(Some(cubic)) = &mut self.algorithm {
            cubic.on_timeout();
        }
        self.window = u32::from(self.segment_size);
    }

    /// RFC 5681 §4.1: after an idle time longer than the timeout the window starts again from its initial size.
    pub(crate) fn on_idle(&mut self) {
        self.window = self.window.min(initial_window(self.segment_size));
        if let Algorithm::Cubic(Some(cubic)) = &mut self.algorithm {
            cubic.on_timeout();
        }
    }
}

/// RFC 6928 §2.
fn initial_window(segment_size: u16) -> u32 {
    let segment_size = u32::from(segment_size);
    (10 * segment_size).min((2 * segment_size).max(14_600))
}

#[cfg(test)]
mod tests {
    use super::{Acked, Congestion};
    use crate::tcp::{CongestionControl, Seq};
    use crate::time::Time;

    #[test]
    fn the_threshold_is_at_least_two_segments() {
        for control in [CongestionControl::Cubic, CongestionControl::NewReno] {
            let mut congestion = Congestion::new(control, 1000);
            (0..20).for_each(|_| congestion.on_congestion(1000));
            assert_eq!(congestion.window(), 2000);
            congestion.on_timeout(1000, true);
            assert_eq!((congestion.window(), congestion.slow_start_threshold), (1000, 2000));
        }
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        for control in [CongestionControl::Cubic, CongestionControl::NewReno] {
            let mut congestion = Congestion::new(control, 1000);
            let mut acked = Acked {
                now: Time::START,
                bytes: 10_000,
                round_trip: None,
                sample: None,
                acknowledged: Seq(10_000),
                next: Seq(20_000),
                window_limited: false,
            };
            let before = congestion.window();
            congestion.on_acknowledged(&acked);
            assert_eq!(congestion.window(), before);
            acked.window_limited = true;
            congestion.on_acknowledged(&acked);
            assert!(congestion.window() > before);
        }
    }
}
