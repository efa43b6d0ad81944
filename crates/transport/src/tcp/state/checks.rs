//! Checks before anything is believed: old duplicates (RFC 7323 §5) and blind attacks (RFC 5961).

use super::{Disposition, Ended};
use crate::event::ResetReason;
use crate::tcp::{Connection, Context};
use crate::time::Interval;
use crate::wire::tcp::Segment;

/// Two ends whose sequence numbers fell apart would answer each other's bare acknowledgements for ever; as in Linux, such
/// are answered only so often.
const ANSWER_INTERVAL: Interval = Interval::from_millis(500);

impl Connection {
    /// PAWS (RFC 7323 §5.3 R1): a segment with an older clock than the last in-window one is an old duplicate. The
    /// disposition if the segment must be dropped.
    pub(super) fn check_timestamp(&mut self, ctx: &Context<'_>, segment: &Segment<'_>) -> Option<Disposition> {
        if !self.agreed.timestamps || segment.flags.rst {
            return None;
        }
        // RFC 7323 §3.2: once agreed, a segment without the option is dropped silently.
        let Some(timestamp) = segment.options.timestamp else { return Some(Disposition::Kept) };
        if self.receive.is_clock_old(ctx.now, timestamp.value) {
            self.answer_unacceptable(ctx, segment);
            return Some(Disposition::Kept);
        }
        None
    }

    /// RFC 5961 §3 to §5: an acknowledgement that only the true peer can answer. §7's throttle is each connection's own: one
    /// for the whole stack tells an attacker on a connection of his what happens on others' (CVE-2016-5696).
    pub(super) fn challenge(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) {
        if self.may_answer(ctx) {
            self.receive.note_duplicate(segment);
            self.receive.acknowledge_now = true;
        }
    }

    /// Whether the last such answer is long enough ago; if so, this is one.
    fn may_answer(&mut self, ctx: &Context<'_>) -> bool {
        let recent = |at| ctx.now.since(at) < ANSWER_INTERVAL;
        let may = !self.answered_at.is_some_and(recent);
        if may {
            self.answered_at = Some(ctx.now);
        }
        may
    }

    /// RFC 9293 §3.10.7.4 first: what is out of place is answered with the state of things, and told if it is a duplicate.
    pub(super) fn answer_unacceptable(&mut self, ctx: &Context<'_>, segment: &Segment<'_>) {
        let bare = segment.payload.is_empty() && !segment.flags.fin;
        if bare && !self.may_answer(ctx) {
            return;
        }
        self.receive.note_duplicate(segment);
        self.receive.acknowledge_now = true;
    }

    /// First to fourth of RFC 9293 §3.10.7.4: the disposition if the segment goes no further.
    pub(super) fn check_sequence(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Option<Disposition> {
        if let Some(disposition) = self.check_timestamp(ctx, segment) {
            return Some(disposition);
        }
        if !self.receive.is_acceptable(segment) {
            // RFC 5961 §4.2: a SYN is challenged wherever it stands. Anything else but RST is answered with the state of things.
            if segment.flags.syn && !segment.flags.rst {
                self.challenge(ctx, segment);
            } else if !segment.flags.rst {
                self.answer_unacceptable(ctx, segment);
                // RFC 9293 §3.10.7.4: with a shut window, acknowledgements are processed all the same.
                if segment.seq == self.receive.next && self.receive.window() == 0 {
                    self.take_acknowledgement(ctx, segment);
                }
            }
            return Some(Disposition::Kept);
        }
        if segment.flags.rst {
            // RFC 5961 §3.2.
            if segment.seq == self.receive.next {
                return Some(Disposition::Ended(Ended::Reset(ResetReason::ByPeer)));
            }
            self.challenge(ctx, segment);
            return Some(Disposition::Kept);
        }
        if segment.flags.syn {
            self.challenge(ctx, segment);
            return Some(Disposition::Kept);
        }
        None
    }
}
