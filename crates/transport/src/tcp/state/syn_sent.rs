//! SYN-SENT: RFC 9293 §3.10.7.3.

use super::{Disposition, Ended};
use crate::event::ResetReason;
use crate::tcp::status::State;
use crate::tcp::{Connection, Context, Request};
use crate::wire::tcp::Segment;

impl Connection {
    pub(super) fn on_segment_syn_sent(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        // First: the acknowledgement must be of our SYN.
        if let Some(ack) = segment.ack
            && (ack.is_at_or_before(self.send.initial) || ack.is_after(self.send.next))
        {
            return if segment.flags.rst { Disposition::Kept } else { Disposition::RefuseSegment { seq: ack } };
        }
        // Second: a reset is believed only with a good acknowledgement (RFC 5961 §3 has nothing more to check here).
        if segment.flags.rst {
            return match segment.ack {
                Some(_) => Disposition::Ended(Ended::Reset(ResetReason::Refused)),
                None => Disposition::Kept,
            };
        }
        // Fourth: SYN. Without one there is nothing to do.
        if !segment.flags.syn {
            return Disposition::Kept;
        }
        self.agree_as_client(ctx, segment);
        match segment.ack {
            Some(ack) => {
                self.send.unacknowledged = ack;
                self.establish(ctx);
                self.receive.acknowledge_now = true;
                // Text on a SYN-ACK is rare and allowed: it is processed as in the states after.
                self.take_text(ctx, segment)
            }
            // RFC 9293 §3.5, figure 7: both opened at once. Our SYN goes again, with its acknowledgement.
            None => {
                self.state = State::SynReceived;
                self.synchronize_due = true;
                Disposition::Kept
            }
        }
    }

    fn agree_as_client(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) {
        let mut request = Request::new(segment, self.tuple.is_ipv6());
        // RFC 3168 §6.1.1: a SYN-ACK agrees with ECE alone; a SYN that crosses ours asks with both.
        request.ecn = segment.flags.ece && (segment.ack.is_none() == segment.flags.cwr);
        let now = ctx.now;
        let config = ctx.config;
        self.agree(now, &request, config);
    }
}
