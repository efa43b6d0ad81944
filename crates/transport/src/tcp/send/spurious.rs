//! Whether the retransmission timer ran out for nothing, because packets were late and not lost: found by Forward
//! RTO-Recovery (RFC 5682) and, with timestamps, by the Eifel algorithm (RFC 3522), answered as RFC 4015 says.

use super::SendHalf;
use super::loss::{Delivered, Recovery};
use super::transmit::{Sizes, Transmission};
use crate::tcp::{Context, Seq};
use crate::time::Time;

/// RFC 5682 §2.1 (2b): so many new segments go before the next acknowledgement decides.
const NEW_SEGMENTS: usize = 2;

/// RFC 5682 §2.1 (3a): what the window would be by then without the detection.
const WINDOW_AFTER_LOSS: usize = 3;

/// A timeout of which is not known yet whether it was spurious.
#[derive(Debug)]
pub(super) struct ForwardRecovery {
    /// `recover` (RecoveryPoint of RFC 5682 §3): SND.NXT when time ran out.
    recover: Seq,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// RFC 5682's step 1: the first segment goes again, and first did so at this time, RetransmitTS of RFC 3522.
    Repeat { at: Option<Time> },
    /// Its step 2: that is acknowledged, and so many new segments may go instead of what counts as lost.
    Forward { left: usize },
}

impl ForwardRecovery {
    /// Something is sent again.
    pub(super) fn note_repair(&mut self, now: Time) {
        if let Step::Repeat { at } = &mut self.step {
            at.get_or_insert(now);
        }
    }
}

impl SendHalf {
    /// The retransmission timer runs out; what counts as lost is marked after this.
    pub(super) fn doubt_timeout(&mut self) {
        let repeated = matches!(self.forward(), Some(ForwardRecovery { step: Step::Repeat { .. }, .. }));
        match self.recovery {
            // RFC 5682 §2.1 (1). What is reported before the timeout could be reported again, and would look like late data.
            Recovery::Open if self.scoreboard.sacked() == 0 => {
                self.prepare_undo(Some(ForwardRecovery { recover: self.next, step: Step::Repeat { at: None } }));
            }
            // Still only the first segment was sent again, so that late data can be told apart as before.
            Recovery::Loss { .. } if repeated => {}
            _ => self.undo = None,
        }
    }

    fn forward(&mut self) -> Option<&mut ForwardRecovery> {
        self.undo.as_mut()?.forward.as_mut()
    }

    fn set_step(&mut self, step: Step) {
        if let Some(forward) = self.forward() {
            forward.step = step;
        }
    }

    /// Conventional recovery goes on.
    fn end_forward(&mut self) {
        if let Some(undo) = &mut self.undo {
            undo.forward = None;
        }
    }

    /// RFC 5682 §2.1 (2b): new data instead of what counts as lost; `None` where that goes.
    pub(super) fn forward_transmission(&mut self, ctx: &mut Context<'_>, sizes: Sizes) -> Option<Transmission> {
        let Step::Forward { left } = self.forward()?.step else { return None };
        let most = sizes.most.min(left * sizes.segment);
        let span = if left > 0 { self.new_span(ctx, Sizes { most, ..sizes }, false) } else { None };
        match span {
            Some(span) => {
                let left = left.saturating_sub(span.length.div_ceil(sizes.segment).max(1));
                self.set_step(Step::Forward { left });
                Some(Transmission::Span(span))
            }
            // There is nothing new that may go: conventional recovery.
            None if left == NEW_SEGMENTS => {
                self.end_forward();
                None
            }
            None => Some(Transmission::Nothing),
        }
    }

    /// An acknowledgement was booked: whether it shows that the timeout was spurious.
    pub(super) fn is_timeout_spurious(&mut self, delivered: &Delivered, duplicate: bool) -> bool {
        let Some(&mut ForwardRecovery { recover, step }) = self.forward() else { return false };
        let advanced = delivered.cumulative > 0;
        if !advanced && !duplicate && delivered.bytes == 0 {
            return false;
        }
        let (spurious, loss_window) = match step {
            // RFC 3522 §3.2 (5): the acknowledgement answers what was sent before.
            Step::Repeat { at } if advanced && at.is_none_or(|at| delivered.echoes_before(at)) => (true, false),
            Step::Repeat { .. } => {
                let repaired = self.scoreboard.first().is_some_and(|record| !record.retransmitted);
                if advanced && repaired && self.unacknowledged.is_before(recover) {
                    self.set_step(Step::Forward { left: NEW_SEGMENTS });
                    return false;
                }
                (false, false)
            }
            // RFC 5682 §2.1 (3), §3.1 (3): it arrived and was sent once, before the timeout.
            Step::Forward { .. } => {
                let late = delivered.highest_once.is_some_and(|end| end.is_at_or_before(recover));
                (late, !late)
            }
        };
        self.end_forward();
        if loss_window {
            self.congestion.set_window(WINDOW_AFTER_LOSS * self.payload_size());
        }
        spurious
    }

    /// RFC 4015 §3.2: goes on where the timeout interrupted it.
    pub(super) fn take_timeout_back(&mut self, delivered: &Delivered) {
        if !self.recovery.is_open() {
            self.recovery = Recovery::Open;
            self.scoreboard.forget_losses();
        }
        // What was sent again may not have been what is answered: nothing is overtaken by it.
        self.rack.forget_latest();
        let undo = self.undo.take();
        // Step 5: not if the path says that it is congested.
        if let Some(undo) = undo.filter(|_| !delivered.marked) {
            let flight = undo.end.since(undo.start);
            self.congestion.resume(undo.before, flight, self.in_flight(), delivered.bytes);
        }
    }
}
