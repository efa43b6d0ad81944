//! Which segments are lost and what follows: RACK (RFC 8985) where the peer acknowledges selectively, otherwise
//! duplicate acknowledgements (RFC 5681 §3.2, RFC 6582). Recovery sends by `pipe` (RFC 6675 §5).

use super::SendHalf;
use super::reduction::{Progress, Reduction};
use super::scoreboard::Sent;
use crate::tcp::Seq;
use crate::tcp::congestion::Acked;
use crate::time::{Interval, Time};
use crate::wire::tcp::SackBlock;

/// RFC 5681 §3.2 and RFC 6675 §2.
const DUPLICATES: u8 = 3;

/// RFC 8985 §6.2 step 4: how many recoveries a widened reordering window lasts.
const WIDE_WINDOW_RECOVERIES: u8 = 16;

/// What an acknowledgement newly delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivered {
    /// Bytes by which SND.UNA moved.
    pub(super) cumulative: usize,
    /// DeliveredData of RFC 9937: these without what was acknowledged selectively before, and what is so now.
    pub(super) bytes: usize,
    /// What was acknowledged selectively before.
    pub(super) sacked_before: usize,
    /// The latest transmission among what was delivered, and whether it was one of several of the same data.
    newest: Option<(Time, Seq, bool)>,
    /// When the latest of those that were sent only once was sent.
    pub(super) newest_once: Option<Time>,
    /// The highest delivered that was sent only once.
    pub(super) highest_once: Option<Seq>,
    /// Something that was sent again is among it.
    pub(super) repaired: bool,
    /// DSACK (RFC 2883): this arrived twice.
    pub(super) duplicate: Option<SackBlock>,
    /// What our clock showed, in milliseconds, when what is answered was sent (RFC 7323 §3.2).
    pub(super) echoed: Option<u32>,
    /// ECE (RFC 3168).
    pub(super) marked: bool,
}

impl Delivered {
    /// Nothing yet, where so much was acknowledged selectively before.
    pub(super) fn after(sacked_before: usize) -> Delivered {
        Delivered { sacked_before, ..Delivered::default() }
    }

    pub(super) fn note(&mut self, record: &Sent) {
        self.repaired |= record.retransmitted;
        if record.reported_before {
            return;
        }
        if self.newest.is_none_or(|(at, end, _)| record.is_sent_after(at, end)) {
            self.newest = Some((record.at, record.end, record.retransmitted));
        }
        if !record.retransmitted {
            self.newest_once = self.newest_once.max(Some(record.at));
            self.highest_once = Some(self.highest_once.map_or(record.end, |end| end.max(record.end)));
        }
    }

    /// Whether what is answered was sent before that.
    pub(super) fn echoes_before(&self, at: Time) -> bool {
        self.echoed.is_some_and(|clock| (clock.wrapping_sub(at.milliseconds()) as i32) < 0)
    }
}

/// RFC 8985 §5.2.
#[derive(Debug, Default)]
pub(super) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq.
    latest: Option<(Time, Seq)>,
    /// RACK.rtt.
    round_trip: Interval,
    /// RACK.fack.
    highest: Option<Seq>,
    reordering_seen: bool,
    /// RACK.reo_wnd_mult, as what is added to one.
    widened: u8,
    /// RACK.reo_wnd_persist.
    wide_for: u8,
    /// RACK.dsack_round.
    duplicate_round: Option<Seq>,
    /// Duplicate acknowledgements in a row, for peers without SACK.
    duplicates: u8,
    /// Bytes that these say have left the network.
    departed: u32,
    /// The next retransmission goes out whatever the congestion window says.
    pub(super) repair_due: bool,
}

/// Where recovery stands; `end` is RecoveryPoint of RFC 6675.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    Open,
    Fast {
        end: Seq,
    },
    /// After the retransmission timer.
    Loss {
        end: Seq,
    },
}

impl Recovery {
    pub(super) fn is_open(self) -> bool {
        self == Recovery::Open
    }
}

impl Rack {
    /// What arrived last is not known any more.
    pub(super) fn forget_latest(&mut self) {
        self.latest = None;
    }
}

impl SendHalf {
    /// Bytes that are believed to be in the network. Without SACK each duplicate acknowledgement says that one segment left
    /// it, which is what RFC 3042 and RFC 5681 §3.2 step 4 express by a larger window.
    pub(super) fn in_flight(&self) -> usize {
        self.scoreboard.in_flight().saturating_sub(self.rack.departed as usize)
    }

