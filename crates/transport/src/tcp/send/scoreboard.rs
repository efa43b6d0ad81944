//! What is sent and not acknowledged: one record per transmission, so a 64 KiB segment costs one.
//!
//! Invariants: records are in sequence order and together cover exactly SND.UNA to SND.NXT; a record is at most one of
//! sacked and lost; `sacked` and `lost` are the sums of their lengths.

use std::collections::VecDeque;

use crate::tcp::Seq;
use crate::time::Time;
use crate::wire::tcp::SackBlock;

/// So many records are always allowed, and one more for so many bytes under way: less than the segments of nearly every path.
const RECORDS_MIN: usize = 64;
const RECORD_BYTES: usize = 512;

/// One transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) start: Seq,
    pub(super) end: Seq,
    pub(super) at: Time,
    pub(super) sacked: bool,
    pub(super) lost: bool,
    pub(super) retransmitted: bool,
    /// It was acknowledged selectively before a timeout, so when it arrived is not known any more.
    pub(super) reported_before: bool,
}

impl Sent {
    fn length(&self) -> usize {
        self.end.since(self.start)
    }

    /// RFC 8985 §6.2 step 2: whether this was sent after another transmission.
    pub(super) fn is_sent_after(&self, at: Time, end: Seq) -> bool {
        self.at > at || (self.at == at && self.end.is_after(end))
    }
}

/// The records, and sums over them.
#[derive(Debug, Default)]
pub(super) struct Scoreboard {
    records: VecDeque<Sent>,
    sacked: usize,
    lost: usize,
}

impl Scoreboard {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Without records no memory is kept for them.
    pub(super) fn shrink(&mut self) {
        if self.records.is_empty() {
            self.records = VecDeque::new();
        }
    }

    pub(super) fn sacked(&self) -> usize {
        self.sacked
    }

    pub(super) fn first(&self) -> Option<&Sent> {
        self.records.front()
    }

    pub(super) fn last(&self) -> Option<&Sent> {
        self.records.back()
    }

    /// Bytes that are believed to be in the network: `pipe` of RFC 6675 §4.
    pub(super) fn in_flight(&self) -> usize {
        match (self.records.front(), self.records.back()) {
            (Some(first), Some(last)) => last.end.since(first.start) - self.sacked - self.lost,
            _ => 0,
        }
    }

    /// New data was sent.
    pub(super) fn push(&mut self, start: Seq, end: Seq, at: Time) {
        if self.records.capacity() == 0 {
            // Most connections never have more than a segment under way.
            self.records.reserve_exact(1);
        }
        let [sacked, lost, retransmitted, reported_before] = [false; 4];
        self.records.push_back(Sent { start, end, at, sacked, lost, retransmitted, reported_before });
    }

    /// Everything before `ack` is acknowledged; `delivered` sees each record (or part) that was not sacked before.
    pub(super) fn acknowledge(&mut self, ack: Seq, mut delivered: impl FnMut(&Sent)) {
        while let Some(first) = self.records.front_mut() {
            if first.start.is_at_or_after(ack) {
                return;
            }
            let whole = first.end.is_at_or_before(ack);
            let gone = Sent { end: first.end.min(ack), ..*first };
            if gone.sacked {
                self.sacked -= gone.length();
            } else {
                delivered(&gone);
            }
            if gone.lost {
                self.lost -= gone.length();
            }
            if whole {
                self.records.pop_front();
            } else {
                first.start = ack;
                return;
            }
        }
    }

    /// A range is received; `delivered` sees each record that is new to it. How many bytes are new.
    pub(super) fn sack(&mut self, (from, to): SackBlock, mut delivered: impl FnMut(&Sent)) -> usize {
        let (mut index, after) = self.reported(from, to);
        let mut bytes = 0;
        while index < after {
            let record = &mut self.records[index];
            if !record.sacked {
                bytes += record.length();
                if record.lost {
                    self.lost -= record.length();
                    record.lost = false;
                }
                record.sacked = true;
                delivered(record);
            }
            index += 1;
        }
        self.sacked += bytes;
        bytes
    }

    /// The records of a reported range, from the first to after the last. Records are split at its ends while they are not
    /// too many for what is under way; beyond that the range counts as far as it covers whole records, so that a peer that
    /// reports every second byte does not make each acknowledgement dearer than the one before.
    fn reported(&mut self, from: Seq, to: Seq) -> (usize, usize) {
        let span = match (self.records.front(), self.records.back()) {
            (Some(first), Some(last)) => last.end.since(first.start),
            _ => 0,
        };
        if self.records.len() < RECORDS_MIN + span / RECORD_BYTES {
            return (self.split_at(from), self.split_at(to));
        }
        let first = self.records.partition_point(|record| record.start.is_before(from));
        (first, self.records.partition_point(|record| record.end.is_at_or_before(to)))
    }

