//! Datagrams from their fragments (RFC 791 §3.2, RFC 8200 §4.5), in bounded memory.
//!
//! Fragments that overlap destroy their datagram (RFC 5722; the same for IPv4, where honest senders don't do it either).

use std::collections::HashMap;
use std::net::IpAddr;

use smoltcp::wire::IpProtocol;

use crate::hash::KeyedState;
use crate::time::{Interval, Time};
use crate::wire::ip::IpPacket;

/// Time for all fragments to arrive (RFC 8200 §4.5: 60 s; RFC 1122 §3.3.2 allows 60 to 120 s).
const TIMEOUT: Interval = Interval::from_secs(60);

/// Most fragments of one datagram: 64 KiB in pieces of a small link.
const FRAGMENTS_MAX: usize = 128;

/// Largest datagram.
const LENGTH_MAX: usize = 65_535;

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    ident: u32,
}

/// Longest header of a first fragment that an ICMP error can quote: IPv4's longest, or IPv6's with some extensions. It is
/// within `OVERHEAD`.
const HEADER_MAX: usize = 128;

/// As much of a first fragment as any ICMP error quotes.
const QUOTED_MAX: usize = 1280 - 48;

#[derive(Debug)]
struct Partial {
    /// All before the payload of the first fragment, once that arrived.
    header: Vec<u8>,
    /// Sorted by offset, without overlap.
    fragments: Vec<(usize, Vec<u8>)>,
    /// Known once the last fragment is there.
    total: Option<usize>,
    bytes: usize,
    deadline: Time,
    hop_limit: u8,
    /// The worst of the fragments' marks (RFC 3168 §5.3).
    ecn: u8,
    /// Overlap was seen: what still arrives is swallowed until the deadline.
    spoiled: bool,
}

/// A datagram put together again.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) hop_limit: u8,
    pub(crate) ecn: u8,
    pub(crate) payload: Vec<u8>,
    /// The beginning of the first fragment: what an ICMP error quotes (RFC 792, RFC 4443 §2.4 c).
    pub(crate) beginning: Vec<u8>,
}

/// The share of all memory that the fragments of one source may take, as a divisor: so that one can't keep the others out.
const SOURCE_SHARE: usize = 4;

/// All datagrams that miss fragments. Keyed by what RFC 791 names; remote parties choose it, so the hasher is keyed.
#[derive(Debug)]
pub(crate) struct Reassembly {
    partials: HashMap<Key, Partial, KeyedState>,
    bytes: usize,
    /// By source, as long as it has any.
    source_bytes: HashMap<IpAddr, usize, KeyedState>,
    limit: usize,
    next: Option<Time>,
    pub(crate) refused: u64,
}

impl Reassembly {
    pub(crate) fn new(key: KeyedState, limit: usize) -> Reassembly {
        let source_bytes = HashMap::with_hasher(key.clone());
        Reassembly { partials: HashMap::with_hasher(key), bytes: 0, source_bytes, limit, next: None, refused: 0 }
    }

    /// Books memory that fragments of a source take more and less.
    fn book(&mut self, source: IpAddr, more: usize, less: usize) {
        self.bytes = self.bytes + more - less;
        let own = self.source_bytes.entry(source).or_default();
        *own = *own + more - less;
        if *own == 0 {
            self.source_bytes.remove(&source);
        }
    }

    fn has_room(&self, source: IpAddr, bytes: usize) -> bool {
        let own = self.source_bytes.get(&source).copied().unwrap_or(0);
        self.bytes + bytes <= self.limit && own + bytes <= self.limit / SOURCE_SHARE
    }

