//! The receiving direction: what arrived, what is acknowledged, how much more is welcome.

mod gaps;
mod window;

use std::time::Duration;

use bytes::Bytes;

use super::buffer::{CHUNK, ChunkPool, ChunkQueue, SHARED_MIN};
use super::{Request, Seq, SocketOptions};
use crate::time::{Interval, Time};
use crate::wire::tcp::{SACK_BLOCKS, SackBlock, Segment};
use gaps::Gaps;
use window::Tuning;

/// Full-sized segments are acknowledged at once among so many at the beginning, while the peer's window is small and waits
/// for each; others when [`AckDelays`] says.
const QUICK_ACKNOWLEDGEMENTS: u8 = 16;

/// RFC 9293 §3.8.6.3.
const ACK_DELAY_MAX: Interval = Interval::from_millis(500);

/// RFC 7323 §5.5: after this long without a segment the peer's clock may have wrapped.
const TIMESTAMP_LIFETIME: Interval = Interval::from_secs(24 * 24 * 3600);

/// The receiving half of a connection. Names follow RFC 9293 §3.3.1.
#[derive(Debug)]
pub(super) struct ReceiveHalf {
    /// RCV.NXT.
    pub(super) next: Seq,
    /// RCV.NXT + RCV.WND as it was told: the right edge, which never moves left.
    advertised: Seq,
    /// The right edge before the window field's unit rounded it up, by which `advertised` may be ahead of it. All that lies
    /// before it fits into `capacity`.
    granted: Seq,
    /// Shift of our window field.
    pub(super) window_shift: u8,
    /// Bytes of unread data that we are willing to hold.
    capacity: usize,
    /// In order and unread.
    pub(super) queue: ChunkQueue,
    gaps: Gaps,
    /// FIN's own sequence number, once seen.
    fin: Option<Seq>,
    /// FIN and everything before it arrived.
    pub(super) finished: bool,
    /// An acknowledgement must go now.
    pub(super) acknowledge_now: bool,
    /// An acknowledgement must go at this time.
    pub(super) acknowledge_at: Option<Time>,
    /// Bytes that arrived since the last acknowledgement.
    unacknowledged: u32,
    quick: u8,
    pub(super) sack: bool,
    /// RFC 2883: a range that arrived twice, to be told once.
    duplicate: Option<SackBlock>,
    /// TS.Recent and when it was taken (RFC 7323 §4.3).
    pub(super) timestamp: u32,
    pub(super) timestamp_at: Time,
    /// Last.ACK.sent.
    last_acknowledged: Seq,
    /// RFC 3168 §6.1.3: echo congestion until the sender says that it reduced its window.
    pub(super) echo_congestion: bool,
    tuning: Tuning,
    /// The window that our SYN told before the peer's sequence numbers were known.
    told_in_syn: u16,
    pub(super) bytes_received: u64,
}

/// How long acknowledgements may wait for company.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckDelays {
    /// Those of small segments at the beginning.
    first: Interval,
    /// Those of all segments later.
    later: Interval,
}

impl AckDelays {
    pub(super) fn of(options: &SocketOptions) -> AckDelays {
        let bounded = |delay: Duration| Interval::from(delay).min(ACK_DELAY_MAX);
        AckDelays { first: bounded(options.first_ack_delay), later: bounded(options.ack_delay) }
    }
}

/// What a segment's text did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// New bytes can be read.
    pub(super) readable: bool,
    /// The stream is complete.
    pub(super) finished: bool,
}

impl ReceiveHalf {
    pub(super) fn new(now: Time, options: &SocketOptions) -> ReceiveHalf {
        ReceiveHalf {
            next: Seq(0),
            advertised: Seq(0),
            granted: Seq(0),
            window_shift: options.window_shift(),
            capacity: options.first_capacity(),
            queue: ChunkQueue::default(),
            gaps: Gaps::default(),
            fin: None,
            finished: false,
            acknowledge_now: false,
            acknowledge_at: None,
            unacknowledged: 0,
            quick: QUICK_ACKNOWLEDGEMENTS,
            sack: false,
            duplicate: None,
            timestamp: 0,
            timestamp_at: now,
            last_acknowledged: Seq(0),
            echo_congestion: false,
            tuning: Tuning::new(now),
            told_in_syn: 0,
            bytes_received: 0,
        }
    }

