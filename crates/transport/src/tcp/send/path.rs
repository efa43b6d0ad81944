//! How large segments the path takes: by ICMP errors (RFC 1191, RFC 8201), and where routers keep silent, by timeouts and by
//! probes (RFC 4821): now and then a segment larger than the others, whose loss says something about the path's links and
//! nothing about congestion.

use super::SendHalf;
use crate::tcp::{Context, PathMtu, Seq};
use crate::time::{Interval, Time};

/// Least segment size that an ICMP error makes us use: over IPv4 a path MTU of 576 (RFC 5927 §7.2), over IPv6 its least MTU
/// of 1280 (RFC 8201 §4).
pub(super) fn segment_size_min(ipv6: bool) -> u16 {
    if ipv6 { 1220 } else { 536 }
}

/// Consecutive timeouts after which large segments are suspected to be what the path swallows, and the segment size to go on
/// with: first that of the least MTU of IPv6, which nearly every path carries, then that of IPv4's 576 bytes.
const SUSPICIONS: [(u8, u16); 2] = [(3, 1220), (5, 536)];

/// RFC 4821 §7.2: where a search begins that trusts nothing.
const BASE: u16 = 1024;

/// A search ends when it is so near to what the path takes.
const PRECISION: u16 = 16;

/// RFC 1191 §6.3, RFC 8201 §5.3, RFC 4821 §7.3: after ten minutes the path may have become better.
const AGAIN_AFTER: Interval = Interval::from_secs(600);

/// The search for the path's packet size, while it takes or may take less than both ends do. `segment_size` is what is known
/// to pass, in the terms of RFC 4821 §7.2 `eff_pmtu` and `search_low` at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// Largest that both ends take.
    ceiling: u16,
    /// Least that is believed not to pass, one more than `search_high`, and until when.
    too_large: u16,
    believed_until: Time,
    /// The next probe is as large as it may be, and not in the middle: of a path that may be whole (again).
    hopeful: bool,
    probe: Option<Probe>,
    /// RFC 4821 §7.8: until this is acknowledged, a timeout takes the last raise back, to that size.
    unverified: Option<(Seq, u16)>,
}

/// A probe under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    start: Seq,
    end: Seq,
    size: u16,
}

impl SendHalf {
    /// The sizes are agreed. A connection that trusts nothing begins small.
    pub(in crate::tcp) fn begin_search(&mut self, now: Time) {
        let ceiling = self.segment_size;
        self.search = None;
        if self.path_mtu == PathMtu::Always && ceiling > BASE {
            self.set_segment_size(BASE, self.option_bytes);
            self.search = Some(Box::new(Search::new(now, ceiling)));
        }
    }

    /// The path takes segments of `segment_size` only: what is under way and larger is lost. RFC 8201 §4: less than the
    /// family's least MTU is not believed, and a larger value than ours says nothing, but of a probe.
    pub(in crate::tcp) fn on_packet_too_big(&mut self, ctx: &mut Context<'_>, segment_size: u16) {
        if segment_size >= self.segment_size {
            self.on_probe_too_big(segment_size);
        } else if segment_size >= self.segment_size_min {
            self.shrink_segments(ctx.now, segment_size);
            self.undo = None;
            if let Some(search) = &mut self.search {
                (search.too_large, search.hopeful) = (segment_size + 1, false);
            }
            self.scoreboard.mark_lost(|_| true);
            self.start_timers(ctx.now, ctx.config);
        }
    }

    /// RFC 4821 §7.6.2: the router says what passes, so that is tried next.
    fn on_probe_too_big(&mut self, segment_size: u16) {
        let Some(search) = &mut self.search else { return };
        let Some(probe) = search.probe.take_if(|probe| probe.size > segment_size) else { return };
        (search.too_large, search.hopeful) = (segment_size + 1, segment_size > self.segment_size);
        self.rack.repair_due = self.scoreboard.mark_lost(|record| record.start == probe.start);
    }

    /// The retransmission timer ran out for the `timeouts`th time in a row, and everything counts as lost.
    pub(super) fn suspect_path(&mut self, now: Time, timeouts: u8) {
        self.end_probe_by_timeout(now);
        if self.path_mtu == PathMtu::Icmp || self.take_raise_back(now) {
            return;
        }
        let suspicion = SUSPICIONS.iter().find(|(count, _)| *count == timeouts);
        let Some((_, segment_size)) = suspicion else { return };
        let segment_size = self.segment_size_min.max(*segment_size);
        if self.segment_size > segment_size && self.outstanding() > usize::from(segment_size) {
            self.shrink_segments(now, segment_size);
        }
    }

    fn shrink_segments(&mut self, now: Time, segment_size: u16) {
        let ceiling = self.search.as_ref().map_or(self.segment_size, |search| search.ceiling);
        self.search = Some(Box::new(Search::new(now, ceiling)));
        self.set_segment_size(segment_size, self.option_bytes);
    }