    /// Loss detection, recovery and the congestion window, after an acknowledgement was booked. `flight` was FlightSize
    /// before it (RFC 5681 §2): what was sent and not acknowledged, whatever left the network meanwhile.
    pub(super) fn after_delivery(
        &mut self,
        now: Time,
        acked: &Acked,
        delivered: &Delivered,
        duplicate: bool,
        newly_sacked: usize,
        flight: usize,
    ) {
        let spurious = self.is_timeout_spurious(delivered, duplicate);
        if spurious {
            self.take_timeout_back(delivered);
        }
        self.leave_recovery();
        self.note_probe_delivered();
        let lost = if self.sack {
            self.update_rack(now, delivered);
            let needed = self.scoreboard.sacked() > 0 || !self.recovery.is_open() || self.rack.reordering_seen;
            needed && self.detect_by_time(now)
        } else {
            self.detect_by_duplicates(acked, duplicate)
        };
        self.end_tail_probe(delivered, duplicate || newly_sacked > 0, flight);
        if lost {
            self.on_lost(now, flight, delivered.sacked_before);
        } else if !spurious && !matches!(self.recovery, Recovery::Fast { .. }) && acked.bytes > 0 {
            self.congestion.on_acknowledged(acked);
        }
        self.reduce_proportionally(delivered, lost);
        self.try_undo(delivered);
    }

    /// RFC 9937 §5.
    fn reduce_proportionally(&mut self, delivered: &Delivered, lost: bool) {
        let (pipe, target, segment_size) = (self.in_flight(), self.congestion.window(), self.payload_size());
        let Some(reduction) = &mut self.reduction else { return };
        let safe = delivered.cumulative > 0 && !lost;
        reduction.on_acknowledgement(&Progress { delivered: delivered.bytes, safe, pipe, target, segment_size });
    }

    fn leave_recovery(&mut self) {
        let end = match self.recovery {
            Recovery::Open => return,
            Recovery::Fast { end } | Recovery::Loss { end } => end,
        };
        if self.unacknowledged.is_at_or_after(end) {
            self.recovery = Recovery::Open;
            self.reduction = None;
            self.rack.duplicates = 0;
            self.rack.departed = 0;
            self.rack.repair_due = false;
            self.rack.wide_for = self.rack.wide_for.saturating_sub(1);
            if self.rack.wide_for == 0 {
                self.rack.widened = 0;
            }
        }
    }

    /// Something is newly lost. So much of the flight was acknowledged selectively before that showed.
    pub(super) fn on_lost(&mut self, now: Time, flight: usize, sacked: usize) {
        if !self.note_probe_lost(now) {
            self.enter_recovery(flight, sacked);
        }
    }

    /// Reduces the window once per recovery.
    fn enter_recovery(&mut self, flight: usize, sacked: usize) {
        if self.recovery.is_open() {
            self.prepare_undo(None);
            self.congestion.on_congestion(flight);
            self.congestion_window_reduced = self.ecn;
            self.recovery = Recovery::Fast { end: self.next };
            // Without SACK each duplicate stands for a segment, which RFC 6582's inflation of the window says already.
            self.reduction = self.sack.then(|| Box::new(Reduction::new(flight.saturating_sub(sacked))));
            // RFC 5681 §3.2 step 3, RFC 6675 §5 (4.3): the first retransmission waits for nothing.
            self.rack.repair_due = true;
        }
    }

    /// RFC 8985 §6.2 steps 2 and 3.
    fn update_rack(&mut self, now: Time, delivered: &Delivered) {
        if let Some((at, end, retransmitted)) = delivered.newest {
            let round_trip = now.since(at);
            // Too early for an answer to the second transmission, or to what was sent before it: it answers the first.
            let early = self.round_trip.minimum().is_some_and(|least| round_trip < least);
            let ambiguous = retransmitted && (early || delivered.echoes_before(at));
            if !ambiguous {
                self.rack.round_trip = round_trip;
                let later = self.rack.latest.is_none_or(|(then, seq)| at > then || (at == then && end.is_after(seq)));
                if later {
                    self.rack.latest = Some((at, end));
                }
            }
        }
        if let Some(end) = delivered.highest_once {
            match self.rack.highest {
                Some(highest) if end.is_before(highest) => self.rack.reordering_seen = true,
                Some(highest) => self.rack.highest = Some(highest.max(end)),
                None => self.rack.highest = Some(end),
            }
        }
        if self.rack.duplicate_round.is_some_and(|round| self.unacknowledged.is_at_or_after(round)) {
            self.rack.duplicate_round = None;
        }
        if delivered.duplicate.is_some() && self.rack.duplicate_round.is_none() {
            self.rack.duplicate_round = Some(self.next);
            self.rack.widened = self.rack.widened.saturating_add(1);
            self.rack.wide_for = WIDE_WINDOW_RECOVERIES;
        }
    }

