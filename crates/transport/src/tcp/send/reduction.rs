//! Proportional rate reduction (RFC 6937, RFC 9937): while losses are repaired, what is sent follows what arrives, so that the
//! window is at its new size when recovery ends, and no burst nor silence is on the way there.

/// One recovery's account. Its `window` takes the place of the congestion window meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reduction {
    /// RecoverFS: what was under way when recovery began, and not acknowledged selectively before.
    flight: usize,
    /// prr_delivered and prr_out.
    delivered: usize,
    sent: usize,
    /// cwnd.
    pub(super) window: usize,
}

/// What an acknowledgement says to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// DeliveredData: bytes newly acknowledged, by number or selectively.
    pub(super) delivered: usize,
    /// SafeACK: SND.UNA moved, and nothing more is lost.
    pub(super) safe: bool,
    /// Bytes believed to be in the network.
    pub(super) pipe: usize,
    /// ssthresh.
    pub(super) target: usize,
    pub(super) segment_size: usize,
}

impl Reduction {
    pub(super) fn new(flight: usize) -> Reduction {
        Reduction { flight: flight.max(1), delivered: 0, sent: 0, window: 0 }
    }

    /// RFC 9937 §5, on every acknowledgement.
    pub(super) fn on_acknowledgement(&mut self, progress: &Progress) {
        let Progress { delivered, safe, pipe, target, segment_size } = *progress;
        self.delivered += delivered;
        let allowed = if pipe > target {
            // Proportional: as much of what arrives as the target is of the flight.
            (self.delivered * target).div_ceil(self.flight).saturating_sub(self.sent)
        } else {
            // More was lost than the reduction: back up to the target, by as much as arrives, or a segment more if all is well.
            let conserved = self.delivered.saturating_sub(self.sent).max(delivered);
            let bound = conserved + if safe { segment_size } else { 0 };
            bound.min(target - pipe)
        };
        // The first retransmission waits for nothing.
        let allowed = if self.sent == 0 { allowed.max(segment_size) } else { allowed };
        self.window = pipe + allowed;
    }

    pub(super) fn note_sent(&mut self, length: usize) {
        self.sent += length;
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Reduction};

    const SEGMENT: usize = 1000;

    /// A hundred segments under way, of which the first `lost` are; the window at the end, and the most that one
    /// acknowledgement let out.
    fn recover(lost: usize, target: usize) -> (usize, usize) {
        let mut reduction = Reduction::new(100 * SEGMENT);
        let (mut in_network, mut repaired, mut most) = (100 - lost, 0, 0);
        for _ in lost..100 {
            in_network -= 1;
            let pipe = in_network * SEGMENT;
            let progress =
                Progress { delivered: SEGMENT, safe: false, pipe, target: target * SEGMENT, segment_size: SEGMENT };
            reduction.on_acknowledgement(&progress);
            let mut now = 0;
            while in_network * SEGMENT + SEGMENT <= reduction.window {
                in_network += 1;
                repaired += 1;
                now += 1;
                reduction.note_sent(SEGMENT);
            }
            most = most.max(now);
        }
        assert!(repaired > 0);
        (in_network, most)
    }

    #[test]
    fn what_is_sent_follows_what_arrives() {
        // One lost: half of what arrives, so that fifty are under way in the end, and never two at once.
        let (end, most) = recover(1, 50);
        assert!((49..=51).contains(&end), "{end}");
        assert_eq!(most, 1);
        let (end, _) = recover(1, 70);
        assert!((69..=71).contains(&end), "{end}");
        // So much lost that less is under way than the target: one for each that arrives, no burst.
        let (end, most) = recover(80, 50);
        assert_eq!((end, most), (20, 1));
    }
}
