//! NewReno: additive increase, halving on loss (RFC 5681; its recovery is the sender's, RFC 6582 and 6675).

/// Counts acknowledged bytes towards the next segment of growth.
#[derive(Clone, Debug, Default)]
pub(super) struct NewReno {
    counted: usize,
}

impl NewReno {
    /// RFC 5681 §3.1: one segment per window of acknowledged data, counted in bytes (RFC 3465 §2.1).
    pub(super) fn growth(&mut self, window: usize, segment_size: usize, acked: usize) -> usize {
        self.counted += acked;
        let segments = self.counted / window.max(1);
        self.counted -= segments * window;
        segments * segment_size
    }

    /// The new threshold: half of FlightSize.
    pub(super) fn on_congestion(&mut self, flight: usize) -> usize {
        self.counted = 0;
        flight / 2
    }
}