    /// Without probes the former size is tried again when it is time. If the path still takes less, ICMP says so again.
    pub(in crate::tcp) fn raise_segments(&mut self, now: Time) {
        let may = self.path_mtu == PathMtu::Icmp && self.recovery.is_open();
        if let Some(search) = self.search.take_if(|search| may && search.believed_until <= now) {
            self.set_segment_size(search.ceiling, self.option_bytes);
        }
    }

    /// The segment size to probe now, if it is time.
    pub(super) fn probe_size(&mut self, now: Time) -> Option<u16> {
        let open = self.path_mtu != PathMtu::Icmp && self.recovery.is_open();
        let quiet = !self.scoreboard.has_lost() && self.scoreboard.sacked() == 0;
        let search = self.search.as_mut().filter(|_| open && quiet)?;
        if search.probe.is_some() {
            return None;
        }
        if search.believed_until <= now {
            search.reopen(now);
        }
        let span = search.too_large - self.segment_size;
        match search.hopeful {
            true if span > 1 => Some(search.too_large - 1),
            false if span > PRECISION => Some(self.segment_size + span / 2),
            _ => None,
        }
    }

    /// A probe went out.
    pub(super) fn probing(&mut self, start: Seq, end: Seq, size: u16) {
        if let Some(search) = &mut self.search {
            search.probe = Some(Probe { start, end, size });
        }
    }

    /// How many of the first bytes under way are one segment.
    pub(super) fn first_segment(&self) -> usize {
        let probe = self.search.as_ref().and_then(|search| search.probe);
        let first = probe.filter(|probe| probe.start == self.unacknowledged);
        first.map_or(self.payload_size(), |probe| probe.end.since(probe.start))
    }

    /// An acknowledgement was booked: RFC 4821 §7.6.1 and §7.8.
    pub(super) fn note_probe_delivered(&mut self) {
        let Some(search) = &mut self.search else { return };
        let (acknowledged, next) = (self.unacknowledged, self.next);
        if let Some(probe) = search.probe.take_if(|probe| acknowledged.is_at_or_after(probe.end)) {
            let former = search.unverified.map_or(self.segment_size, |(_, former)| former);
            search.unverified = Some((next, former));
            search.hopeful = false;
            self.set_segment_size(probe.size, self.option_bytes);
            return;
        }
        search.unverified.take_if(|(end, _)| acknowledged.is_at_or_after(*end));
        if search.unverified.is_none() && self.segment_size >= search.ceiling {
            self.search = None;
        }
    }

    /// RFC 4821 §7.6.2: whether all that is lost is a probe, which then was too large. It is sent again as ordinary segments,
    /// and the congestion window stays.
    pub(super) fn note_probe_lost(&mut self, now: Time) -> bool {
        let Some(search) = &mut self.search else { return false };
        let Some(probe) = search.probe else { return false };
        let lost = self.scoreboard.first_lost();
        let alone = self.recovery.is_open() && self.scoreboard.is_only_lost(probe.start, probe.end);
        if alone {
            search.fail(now, probe.size);
            self.rack.repair_due = true;
        } else if lost.is_some_and(|(start, _)| start.is_at_or_before(probe.start)) {
            // §7.6.4: more was lost, which says nothing about the probe.
            search.probe = None;
        }
        alone
    }

    /// RFC 4821 §7.6.3: the first that is missing is the probe.
    fn end_probe_by_timeout(&mut self, now: Time) {
        let Some(search) = &mut self.search else { return };
        if let Some(probe) = search.probe.take_if(|probe| probe.start == self.unacknowledged) {
            search.fail(now, probe.size);
            self.undo = None;
        }
        search.probe = None;
    }

    /// RFC 4821 §7.8: whether what was raised last did not prove itself.
    fn take_raise_back(&mut self, now: Time) -> bool {
        let Some(search) = &mut self.search else { return false };
        let Some((_, former)) = search.unverified.take() else { return false };
        search.fail(now, self.segment_size);
        self.set_segment_size(former, self.option_bytes);
        true
    }
}

impl Search {
    /// Nothing is known but what both ends take.
    fn new(now: Time, ceiling: u16) -> Search {
        let believed_until = now + AGAIN_AFTER;
        Search { ceiling, too_large: ceiling + 1, believed_until, hopeful: true, probe: None, unverified: None }
    }

    /// What did not pass may do so now.
    fn reopen(&mut self, now: Time) {
        *self = Search { unverified: self.unverified, ..Search::new(now, self.ceiling) };
    }

    /// The size did not pass.
    fn fail(&mut self, now: Time, size: u16) {
        self.probe = None;
        (self.too_large, self.hopeful) = (size, false);
        self.believed_until = now + AGAIN_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::SendHalf;
    use crate::tcp::{Seq, SocketOptions};

    #[test]
    fn suspicion_stops_at_the_least_mtu_of_the_family() {
        let now = crate::time::Time::START;
        for (ipv6, least) in [(false, 536), (true, 1220)] {
            let mut half = SendHalf::new(Seq(0), 1440, ipv6, &SocketOptions::default());
            half.next = Seq(5000);
            half.suspect_path(now, 3);
            assert_eq!(half.segment_size, 1220);
            half.suspect_path(now, 5);
            assert_eq!(half.segment_size, least);
        }
    }
}
