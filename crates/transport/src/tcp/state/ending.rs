//! How the two FINs lead to the end: RFC 9293 §3.6 and the transitions of §3.10.7.4.

use super::{Disposition, Ended};
use crate::tcp::status::State;
use crate::tcp::{Connection, Context};

impl Connection {
    /// Our FIN may be acknowledged now.
    pub(super) fn after_acknowledgement(&mut self, ctx: &mut Context<'_>) -> Disposition {
        if !self.send.is_finished() {
            return Disposition::Kept;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.expires_when_waiting(ctx);
                Disposition::Kept
            }
            State::Closing => self.end_in_time_wait(),
            State::LastAck => {
                self.state = State::Closed;
                self.notices.closed = true;
                Disposition::Ended(Ended::Closed)
            }
            _ => Disposition::Kept,
        }
    }

    /// The peer's FIN and everything before it arrived.
    pub(super) fn on_peer_finished(&mut self) -> Disposition {
        self.notices.peer_closed = true;
        match self.state {
            State::SynReceived | State::Established => {
                self.state = State::CloseWait;
                Disposition::Kept
            }
            // Our FIN may be acknowledged by the same segment, which was processed before.
            State::FinWait1 if self.send.is_finished() => self.end_in_time_wait(),
            State::FinWait1 => {
                self.state = State::Closing;
                Disposition::Kept
            }
            State::FinWait2 => self.end_in_time_wait(),
            _ => Disposition::Kept,
        }
    }

    fn end_in_time_wait(&mut self) -> Disposition {
        self.state = State::TimeWait;
        self.notices.closed = true;
        self.expires = None;
        Disposition::Ended(Ended::TimeWait)
    }
}
