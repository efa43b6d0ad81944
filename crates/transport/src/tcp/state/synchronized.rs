//! The states after the handshake: RFC 9293 §3.10.7.4.

use super::Disposition;
use crate::tcp::receive::AckDelays;
use crate::tcp::send::AckVerdict;
use crate::tcp::{Connection, Context};
use crate::wire::tcp::Segment;

/// Milliseconds after which an echo of our clock is none: four and a half hours.
const ECHO_AGE_MAX: u32 = 1 << 24;

impl Connection {
    pub(super) fn on_segment_synchronized(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        if let Some(disposition) = self.check_sequence(ctx, segment) {
            return disposition;
        }
        // RFC 9293 §3.10.7.4 fifth: without ACK there is nothing to process.
        if segment.ack.is_none() {
            return Disposition::Kept;
        }
        self.receive.note_timestamp(ctx.now, segment);
        if self.take_acknowledgement(ctx, segment) == AckVerdict::Unacceptable {
            // RFC 5961 §5.2.
            self.challenge(ctx, segment);
            return Disposition::Kept;
        }
        let ended = self.after_acknowledgement(ctx);
        if ended != Disposition::Kept {
            return ended;
        }
        self.take_text(ctx, segment)
    }

    /// Fifth: the acknowledgement, and what the caller should know of it.
    pub(super) fn take_acknowledgement(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> AckVerdict {
        let echoed = self.echoed_clock(ctx, segment);
        let verdict = self.send.on_acknowledgement(ctx, segment, echoed);
        if verdict == (AckVerdict::Accepted { advanced: true }) {
            self.offer_space(ctx);
        }
        verdict
    }

    /// RFC 7323 §4.1: the echo of our clock, in milliseconds and without the connection's offset.
    fn echoed_clock(&self, ctx: &Context<'_>, segment: &Segment<'_>) -> Option<u32> {
        let timestamp = segment.options.timestamp.filter(|_| self.agreed.timestamps)?;
        let clock = timestamp.echo.wrapping_sub(self.timestamp_offset);
        let elapsed = ctx.now.milliseconds().wrapping_sub(clock);
        (timestamp.echo != 0 && elapsed < ECHO_AGE_MAX).then_some(clock)
    }

    /// Seventh and eighth: text and FIN.
    pub(super) fn take_text(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        self.note_congestion_marks(segment);
        if segment.length() == usize::from(segment.flags.syn) {
            return Disposition::Kept;
        }
        if self.receive.finished {
            // Nothing comes after FIN: an old segment, or nonsense. The acknowledgement tells where we are.
            self.receive.acknowledge_now = true;
            return Disposition::Kept;
        }
        let text_end = segment.seq.plus(usize::from(segment.flags.syn) + segment.payload.len());
        if self.orphan && !segment.payload.is_empty() && text_end.is_after(self.receive.next) {
            return Disposition::Ended(super::Ended::NobodyReads);
        }
        let size = self.send.payload_size();
        let taken = self.receive.take(ctx.now, segment, size, AckDelays::of(&self.options), ctx.pool);
        self.notices.readable |= taken.readable;
        if taken.finished { self.on_peer_finished() } else { Disposition::Kept }
    }

    /// RFC 3168 §6.1.3: echo a mark until the sender says that it reduced its window.
    fn note_congestion_marks(&mut self, segment: &Segment<'_>) {
        if !self.agreed.ecn {
            return;
        }
        if segment.flags.cwr {
            self.receive.echo_congestion = false;
        }
        if segment.congestion_experienced && !segment.payload.is_empty() {
            self.receive.echo_congestion = true;
            self.receive.acknowledge_now = true;
        }
    }
}