    /// Adds a fragment; the whole datagram if it was the last one missing.
    pub(crate) fn add(&mut self, now: Time, packet: &IpPacket<'_>) -> Option<Whole> {
        let fragment = packet.fragment?;
        let end = fragment.offset + packet.payload.len();
        // RFC 8200 §4.5: all but the last carry a multiple of eight bytes, and nothing ends beyond 64 KiB.
        if packet.payload.is_empty() || end > LENGTH_MAX || (fragment.more && !packet.payload.len().is_multiple_of(8)) {
            return None;
        }
        if !self.has_room(packet.source, packet.payload.len() + OVERHEAD) {
            self.refused += 1;
            return None;
        }
        let key = Key {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ident: fragment.ident,
        };
        let mut begun = 0;
        let partial = self.partials.entry(key).or_insert_with(|| {
            begun = OVERHEAD;
            Partial::new(now + TIMEOUT, packet)
        });
        self.next = Some(self.next.map_or(partial.deadline, |next| next.min(partial.deadline)));
        let before = partial.bytes;
        partial.add(fragment.offset, fragment.more, packet);
        let (after, complete) = (partial.bytes, partial.is_complete());
        self.book(packet.source, begun + after, before);
        if !complete {
            return None;
        }
        let partial = self.partials.remove(&key)?;
        self.book(packet.source, 0, partial.bytes + OVERHEAD);
        Some(partial.into_whole(&key))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.next
    }

    /// Forgets datagrams whose fragments did not all arrive.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        let expired: Vec<(IpAddr, usize)> = self
            .partials
            .extract_if(|_, partial| partial.deadline <= now)
            .map(|(key, partial)| (key.source, partial.bytes + OVERHEAD))
            .collect();
        for (source, bytes) in expired {
            self.book(source, 0, bytes);
        }
        self.next = self.partials.values().map(|partial| partial.deadline).min();
    }
}

impl Partial {
    fn new(deadline: Time, first: &IpPacket<'_>) -> Partial {
        Partial {
            header: Vec::new(),
            fragments: Vec::new(),
            total: None,
            bytes: 0,
            deadline,
            hop_limit: first.hop_limit,
            ecn: first.ecn,
            spoiled: false,
        }
    }

    fn add(&mut self, offset: usize, more: bool, packet: &IpPacket<'_>) {
        let payload = packet.payload;
        let end = offset + payload.len();
        let place = self.fragments.partition_point(|(other, _)| *other < offset);
        let overlaps_before = place > 0 && {
            let (other, bytes) = &self.fragments[place - 1];
            other + bytes.len() > offset
        };
        let after = self.fragments.get(place);
        // A network may duplicate packets: the very same fragment again changes nothing.
        if after.is_some_and(|(other, bytes)| *other == offset && bytes == payload) {
            return;
        }
        let overlaps_after = after.is_some_and(|(other, _)| *other < end);
        let contradicts = match self.total {
            Some(total) => end > total || (!more && end != total),
            None => !more && self.fragments.last().is_some_and(|(other, bytes)| other + bytes.len() > end),
        };
        if self.spoiled || overlaps_before || overlaps_after || contradicts || self.fragments.len() == FRAGMENTS_MAX {
            self.spoiled = true;
            self.fragments.clear();
            self.bytes = 0;
            return;
        }
        if !more {
            self.total = Some(end);
        }
        let header = &packet.whole[..packet.whole.len().saturating_sub(payload.len())];
        if offset == 0 && header.len() <= HEADER_MAX {
            self.header = header.to_vec();
        }
        self.ecn = self.ecn.max(packet.ecn);
        self.bytes += payload.len();
        self.fragments.insert(place, (offset, payload.to_vec()));
    }

    /// Without overlap and within the total, as many bytes as the total are all of them.
    fn is_complete(&self) -> bool {
        !self.spoiled && self.total == Some(self.bytes)
    }

    fn into_whole(self, key: &Key) -> Whole {
        let mut payload = Vec::with_capacity(self.bytes);
        let mut beginning = self.header;
        if let Some((_, first)) = self.fragments.first().filter(|_| !beginning.is_empty()) {
            beginning.extend_from_slice(&first[..first.len().min(QUOTED_MAX - beginning.len())]);
        }
        for (_, bytes) in self.fragments {
            payload.extend_from_slice(&bytes);
        }
        Whole {
            source: key.source,
            destination: key.destination,
            protocol: key.protocol,
            hop_limit: self.hop_limit,
            ecn: self.ecn,
            payload,
            beginning,
        }
    }
}