    /// The peer's SYN settles where its stream begins.
    pub(super) fn begin(&mut self, now: Time, request: &Request) {
        self.next = request.initial.plus(1);
        self.advertised = self.next.plus(usize::from(self.told_in_syn));
        self.granted = self.advertised;
        self.last_acknowledged = self.next;
        if let Some(timestamp) = request.timestamp {
            self.timestamp = timestamp.value;
            self.timestamp_at = now;
        }
    }

    /// RCV.WND as the peer knows it.
    pub(super) fn window(&self) -> usize {
        if self.advertised.is_after(self.next) { self.advertised.since(self.next) } else { 0 }
    }

    /// RFC 9293 §3.4, table 6: whether a segment has anything to do with the window.
    pub(super) fn is_acceptable(&self, segment: &Segment<'_>) -> bool {
        let (start, length, window) = (segment.seq, segment.length(), self.window());
        let inside = |seq: Seq| seq.is_at_or_after(self.next) && seq.is_before(self.next.plus(window));
        match (length, window) {
            (0, 0) => start == self.next,
            (0, _) => inside(start),
            (_, 0) => false,
            (_, _) => inside(start) || inside(segment.end().minus(1)),
        }
    }

    /// Whether a clock is older than TS.Recent, as far as that counts still (RFC 7323 §5.3 R1, §5.5).
    pub(super) fn is_clock_old(&self, now: Time, clock: u32) -> bool {
        let older = (clock.wrapping_sub(self.timestamp) as i32) < 0;
        older && now.since(self.timestamp_at) < TIMESTAMP_LIFETIME
    }

    /// RFC 7323 §5.3 R3: take the sender's clock from the segment that the last acknowledgement asked for.
    pub(super) fn note_timestamp(&mut self, now: Time, segment: &Segment<'_>) {
        let Some(timestamp) = segment.options.timestamp else { return };
        if segment.seq.is_at_or_before(self.last_acknowledged) && !self.is_clock_old(now, timestamp.value) {
            self.timestamp = timestamp.value;
            self.timestamp_at = now;
        }
    }

    /// Whether acceptable or not, what arrived before is told (RFC 2883 §4). How many bytes of the segment are known.
    pub(super) fn note_duplicate(&mut self, segment: &Segment<'_>) -> usize {
        let start = segment.seq.plus(usize::from(segment.flags.syn));
        if segment.payload.is_empty() || start.is_at_or_after(self.next) {
            return 0;
        }
        let known = self.next.since(start).min(segment.payload.len());
        self.duplicate = Some((start, start.plus(known)));
        known
    }

    /// Takes the text and FIN of an acceptable segment (RFC 9293 §3.10.7.4 "seventh" and "eighth").
    pub(super) fn take(
        &mut self,
        now: Time,
        segment: &Segment<'_>,
        segment_size: usize,
        delays: AckDelays,
        pool: &mut ChunkPool,
    ) -> Taken {
        let text_start = segment.seq.plus(usize::from(segment.flags.syn));
        let mut start = text_start;
        let mut text = segment.payload;
        let before = self.next;
        let known = self.note_duplicate(segment);
        text = &text[known..];
        start = start.plus(known);
        let edge = self.advertised;
        let room = if edge.is_after(start) { edge.since(start) } else { 0 };
        let cut = text.len() > room;
        text = &text[..text.len().min(room)];
        let fin = text_start.plus(segment.payload.len());
        // A FIN before the end of what is there already is nonsense, and so is text after FIN.
        if segment.flags.fin && !cut && self.fin.is_none() && fin.is_at_or_after(self.reached()) {
            self.fin = Some(fin);
        }
        if let Some(fin) = self.fin {
            text = &text[..text.len().min(if fin.is_after(start) { fin.since(start) } else { 0 })];
        }
        let in_order = start == self.next && self.gaps.is_empty();
        if !text.is_empty() {
            self.place(start, text, segment.memory, pool);
        }
        self.finish_if_complete();
        let arrived = self.next.since(before);
        let bytes = arrived - usize::from(self.finished && arrived > 0 && self.fin == Some(self.next.minus(1)));
        self.bytes_received += bytes as u64;
        if segment.length() > 0 {
            self.schedule_acknowledgement(now, segment, in_order && !cut, segment_size, delays);
        }
        Taken { readable: bytes > 0, finished: self.finished && before != self.next }
    }