    /// Makes a record begin at `at`, if it is within the range; the index of the first record at or after it.
    fn split_at(&mut self, at: Seq) -> usize {
        let index = self.records.partition_point(|record| record.end.is_at_or_before(at));
        let Some(record) = self.records.get_mut(index) else { return index };
        if record.start.is_at_or_after(at) {
            return index;
        }
        let rest = Sent { start: at, ..*record };
        record.end = at;
        self.records.insert(index + 1, rest);
        index + 1
    }

    /// Marks as lost what `is_lost` says, of records that are neither sacked nor lost. Whether any was.
    pub(super) fn mark_lost(&mut self, mut is_lost: impl FnMut(&Sent) -> bool) -> bool {
        let before = self.lost;
        for record in &mut self.records {
            if !record.sacked && !record.lost && is_lost(record) {
                record.lost = true;
                self.lost += record.length();
            }
        }
        self.lost > before
    }

    /// Marks the first `length` bytes as lost (NewReno, RFC 6582: the segment after a partial acknowledgement).
    pub(super) fn mark_first_lost(&mut self, length: usize) -> bool {
        let Some(first) = self.records.front().copied() else { return false };
        if first.lost || first.sacked {
            return false;
        }
        self.split_at(first.start.plus(length));
        if let Some(record) = self.records.front_mut() {
            record.lost = true;
            self.lost += record.length();
        }
        true
    }

    /// RFC 2018 §8: after a timeout the receiver may have thrown away what it had acknowledged selectively.
    pub(super) fn forget_sacks(&mut self) {
        for record in &mut self.records {
            record.reported_before |= record.sacked;
            record.sacked = false;
        }
        self.sacked = 0;
    }

    /// What counted as lost is believed to be under way after all.
    pub(super) fn forget_losses(&mut self) {
        for record in &mut self.records {
            record.lost = false;
        }
        self.lost = 0;
    }

    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Whether this record is lost and no other.
    pub(super) fn is_only_lost(&self, start: Seq, end: Seq) -> bool {
        self.lost == end.since(start) && self.first_lost() == Some((start, end))
    }

    /// The first lost range.
    pub(super) fn first_lost(&self) -> Option<(Seq, Seq)> {
        if self.lost == 0 {
            return None;
        }
        self.records.iter().find(|record| record.lost).map(|record| (record.start, record.end))
    }

    /// `start..end`, within one record, is sent again.
    pub(super) fn retransmit(&mut self, start: Seq, end: Seq, at: Time) {
        let index = self.split_at(start);
        self.split_at(end);
        if let Some(record) = self.records.get_mut(index) {
            if record.lost {
                self.lost -= record.length();
            }
            record.lost = false;
            record.retransmitted = true;
            record.reported_before = false;
            record.at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RECORD_BYTES, RECORDS_MIN, Scoreboard};
    use crate::tcp::Seq;
    use crate::time::Time;

    #[test]
    fn sums_follow_splits() {
        let now = Time::START;
        let mut board = Scoreboard::default();
        board.push(Seq(0), Seq(100), now);
        board.push(Seq(100), Seq(150), now);
        assert_eq!(board.in_flight(), 150);
        assert_eq!(board.sack((Seq(40), Seq(120)), |_| {}), 80);
        assert_eq!(board.sack((Seq(30), Seq(60)), |_| {}), 10);
        assert_eq!((board.sacked(), board.in_flight()), (90, 60));
        assert!(board.mark_lost(|record| record.end.is_at_or_before(Seq(30))));
        assert_eq!((board.lost, board.in_flight()), (30, 30));
        assert_eq!(board.first_lost(), Some((Seq(0), Seq(30))));
        board.retransmit(Seq(0), Seq(10), now);
        assert_eq!((board.lost, board.first_lost()), (20, Some((Seq(10), Seq(30)))));
        board.acknowledge(Seq(35), |_| {});
        assert_eq!((board.lost, board.sacked(), board.in_flight()), (0, 85, 30));
        board.acknowledge(Seq(150), |_| {});
        assert!(board.is_empty());
        assert_eq!((board.lost, board.sacked(), board.in_flight()), (0, 0, 0));
    }

    #[test]
    fn a_peer_that_reports_every_second_byte_does_not_split_without_bound() {
        let now = Time::START;
        let mut board = Scoreboard::default();
        for start in (0..1_000_000).step_by(1000) {
            board.push(Seq(start), Seq(start + 1000), now);
        }
        let mut sacked = 0;
        for byte in (1..200_000).step_by(2) {
            sacked += board.sack((Seq(byte), Seq(byte + 1)), |_| {});
        }
        assert!(board.records.len() <= RECORDS_MIN + 1_000_000 / RECORD_BYTES + 2, "{}", board.records.len());
        assert_eq!(board.sacked(), sacked);
        // Whole records still count, and their parts.
        sacked += board.sack((Seq(500_500), Seq(510_500)), |_| {});
        assert_eq!(board.sacked(), sacked);
        assert_eq!(board.in_flight(), 1_000_000 - sacked);
        assert!(sacked >= 9000);
    }
}