    /// RFC 8985 §6.2 step 4.
    fn reordering_window(&self) -> Interval {
        if !self.rack.reordering_seen {
            let enough = self.scoreboard.sacked() >= usize::from(DUPLICATES) * self.payload_size();
            if !self.recovery.is_open() || enough {
                return Interval::ZERO;
            }
        }
        let quarter = self.round_trip.minimum().unwrap_or_default() / 4;
        let wide = quarter * (u64::from(self.rack.widened) + 1);
        wide.min(self.round_trip.smoothed().unwrap_or_default())
    }

    /// RFC 8985 §6.2 step 5: what was sent a reordering window before something that arrived is lost. Sets the reordering
    /// timer for what is not yet. Whether anything is newly lost.
    pub(super) fn detect_by_time(&mut self, now: Time) -> bool {
        self.timers.reorder = None;
        let Some((latest, latest_end)) = self.rack.latest else { return false };
        let wait = self.rack.round_trip + self.reordering_window();
        let mut until: Option<Time> = None;
        let lost = self.scoreboard.mark_lost(|record| {
            if record.is_sent_after(latest, latest_end) || (record.at == latest && record.end == latest_end) {
                return false;
            }
            let due = record.at + wait;
            if due > now {
                until = until.max(Some(due));
            }
            due <= now
        });
        self.timers.reorder = until;
        lost
    }

    /// RFC 5681 §3.2 step 2 and RFC 6582 §3.2 step 3, for peers without SACK.
    fn detect_by_duplicates(&mut self, acked: &Acked, duplicate: bool) -> bool {
        if acked.bytes > 0 {
            self.rack.duplicates = 0;
            if !matches!(self.recovery, Recovery::Fast { .. }) {
                self.rack.departed = 0;
                return false;
            }
            // A partial acknowledgement: all but the retransmission had departed, and the next segment is lost too.
            let departed = acked.bytes.saturating_sub(self.payload_size()) as u32;
            self.rack.departed = self.rack.departed.saturating_sub(departed);
            self.rack.repair_due = self.scoreboard.mark_first_lost(self.first_segment());
            return self.rack.repair_due;
        }
        if !duplicate || matches!(self.recovery, Recovery::Loss { .. }) {
            return false;
        }
        self.rack.departed = self.rack.departed.saturating_add(self.payload_size() as u32);
        self.rack.duplicates = self.rack.duplicates.saturating_add(1);
        self.rack.duplicates == DUPLICATES
            && self.recovery.is_open()
            && self.scoreboard.mark_first_lost(self.first_segment())
    }

    /// RFC 8985 §7.4.2: whether the probe repaired a loss, which then counts as one.
    fn end_tail_probe(&mut self, delivered: &Delivered, duplicate: bool, flight: usize) {
        let Some((end, retransmission)) = self.timers.tail_probe else { return };
        if self.unacknowledged.is_before(end) {
            return;
        }
        if !retransmission || delivered.duplicate.is_some() {
            self.timers.tail_probe = None;
        } else if self.unacknowledged.is_after(end) {
            // Acknowledged past the probe without a report of a duplicate: only the probe arrived.
            self.timers.tail_probe = None;
            if self.recovery.is_open() {
                self.congestion.on_congestion(flight);
            }
        } else if duplicate {
            self.timers.tail_probe = None;
        }
    }

    /// RFC 6298 §5 and RFC 5681 §3.1: everything counts as lost.
    pub(super) fn enter_loss(&mut self) {
        self.doubt_timeout();
        let first = !matches!(self.recovery, Recovery::Loss { .. });
        self.congestion.on_timeout(self.outstanding(), first);
        self.congestion_window_reduced = self.ecn;
        self.scoreboard.forget_sacks();
        self.scoreboard.mark_lost(|_| true);
        self.reduction = None;
        self.recovery = Recovery::Loss { end: self.next };
        self.rack.duplicates = 0;
        self.rack.departed = 0;
        self.rack.repair_due = false;
    }
}
