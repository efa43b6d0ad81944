//! What one host or one forward may have of what all share: beyond that, the flows that were not used for the longest
//! time make room. Only UDP and pings need it, where a flow costs its peer a single packet.

use std::time::Instant;

use super::{Flow, Plane};

/// Most clients of one UDP forward at a time.
pub(super) const MAX_CLIENTS: usize = 8192;
/// One part of this many is evicted at once, so that the search for it is paid by many datagrams.
const PART: usize = 8;

impl Plane {
    /// Most outbound UDP flows, and as many pinged destinations, from one address of a host: each has a descriptor.
    pub(super) fn datagram_share(&self) -> usize {
        (self.admission.limit() / 4).max(PART)
    }

    /// Ends the part of these flows that was not used for the longest time.
    pub(super) fn evict(&mut self, concerned: impl Fn(&Flow) -> bool) {
        let flows = self.flows.iter().filter(|(_, flow)| concerned(flow)).map(|(id, flow)| (flow.last_used, id));
        for id in stalest(flows.collect()) {
            self.remove_flow(id);
        }
    }
}

/// The part that was used longest ago, at least one if there is any.
pub(super) fn stalest<K>(mut used: Vec<(Instant, K)>) -> impl Iterator<Item = K> {
    let count = used.len().div_ceil(PART);
    if count < used.len() {
        used.select_nth_unstable_by_key(count, |(at, _)| *at);
    }
    used.truncate(count);
    used.into_iter().map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_stalest_eighth_goes() {
        let start = Instant::now();
        // In an order that is none.
        let used = (0..80u64).map(|index| index * 37 % 80).map(|age| (start + Duration::from_secs(age), age)).collect();
        let mut evicted: Vec<u64> = stalest(used).collect();
        evicted.sort_unstable();
        assert_eq!(evicted, (0..10).collect::<Vec<_>>());
        assert_eq!(stalest(vec![(start, 1)]).collect::<Vec<_>>(), [1]);
        assert_eq!(stalest(Vec::<(Instant, u8)>::new()).count(), 0);
    }
}
