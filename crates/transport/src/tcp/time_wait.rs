//! TIME-WAIT: what is remembered of a connection that is over, so that late segments do no harm (RFC 9293 §3.6.1).

use super::{Connection, Seq};
use crate::demux::FourTuple;
use crate::leases::Lease;
use crate::time::{Interval, Time};
use crate::wire::ip::Service;
use crate::wire::tcp::{Header, Options, Segment, Timestamp};

/// The ends and the last sequence numbers: far less than a connection.
#[derive(Debug)]
pub(crate) struct TimeWait {
    pub(crate) tuple: FourTuple,
    /// SND.NXT and RCV.NXT.
    next: Seq,
    expected: Seq,
    window: u16,
    /// TS.Recent, if timestamps are used.
    timestamp: Option<u32>,
    timestamp_offset: u32,
    pub(crate) service: Service,
    pub(crate) expires: Time,
    /// What the connection held of our own port space.
    pub(crate) lease: Lease,
}

/// What a segment in TIME-WAIT leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeWaitAnswer {
    /// Nothing.
    Ignore,
    /// The last acknowledgement again.
    Acknowledge,
    /// A new connection begins: forget this one and take the segment as if there had been none.
    Reuse,
}

impl TimeWait {
    pub(crate) fn new(connection: &mut Connection, now: Time, duration: Interval) -> TimeWait {
        let capacity = connection.receive.capacity() >> connection.receive.window_shift;
        TimeWait {
            tuple: connection.tuple,
            next: connection.send.next,
            expected: connection.receive.next,
            window: u16::try_from(capacity).unwrap_or(u16::MAX),
            timestamp: connection.agreed.timestamps.then_some(connection.receive.timestamp),
            timestamp_offset: connection.timestamp_offset,
            service: connection.options().service(),
            expires: now + duration,
            lease: std::mem::take(&mut connection.lease),
        }
    }

    /// SND.NXT of the connection that was.
    pub(crate) fn next(&self) -> Seq {
        self.next
    }

    pub(crate) fn on_segment(&self, segment: &Segment<'_>) -> TimeWaitAnswer {
        // RFC 1337 §3: a reset must not end TIME-WAIT early.
        if segment.flags.rst {
            return TimeWaitAnswer::Ignore;
        }
        if segment.flags.syn && segment.ack.is_none() {
            // RFC 6191 §2: a later clock, or with equal clocks or none a later sequence number, is a new connection.
            let later_clock = match (segment.options.timestamp, self.timestamp) {
                (Some(new), Some(old)) => Some((new.value.wrapping_sub(old) as i32).cmp(&0)),
                _ => None,
            };
            let later_sequence = segment.seq.is_after(self.expected);
            return match later_clock {
                Some(std::cmp::Ordering::Greater) => TimeWaitAnswer::Reuse,
                Some(std::cmp::Ordering::Less) => TimeWaitAnswer::Acknowledge,
                _ if later_sequence => TimeWaitAnswer::Reuse,
                _ => TimeWaitAnswer::Acknowledge,
            };
        }
        // A bare acknowledgement that is in order says nothing that must be answered.
        if segment.length() == 0 && segment.seq == self.expected {
            TimeWaitAnswer::Ignore
        } else {
            TimeWaitAnswer::Acknowledge
        }
    }

    pub(crate) fn acknowledgement(&self, now: Time) -> Header {
        let timestamp = self
            .timestamp
            .map(|echo| Timestamp { value: now.milliseconds().wrapping_add(self.timestamp_offset), echo });
        Header {
            seq: self.next,
            ack: Some(self.expected),
            flags: crate::wire::tcp::Flags::default(),
            window: self.window,
            options: Options { timestamp, ..Options::default() },
        }
    }
}
