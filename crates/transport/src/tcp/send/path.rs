//! How large segments the path takes: by ICMP errors (RFC 1191, RFC 8201), and where routers keep silent, by timeouts
//! (RFC 4821 §7.7).

use super::SendHalf;
use crate::tcp::Context;
use crate::time::{Interval, Time};

/// Least segment size that an ICMP error makes us use: over IPv4 a path MTU of 576 (RFC 5927 §7.2), over IPv6 its least MTU
/// of 1280 (RFC 8201 §4).
pub(super) fn segment_size_min(ipv6: bool) -> u16 {
    if ipv6 { 1220 } else { 536 }
}

/// Consecutive timeouts after which large segments are suspected to be what the path swallows, and the segment size to go on
/// with: first that of the least MTU of IPv6, which nearly every path carries, then that of IPv4's 576 bytes.
const SUSPICIONS: [(u8, u16); 2] = [(3, 1220), (5, 536)];

/// RFC 1191 §6.3, RFC 8201 §5.3: after ten minutes the path may have become better.
const RAISE_AFTER: Interval = Interval::from_secs(600);

/// What segments were before the path took less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shrunk {
    former: u16,
    until: Time,
}

impl SendHalf {
    /// The path takes segments of `segment_size` only: what is under way and larger is lost. RFC 8201 §4: less than the
    /// family's least MTU is not believed, and a larger value than ours says nothing.
    pub(in crate::tcp) fn on_packet_too_big(&mut self, ctx: &mut Context<'_>, segment_size: u16) {
        if segment_size >= self.segment_size || segment_size < self.segment_size_min {
            return;
        }
        self.shrink_segments(ctx.now, segment_size);
        self.scoreboard.mark_lost(|_| true);
        self.start_timers(ctx.now, ctx.config);
    }

    /// The retransmission timer ran out for the `timeouts`th time in a row, and everything counts as lost.
    pub(super) fn suspect_path(&mut self, now: Time, timeouts: u8) {
        let suspicion = SUSPICIONS.iter().find(|(count, _)| *count == timeouts);
        let Some((_, segment_size)) = suspicion else { return };
        let segment_size = self.segment_size_min.max(*segment_size);
        if self.segment_size > segment_size && self.outstanding() > usize::from(segment_size) {
            self.shrink_segments(now, segment_size);
        }
    }

    fn shrink_segments(&mut self, now: Time, segment_size: u16) {
        let former = self.shrunk.as_ref().map_or(self.segment_size, |shrunk| shrunk.former);
        self.shrunk = Some(Box::new(Shrunk { former, until: now + RAISE_AFTER }));
        self.set_segment_size(segment_size, self.option_bytes);
        self.undo = None;
    }

    /// Tries the former size again when it is time. If the path still takes less, that shows as before.
    pub(in crate::tcp) fn raise_segments(&mut self, now: Time) {
        if let Some(shrunk) = self.shrunk.take_if(|shrunk| shrunk.until <= now && self.recovery.is_open()) {
            self.set_segment_size(shrunk.former, self.option_bytes);
        }
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