    /// The end of all that arrived.
    fn reached(&self) -> Seq {
        self.gaps.end().map_or(self.next, |end| end.max(self.next))
    }

    /// `memory` is what `text` is in, if it may stay there.
    fn place(&mut self, start: Seq, text: &[u8], memory: Option<&Bytes>, pool: &mut ChunkPool) {
        if start != self.next {
            // Chunks are larger than what is in them; but not so much, unless the peer means to do harm.
            let most = if pool.is_short() { 0 } else { 2 * self.capacity + 4 * CHUNK };
            if let Some(known) = self.gaps.insert(start, text, most, pool) {
                self.duplicate = Some(known);
            }
            return;
        }
        match memory.filter(|_| text.len() >= SHARED_MIN) {
            Some(memory) => self.queue.push_shared(memory.slice_ref(text), pool),
            None => self.queue.push(text, pool),
        }
        self.next = start.plus(text.len());
        self.next = self.gaps.join(self.next, &mut self.queue, pool);
    }

    fn finish_if_complete(&mut self) {
        if !self.finished && self.fin == Some(self.next) {
            self.next = self.next.plus(1);
            self.finished = true;
            // The window counts from RCV.NXT, whose FIN takes no buffer.
            self.advertised = self.advertised.max(self.next);
            self.granted = self.granted.max(self.next);
        }
    }

    /// RFC 9293 §3.8.6.3 and RFC 5681 §4.2: at least every second full-sized segment, at once out of order or when a gap
    /// was filled, and for FIN.
    fn schedule_acknowledgement(
        &mut self,
        now: Time,
        segment: &Segment<'_>,
        in_order: bool,
        segment_size: usize,
        delays: AckDelays,
    ) {
        self.unacknowledged = self.unacknowledged.saturating_add(segment.payload.len() as u32);
        let many = self.unacknowledged as usize >= 2 * segment_size;
        let delay = match self.quick {
            0 => delays.later,
            _ if segment.payload.len() < segment_size => delays.first,
            _ => Interval::ZERO,
        };
        self.quick = self.quick.saturating_sub(1);
        if !in_order || segment.flags.fin || many || delay == Interval::ZERO {
            self.acknowledge_now = true;
        } else if self.acknowledge_at.is_none() {
            self.acknowledge_at = Some(now + delay);
        }
    }

    /// An acknowledgement that waits for company goes now.
    pub(super) fn acknowledge_early(&mut self) {
        self.acknowledge_now |= self.acknowledge_at.take().is_some();
    }

    /// What an outgoing segment says about this direction: acknowledgement and window field. Nothing is due afterwards.
    pub(super) fn acknowledge(&mut self, segment_size: usize) -> (Seq, u16) {
        self.acknowledge_now = false;
        self.acknowledge_at = None;
        self.unacknowledged = 0;
        self.last_acknowledged = self.next;
        (self.next, self.advertise(segment_size))
    }

    /// The acknowledgement of a SYN-ACK, whose window is `initial_window`.
    pub(super) fn acknowledge_synchronize(&mut self) -> Seq {
        self.acknowledge_now = false;
        self.last_acknowledged = self.next;
        self.next
    }

    /// Selective acknowledgements for the next segment (RFC 2018 §4; a duplicate comes first, RFC 2883).
    pub(super) fn sack_blocks(&mut self) -> [Option<SackBlock>; SACK_BLOCKS] {
        if !self.sack || (self.duplicate.is_none() && self.gaps.is_empty()) {
            return [None; SACK_BLOCKS];
        }
        let duplicate = self.duplicate.take();
        self.gaps.blocks(duplicate)
    }

    /// Whether the next segment tells of something that arrived twice.
    pub(super) fn has_duplicate(&self) -> bool {
        self.sack && self.duplicate.is_some()
    }

    /// Gives all memory back.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool) {
        self.queue.clear(pool);
        self.gaps.clear(pool);
    }
}
