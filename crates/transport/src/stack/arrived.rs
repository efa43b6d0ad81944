//! Datagrams that wait for the caller, those of one flow put together as trains.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{Datagram, DatagramTrain};
use crate::spare::Spare;
use crate::train::Train;
use crate::wire::udp::UdpDatagram;

/// How far from the end a datagram's train is looked for: flows that send at the same time alternate.
const REACH: usize = 8;

/// What a datagram costs beside its payload.
const OVERHEAD: usize = 128;

#[derive(Debug)]
struct Arrived {
    source: SocketAddr,
    destination: SocketAddr,
    train: Train,
    payload: Vec<u8>,
}

/// Datagrams that wait for the caller, in bounded memory. Those of one flow keep their order.
#[derive(Debug)]
pub(super) struct Datagrams {
    waiting: VecDeque<Arrived>,
    bytes: usize,
    limit: usize,
    /// What is being given out.
    current: Option<Arrived>,
    /// How many datagrams of it were.
    given: usize,
    spare: Buffers,
}

impl Datagrams {
    pub(super) fn new(limit: usize) -> Datagrams {
        Datagrams { waiting: VecDeque::new(), bytes: 0, limit, current: None, given: 0, spare: Buffers::default() }
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, datagram: &UdpDatagram<'_>) -> bool {
        let cost = datagram.payload.len() + OVERHEAD;
        if self.bytes + cost > self.limit {
            return false;
        }
        self.bytes += cost;
        if !self.couple(datagram) {
            let mut payload = self.spare.take();
            payload.extend_from_slice(datagram.payload);
            let train = Train::new(payload.len());
            let UdpDatagram { source, destination, .. } = *datagram;
            self.waiting.push_back(Arrived { source, destination, train, payload });
        }
        true
    }

    /// Whether the flow's last train took the datagram.
    fn couple(&mut self, datagram: &UdpDatagram<'_>) -> bool {
        let ends = (datagram.source, datagram.destination);
        let of_flow = |arrived: &&mut Arrived| (arrived.source, arrived.destination) == ends;
        let Some(last) = self.waiting.iter_mut().rev().take(REACH).find(of_flow) else { return false };
        if !last.train.add(datagram.payload.len()) {
            return false;
        }
        self.spare.enlarge(&mut last.payload, last.train.length());
        last.payload.extend_from_slice(datagram.payload);
        true
    }

    /// What waits already stays.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Gives the allocator the buffers that are kept for reuse.
    pub(super) fn release(&mut self) {
        self.spare = Buffers::default();
    }

    /// Gives the allocator what was not needed since the last call. Whether something is left.
    pub(super) fn decay(&mut self) -> bool {
        self.spare.decay();
        self.has_spare()
    }

    /// Whether buffers are kept for reuse.
    pub(super) fn has_spare(&self) -> bool {
        !self.spare.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Datagram<'_>> {
        self.advance()?;
        let Arrived { source, destination, train, payload } = self.current.as_ref()?;
        let rest = &payload[self.given * train.size()..];
        self.given += 1;
        let payload = &rest[..rest.len().min(train.size())];
        Some(Datagram { source: *source, destination: *destination, payload })
    }

    /// All that are left of a train.
    pub(super) fn pop_train(&mut self) -> Option<DatagramTrain<'_>> {
        self.advance()?;
        let Arrived { source, destination, train, payload } = self.current.as_ref()?;
        let rest = &payload[self.given * train.size()..];
        self.given = train.count();
        Some(DatagramTrain { source: *source, destination: *destination, payload: rest, size: train.size() })
    }

    /// Makes sure that there is something to give out.
    fn advance(&mut self) -> Option<()> {
        if self.current.as_ref().is_some_and(|current| self.given < current.train.count()) {
            return Some(());
        }
        if let Some(last) = self.current.take() {
            self.spare.give(last.payload);
        }
        let next = self.waiting.pop_front()?;
        self.bytes -= next.payload.len() + next.train.count() * OVERHEAD;
        (self.current, self.given) = (Some(next), 0);
        Some(())
    }
}

/// Buffers kept for reuse, and how large: rare giants are not worth their memory, …
const SMALL: usize = 256;
const SMALL_MAX: usize = 4 << 10;
/// … but a few for trains are.
const LARGE: usize = 8;
const LARGE_MAX: usize = 128 << 10;

/// Buffers that are kept for reuse.
#[derive(Debug)]
struct Buffers {
    /// Up to [`SMALL_MAX`] of room.
    small: Spare<Vec<u8>>,
    /// More than that, up to [`LARGE_MAX`].
    large: Spare<Vec<u8>>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers { small: Spare::new(SMALL), large: Spare::new(LARGE) }
    }
}

