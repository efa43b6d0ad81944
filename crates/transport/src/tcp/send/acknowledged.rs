//! What an acknowledgement does to the sending direction (RFC 9293 §3.10.7.4 "fifth", RFC 5961 §5).

use super::SendHalf;
use super::loss::Delivered;
use super::scoreboard::Sent;
use crate::tcp::buffer::ChunkPool;
use crate::tcp::congestion::Acked;
use crate::tcp::{Context, Seq};
use crate::time::{Interval, Time};
use crate::wire::tcp::Segment;

/// What became of the acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp) enum AckVerdict {
    /// It is in order; `advanced` tells whether it acknowledges something new.
    Accepted { advanced: bool },
    /// It is too old or acknowledges what was never sent: answer with an acknowledgement and drop the segment.
    Unacceptable,
}

impl SendHalf {
    /// Processes the acknowledgement, window and SACK fields of `segment`. `echoed` is what our clock showed, in milliseconds,
    /// when what it answers was sent.
    pub(in crate::tcp) fn on_acknowledgement(
        &mut self,
        ctx: &mut Context<'_>,
        segment: &Segment<'_>,
        echoed: Option<u32>,
    ) -> AckVerdict {
        let now = ctx.now;
        let Some(ack) = segment.ack else { return AckVerdict::Unacceptable };
        // RFC 5961 §5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT.
        let oldest = self.unacknowledged.minus(self.window_max);
        if ack.is_after(self.next) || ack.is_before(oldest) {
            return AckVerdict::Unacceptable;
        }
        let window = self.scaled_window(segment);
        // RFC 5681 §2: the definition of a duplicate acknowledgement.
        let duplicate = ack == self.unacknowledged
            && segment.payload.is_empty()
            && !segment.flags.fin
            && window == self.window
            && self.outstanding() > 0;
        let before = self.in_flight();
        let flight = self.outstanding();
        let mut delivered = Delivered::after(self.scoreboard.sacked());
        delivered.echoed = echoed;
        delivered.marked = self.ecn && segment.flags.ece && !segment.flags.syn;
        let advanced = ack.is_after(self.unacknowledged);
        if advanced {
            self.advance(ack, &mut delivered, ctx.pool);
        }
        let newly_sacked = if self.sack { self.take_sacks(segment, &mut delivered) } else { 0 };
        delivered.bytes = (delivered.cumulative + self.scoreboard.sacked()).saturating_sub(delivered.sacked_before);
        let sample = self.measure(now, &delivered, advanced);
        self.update_window(segment, window);
        let reduced = self.note_marks(delivered.marked, flight);
        let acked = Acked {
            now,
            bytes: delivered.cumulative,
            round_trip: self.round_trip.smoothed(),
            sample,
            acknowledged: self.unacknowledged,
            next: self.next,
            window_limited: !reduced && (self.window_limited || 2 * before >= self.congestion.window()),
        };
        self.after_delivery(now, &acked, &delivered, duplicate, newly_sacked, flight);
        self.restart_timers(now, ctx.config, advanced);
        AckVerdict::Accepted { advanced }
    }

    fn scaled_window(&self, segment: &Segment<'_>) -> usize {
        usize::from(segment.window) << if segment.flags.syn { 0 } else { self.window_shift }
    }

    /// SND.UNA moves on: records and bytes before it go.
    fn advance(&mut self, ack: Seq, delivered: &mut Delivered, pool: &mut ChunkPool) {
        let end = self.data_end();
        let newest = |record: &Sent| delivered.note(record);
        self.scoreboard.acknowledge(ack, newest);
        let mut bytes = ack.since(self.unacknowledged);
        delivered.cumulative = bytes;
        if self.shut && ack.is_after(end) {
            self.fin_acknowledged = true;
            bytes -= 1;
        }
        self.queue.consume(bytes, pool);
        self.bytes_acknowledged += bytes as u64;
        self.unacknowledged = ack;
        self.small_end = self.small_end.max(ack);
    }

    /// RFC 2018 §5, RFC 2883 §4: blocks below the acknowledgement (or within the second) report duplicates.
    fn take_sacks(&mut self, segment: &Segment<'_>, delivered: &mut Delivered) -> usize {
        let blocks = segment.options.sack;
        let mut bytes = 0;
        for (number, block) in blocks.into_iter().flatten().enumerate() {
            let (from, to) = block;
            let within_next =
                blocks[1].is_some_and(|(start, end)| from.is_at_or_after(start) && to.is_at_or_before(end));
            if number == 0 && (to.is_at_or_before(self.unacknowledged) || within_next) {
                delivered.duplicate = from.is_before(to).then_some(block);
                continue;
            }
            let valid = from.is_before(to) && from.is_at_or_after(self.unacknowledged) && to.is_at_or_before(self.next);
            if valid {
                bytes += self.scoreboard.sack(block, |record| delivered.note(record));
            }
        }
        bytes
    }

    /// RFC 6298 §3 (Karn): only transmissions that happened once measure; RFC 7323 §4.1: an echo measures any. If a
    /// retransmission is acknowledged with them, they may have waited for it at the receiver, which says nothing.
    fn measure(&mut self, now: Time, delivered: &Delivered, advanced: bool) -> Option<Interval> {
        let once = delivered.newest_once.filter(|_| !delivered.repaired);
        let own = once.map(|at| now.since(at));
        let echoed = delivered.echoed.filter(|_| advanced);
        let sample = own.or_else(|| {
            let milliseconds = now.milliseconds().wrapping_sub(echoed?).max(1);
            Some(Interval::from_millis(u64::from(milliseconds)))
        })?;
        self.round_trip.measure(now, sample);
        self.end_backoff();
        Some(sample)
    }

    /// RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 keep old segments from changing the window.
    fn update_window(&mut self, segment: &Segment<'_>, window: usize) {
        let Some(ack) = segment.ack else { return };
        let (from, by) = self.window_from;
        let newer = from.is_before(segment.seq) || (from == segment.seq && by.is_at_or_before(ack));
        if !newer || ack.is_before(self.unacknowledged) {
            return;
        }
        self.window = window;
        self.window_max = self.window_max.max(window);
        self.window_from = (segment.seq, ack);
        if window > 0 {
            self.timers.window_opened();
        }
    }

    /// The peer's SYN: the first window, and where updates count from.
    pub(in crate::tcp) fn begin_window(&mut self, segment_seq: Seq, window: usize) {
        self.window = window;
        self.window_max = window;
        self.window_from = (segment_seq, self.initial);
    }

    /// RFC 3168 §6.1.2: ECE reduces the window as loss would, once per window of data. Whether it did now.
    fn note_marks(&mut self, marked: bool, flight: usize) -> bool {
        // CWR is on the segment that begins there, so an acknowledgement of no more still tells of the old mark.
        if self.mark_end.is_some_and(|end| self.unacknowledged.is_after(end)) {
            self.mark_end = None;
        }
        let reduces = marked && self.mark_end.is_none() && self.recovery.is_open();
        if reduces {
            self.congestion.on_congestion(flight);
            self.undo = None;
            self.mark_end = Some(self.next);
            self.congestion_window_reduced = true;
        }
        reduces
    }
}
