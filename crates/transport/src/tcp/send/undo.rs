//! Taking a recovery back whose every retransmission turned out to be needless, because packets were late and not lost:
//! found by duplicate SACKs (RFC 3708), answered as RFC 9438 §4.9.2 and, after a timeout, RFC 4015 advise.

use super::SendHalf;
use super::loss::{Delivered, Recovery};
use super::spurious::ForwardRecovery;
use crate::tcp::Seq;
use crate::tcp::congestion::Congestion;
use crate::time::Time;

/// What it takes to take a recovery back.
#[derive(Debug)]
pub(super) struct Undo {
    /// The congestion window and its curve before the recovery.
    pub(super) before: Congestion,
    /// What was under way then.
    pub(super) start: Seq,
    pub(super) end: Seq,
    /// A timeout was what began it.
    timeout: bool,
    /// RFC 5682, until it is known whether that was spurious.
    pub(super) forward: Option<ForwardRecovery>,
    /// Bytes that were sent again and not reported as duplicates.
    unproven: usize,
    /// Something was sent again at all.
    repaired: bool,
    /// Once this is acknowledged, reports are no longer expected.
    expires: Option<Seq>,
}

impl SendHalf {
    /// A recovery begins.
    pub(super) fn prepare_undo(&mut self, forward: Option<ForwardRecovery>) {
        self.undo = Some(Box::new(Undo {
            before: self.congestion.clone(),
            start: self.unacknowledged,
            end: self.next,
            timeout: forward.is_some(),
            forward,
            unproven: 0,
            repaired: false,
            expires: None,
        }));
    }

    /// Bytes are sent again.
    pub(super) fn note_repair(&mut self, now: Time, length: usize) {
        if let Some(undo) = &mut self.undo {
            undo.unproven += length;
            undo.repaired = true;
            if let Some(forward) = &mut undo.forward {
                forward.note_repair(now);
            }
        }
    }

    /// An acknowledgement was processed: takes the recovery back if it reports the last of the duplicates.
    pub(super) fn try_undo(&mut self, delivered: &Delivered) {
        let Some(undo) = &mut self.undo else { return };
        if let Some((from, to)) = delivered.duplicate
            && from.is_at_or_after(undo.start)
            && to.is_at_or_before(undo.end)
        {
            undo.unproven = undo.unproven.saturating_sub(to.since(from));
            if undo.repaired && undo.unproven == 0 {
                if undo.timeout {
                    return self.take_timeout_back(delivered);
                }
                let before = undo.before.clone();
                self.congestion.restore(before);
                self.recovery = Recovery::Open;
                self.reduction = None;
                self.undo = None;
                return;
            }
        }
        // Reports come within a round trip after the last retransmission, and that is over when what is sent now arrives.
        let expires = if self.recovery.is_open() { *undo.expires.get_or_insert(self.next) } else { return };
        if self.unacknowledged.is_at_or_after(expires) && self.next.is_after(expires) {
            self.undo = None;
        }
    }
}
