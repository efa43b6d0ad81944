//! SYN-RECEIVED: RFC 9293 §3.10.7.4 as far as it differs there.

use super::{Disposition, Ended};
use crate::event::ResetReason;
use crate::tcp::{Connection, Context};
use crate::wire::tcp::Segment;

impl Connection {
    pub(super) fn on_segment_syn_received(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        // The SYN again: our answer was lost.
        let repeats = segment.flags.syn && !segment.flags.rst && segment.ack.is_none();
        if repeats && segment.seq.plus(1) == self.receive.next {
            self.synchronize_due = true;
            // RFC 7323 §4.3: the answer echoes the clock of the latest.
            self.receive.note_timestamp(ctx.now, segment);
            return Disposition::Kept;
        }
        if let Some(disposition) = self.check_timestamp(ctx, segment) {
            return disposition;
        }
        if segment.flags.rst {
            return self.on_reset_syn_received(ctx, segment);
        }
        let crossed = segment.flags.syn && segment.seq.plus(1) == self.receive.next;
        if !crossed && !self.receive.is_acceptable(segment) {
            self.answer_unacceptable(ctx, segment);
            return Disposition::Kept;
        }
        // Fourth: a SYN in the window of a passive opening returns to LISTEN; RFC 5961 §4 prefers a challenge.
        if segment.flags.syn && !crossed {
            self.challenge(ctx, segment);
            return Disposition::Kept;
        }
        let Some(ack) = segment.ack else { return Disposition::Kept };
        if ack.is_at_or_before(self.send.unacknowledged) || ack.is_after(self.send.next) {
            return Disposition::RefuseSegment { seq: ack };
        }
        self.send.unacknowledged = self.send.initial.plus(1);
        let shift = if segment.flags.syn { 0 } else { self.send.window_shift };
        self.send.begin_window(segment.seq, usize::from(segment.window) << shift);
        self.synchronize_due = false;
        self.establish(ctx);
        if crossed {
            self.receive.acknowledge_now = true;
        }
        self.receive.note_timestamp(ctx.now, segment);
        self.take_text(ctx, segment)
    }

    fn on_reset_syn_received(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        // RFC 5961 §3.2: exactly at RCV.NXT it counts, elsewhere in the window it is challenged.
        if segment.seq == self.receive.next {
            let reason = if self.active { Ended::Reset(ResetReason::Refused) } else { Ended::BackToListen };
            return Disposition::Ended(reason);
        }
        if self.receive.is_acceptable(segment) {
            self.challenge(ctx, segment);
        }
        Disposition::Kept
    }
}