impl Buffers {
    /// An empty one.
    fn take(&mut self) -> Vec<u8> {
        let mut buffer = self.small.take().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Exchanges a buffer for one with room for `length` bytes, if it has less and there is such a one.
    fn enlarge(&mut self, buffer: &mut Vec<u8>, length: usize) {
        if buffer.capacity() < length
            && let Some(mut larger) = self.large.take_if(|larger| larger.capacity() >= length)
        {
            larger.clear();
            larger.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, larger));
        }
    }

    fn give(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= SMALL_MAX {
            self.small.give(buffer);
        } else if buffer.capacity() <= LARGE_MAX {
            self.large.give(buffer);
        }
    }

    fn decay(&mut self) {
        self.small.decay();
        self.large.decay();
    }

    fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 7))
    }

    fn push(datagrams: &mut Datagrams, source: u8, payload: &[u8]) -> bool {
        datagrams.push(&UdpDatagram { source: at(source), destination: at(200), payload })
    }

    fn stays_small(Buffers { small, large }: &Buffers) {
        assert!(small.iter().count() <= SMALL && small.iter().all(|buffer| buffer.capacity() <= SMALL_MAX));
        let is_large = |buffer: &Vec<u8>| (SMALL_MAX + 1..=LARGE_MAX).contains(&buffer.capacity());
        assert!(large.iter().count() <= LARGE && large.iter().all(is_large));
    }

    #[test]
    fn a_train_moves_to_larger_buffers_only() {
        let mut datagrams = Datagrams::new(1 << 20);
        let largest = |datagrams: &Datagrams| {
            stays_small(&datagrams.spare);
            datagrams.spare.large.iter().map(Vec::capacity).max()
        };
        // A buffer for trains that is none for these two.
        assert!(push(&mut datagrams, 1, &[1; 5000]) && datagrams.pop().is_some() && datagrams.pop().is_none());
        assert_eq!(largest(&datagrams), Some(5000));
        assert!(push(&mut datagrams, 1, &[1; 60_000]) && push(&mut datagrams, 1, &[1; 5000]));
        assert_eq!(largest(&datagrams), Some(5000), "it stays where it is");
        while datagrams.pop().is_some() {}
        let grown = largest(&datagrams).expect("what had the two");
        assert!(grown >= 65_000);
        // And now there is one for both.
        assert!(push(&mut datagrams, 1, &[1; 40_000]) && push(&mut datagrams, 1, &[1; 5000]));
        assert_eq!(datagrams.waiting[0].payload.capacity(), grown);
        assert_eq!(largest(&datagrams), Some(40_000));
    }

    #[test]
    fn spare_buffers_stay_small() {
        let mut datagrams = Datagrams::new(100 << 20);
        let large = vec![0; 60_000];
        for number in 0..1000 {
            assert!(push(&mut datagrams, 1, if number % 2 == 0 { &large } else { &large[..1000] }));
        }
        while datagrams.pop().is_some() {}
        stays_small(&datagrams.spare);
        datagrams.release();
        assert!(!datagrams.has_spare());
    }

    #[test]
    fn flows_that_alternate_have_a_train_each_and_keep_their_order() {
        let mut datagrams = Datagrams::new(1 << 20);
        for round in 0..10 {
            assert!((1..=3).all(|source| push(&mut datagrams, source, &[round; 100])));
        }
        // One of another size ends the first flow's train, and what comes then is not put before it.
        assert!(push(&mut datagrams, 1, &[77; 200]) && push(&mut datagrams, 1, &[78; 100]));
        let mut trains = Vec::new();
        while let Some(train) = datagrams.pop_train() {
            trains.push((train.source, train.datagrams().map(|one| (one[0], one.len())).collect::<Vec<_>>()));
        }
        let ten: Vec<_> = (0..10).map(|round| (round, 100)).collect();
        let expected = [(at(1), ten.clone()), (at(2), ten.clone()), (at(3), ten), (at(1), vec![(77, 200), (78, 100)])];
        assert_eq!(trains, expected);
        assert_eq!(datagrams.bytes, 0);
    }

    #[test]
    fn a_train_is_given_out_datagram_by_datagram_too() {
        let mut datagrams = Datagrams::new(1 << 20);
        let sizes = [0, 0, 5, 5, 5, 2, 5, 0];
        assert!(sizes.iter().all(|size| push(&mut datagrams, 1, &vec![*size as u8; *size])));
        let first = datagrams.pop().map(|datagram| datagram.payload.len());
        assert_eq!(first, Some(0));
        let mut rest = Vec::new();
        while let Some(datagram) = datagrams.pop() {
            assert!(datagram.payload.iter().all(|byte| usize::from(*byte) == datagram.payload.len()));
            rest.push(datagram.payload.len());
            // What is left of a train may be asked for as one.
            if rest.len() == 3 {
                let left = datagrams.pop_train().expect("the rest of it");
                rest.extend(left.datagrams().map(<[u8]>::len));
            }
        }
        assert_eq!(rest, sizes[1..]);
    }

    #[test]
    fn each_datagram_of_a_train_counts_against_the_limit() {
        let mut datagrams = Datagrams::new(10 * (1 + OVERHEAD));
        assert_eq!((0..20).filter(|_| push(&mut datagrams, 1, &[1])).count(), 10);
        assert!(datagrams.pop().is_some() && push(&mut datagrams, 1, &[1]));
    }
}
