//! How much more is welcome: the window field (RFC 9293 §3.8.6, RFC 7323 §2) and its automatic size.

use super::ReceiveHalf;
use crate::tcp::SocketOptions;
use crate::time::{Interval, Time};

/// Least time over which the reader's speed is measured.
const MEASURE_MIN: Interval = Interval::from_millis(1);

/// The reader's speed: bytes that it took since `since`.
#[derive(Debug)]
pub(super) struct Tuning {
    since: Time,
    bytes: usize,
}

impl Tuning {
    pub(super) fn new(now: Time) -> Tuning {
        Tuning { since: now, bytes: 0 }
    }
}

impl ReceiveHalf {
    /// The window of a SYN or SYN-ACK, which is never scaled (RFC 7323 §2.2).
    pub(in crate::tcp) fn initial_window(&mut self) -> u16 {
        let window = u16::try_from(self.capacity).unwrap_or(u16::MAX);
        self.told_in_syn = window;
        self.advertised = self.advertised.max(self.next.plus(usize::from(window)));
        self.granted = self.advertised;
        window
    }

    fn free(&self) -> usize {
        self.capacity.saturating_sub(self.queue.length()).min(self.window_limit())
    }

    /// The largest window that our field can tell (RFC 7323 §2.2), whatever we would hold.
    fn window_limit(&self) -> usize {
        usize::from(u16::MAX) << self.window_shift
    }

    /// What may still come and surely fits.
    fn granted_window(&self) -> usize {
        if self.granted.is_after(self.next) { self.granted.since(self.next) } else { 0 }
    }

    /// The window field of a segment that leaves now, after which the peer may send up to there.
    pub(super) fn advertise(&mut self, segment_size: usize) -> u16 {
        let current = self.granted_window();
        let free = self.free();
        // RFC 9293 §3.8.6.2.2: the right edge moves by at least half the buffer or a segment, or not at all.
        let step = (self.capacity / 2).min(segment_size);
        let unit = 1 << self.window_shift;
        let most = usize::from(u16::MAX);
        let field = if free >= current + step {
            let field = (free / unit).min(most);
            self.granted = self.next.plus(field * unit).max(self.granted);
            field
        } else {
            // Rounded up, since the edge must not move left (RFC 9293 §3.8.6 "shrinking"). What rounding adds is taken if it
            // comes, but the next rounding does not start from it: otherwise a window that nobody empties would never close.
            current.div_ceil(unit).min(most)
        };
        self.advertised = self.next.plus(field * unit).max(self.advertised);
        field as u16
    }

    /// After `count` bytes were taken off the queue: the peer may have to hear of the room. The window grows to `most`, and
    /// not at all where memory is `short`.
    pub(in crate::tcp) fn after_reading(
        &mut self,
        now: Time,
        count: usize,
        round_trip: Option<Interval>,
        segment_size: usize,
        most: usize,
        short: bool,
    ) {
        if !short {
            self.tune(now, count, round_trip, most);
        }
        let current = self.granted_window();
        let gain = self.free().saturating_sub(current);
        // A shut window opens by a segment; otherwise small steps wait for the next acknowledgement.
        let closed = current < segment_size && gain >= segment_size.min(self.capacity / 2);
        let useful = self.capacity.min(self.window_limit()) / 4;
        let due = !self.finished && (closed || gain >= useful.max(2 * segment_size));
        self.acknowledge_now |= due;
    }

    /// A reader that takes more than half a window per round trip could use a larger one: twice what it took, so that a
    /// sender in slow start is never held back by us.
    fn tune(&mut self, now: Time, count: usize, round_trip: Option<Interval>, most: usize) {
        self.tuning.bytes += count;
        let interval = round_trip.unwrap_or_default().max(MEASURE_MIN);
        if self.tuning.bytes * 2 > self.capacity {
            let within = now.since(self.tuning.since) <= interval * 2;
            if within {
                self.capacity = (self.tuning.bytes * 4).min(most).min(self.window_limit()).max(self.capacity);
            }
        }
        if now.since(self.tuning.since) >= interval {
            self.tuning = Tuning::new(now);
        }
    }

    /// Takes other limits on. What is told already stays; before our SYN left (`begins`), the window begins with them.
    pub(in crate::tcp) fn set_buffers(&mut self, options: &SocketOptions, begins: bool) {
        if begins {
            self.capacity = options.first_capacity();
            self.window_shift = options.window_shift();
        } else {
            self.capacity = self.capacity.clamp(options.first_capacity(), options.receive_buffer_max);
        }
    }

    /// Bytes of unread data that we are willing to hold.
    pub(in crate::tcp) fn capacity(&self) -> usize {
        self.capacity
    }
}
