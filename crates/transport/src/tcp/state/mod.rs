//! What a segment means in each state (RFC 9293 §3.10.7). Handlers change the connection and return a disposition; what
//! concerns others (tables, events, answers outside of the stream) is the caller's to do.

mod checks;
mod ending;
mod syn_received;
mod syn_sent;
mod synchronized;

use super::status::State;
use super::{Connection, Context, Seq};
use crate::event::ResetReason;
use crate::wire::tcp::Segment;

/// What is left to do after a segment or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The connection goes on; it may have something to send or to tell.
    Kept,
    /// The connection goes on; the segment is answered with RST at this sequence number.
    RefuseSegment { seq: Seq },
    /// The connection is over.
    Ended(Ended),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Both FINs are acknowledged and the peer's came last: remember the ends for 2 MSL.
    TimeWait,
    /// Both FINs are acknowledged and ours came last.
    Closed,
    /// By RST or in despair: the caller is told why. The peer is sent RST if `TimedOut`.
    Reset(ResetReason),
    /// Data came for a caller that is gone: the peer is sent RST.
    NobodyReads,
    /// A passive opening that came to nothing (RFC 9293: back to LISTEN).
    BackToListen,
    /// Nobody waits for it any more.
    Forgotten,
}

impl Connection {
    /// Takes a segment that belongs to this connection.
    pub(crate) fn on_segment(&mut self, ctx: &mut Context<'_>, segment: &Segment<'_>) -> Disposition {
        self.heard = ctx.now;
        self.keep_alive_probes = 0;
        match self.state {
            State::SynSent => self.on_segment_syn_sent(ctx, segment),
            State::SynReceived => self.on_segment_syn_received(ctx, segment),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => self.on_segment_synchronized(ctx, segment),
            State::Closed | State::Listen | State::TimeWait => Disposition::Kept,
        }
    }

    /// The handshake is complete.
    fn establish(&mut self, ctx: &Context<'_>) {
        self.state = if self.send.shut { State::FinWait1 } else { State::Established };
        self.notices.connected = true;
        self.send.stop_handshake_timer();
        self.keep_alive_at = self.options.keep_alive.map(|keep_alive| ctx.now + keep_alive.idle);
        if self.attempts > 1 {
            self.send.restart_from_one();
            self.send.round_trip.note_lost_syn();
        }
        if let Some(sent) = self.synchronized_at.take() {
            self.send.round_trip.measure(ctx.now, ctx.now.since(sent));
        }
    }
}
