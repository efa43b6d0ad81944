//! The way out: from an IP packet to frames on the link. Finds the next hop, resolves its station address, and holds what
//! waits for either. TCP data does not pass through here: it is framed straight from the send buffer (`stack::transmit`).

mod datagrams;
mod framing;
mod identification;
mod neighbors;
mod queue;
mod resolution;
mod routes;

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv6ExtHeader, Ipv6FragmentHeader};

use crate::config::Config;
use crate::hash::KeyedState;
use crate::time::{Interval, Time};
use crate::types::{MacAddress, Unreachable};
use crate::wire::icmp;
use crate::wire::ip::{IpHeader, IpPacket, is_unicast};
use crate::wire::virtio::Offload;

pub(crate) use datagrams::Flow;
pub(crate) use framing::Framing;
use identification::Identifications;
pub(crate) use neighbors::{Hearing, Neighbors, Resolution};
pub(crate) use queue::Queue;
pub(crate) use routes::Routes;

/// ICMP errors that may leave in a second, and at once (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).
const ERRORS_PER_SECOND: u32 = 1000;

/// Why a packet was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendError {
    NoRoute,
    Full,
}

/// Where a packet is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dispatched {
    /// The last one of the queue.
    Queued,
    /// With those that wait for their next hop's answer.
    Held,
}

/// Everything between an IP packet and the link.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) framing: Framing,
    pub(crate) routes: Routes,
    pub(crate) neighbors: Neighbors,
    pub(crate) queue: Queue,
    recent: Option<RecentStation>,
    identifications: Identifications,
    error_budget: Budget,
}

impl Output {
    pub(crate) fn new(config: &Config) -> Output {
        let key = KeyedState::new(&config.key, b'n');
        Output {
            framing: Framing::new(config),
            routes: Routes::new(config),
            neighbors: Neighbors::new(key, config.limits.neighbors, config.limits.outgoing_bytes / 4),
            queue: Queue::new(config.limits.outgoing_bytes),
            recent: None,
            identifications: Identifications::new(KeyedState::new(&config.key, b'o')),
            error_budget: Budget::new(ERRORS_PER_SECOND),
        }
    }

    /// Takes over the addresses and gateways of `config`.
    pub(crate) fn readdress(&mut self, config: &Config) {
        self.routes = Routes::new(config);
        self.recent = None;
    }

    /// Queues a packet whose payload `fill` writes (to a buffer of zeroes), in fragments if it exceeds the link's MTU.
    pub(crate) fn send(
        &mut self,
        now: Time,
        header: IpHeader,
        offload: Offload,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), SendError> {
        self.send_packet(now, header, offload, fill).map(|_| ())
    }

    /// As `send`, and tells where it is.
    fn send_packet(
        &mut self,
        now: Time,
        header: IpHeader,
        offload: Offload,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Dispatched, SendError> {
        let headroom = self.framing.headroom();
        let ip_length = header.length();
        if ip_length + header.payload_length > usize::from(self.framing.mtu()) {
            let mut payload = vec![0; header.payload_length];
            fill(&mut payload);
            return self.send_fragments(now, header, &payload);
        }
        let mut frame = self.buffer(headroom + ip_length + header.payload_length).ok_or(SendError::Full)?;
        header.emit(&mut frame[headroom..]);
        fill(&mut frame[headroom + ip_length..]);
        self.framing.emit_virtio(&mut frame, &offload);
        self.dispatch(now, header.destination, frame)
    }

    /// RFC 791 §3.2 and RFC 8200 §4.5: all fragments but the last carry a multiple of eight bytes.
    fn send_fragments(&mut self, now: Time, header: IpHeader, payload: &[u8]) -> Result<Dispatched, SendError> {
        let ident = self.identifications.next(header.source, header.destination);
        let extension = if header.source.is_ipv6() { 8 } else { 0 };
        let room = (usize::from(self.framing.mtu()) - header.length() - extension) & !7;
        let headroom = self.framing.headroom();
        let mut dispatched = Dispatched::Queued;
        for (number, part) in payload.chunks(room).enumerate() {
            let offset = number * room;
            let more = offset + part.len() < payload.len();
            let own = IpHeader {
                payload_length: extension + part.len(),
                protocol: if extension > 0 { IpProtocol::Ipv6Frag } else { header.protocol },
                ..header
            };
            let start = headroom + own.length();
            let mut frame = self.buffer(start + own.payload_length).ok_or(SendError::Full)?;
            own.emit(&mut frame[headroom..]);
            if extension > 0 {
                emit_fragment_header(&mut frame[start..start + 8], header.protocol, ident, offset, more);
            } else {
                emit_fragment_fields(&mut frame[headroom..start], ident as u16, offset, more);
            }
            frame[start + extension..].copy_from_slice(part);
            self.framing.emit_virtio(&mut frame, &Offload::default());
            dispatched = self.dispatch(now, header.destination, frame)?;
        }
        Ok(dispatched)
    }

    /// A buffer of zeroes for a frame; `None` if too much waits already, for the link or for neighbours.
    fn buffer(&mut self, length: usize) -> Option<Vec<u8>> {
        self.queue.buffer(length, self.neighbors.held_bytes())
    }

    /// Gives a complete frame its station address, or holds it until that is known.
    fn dispatch(&mut self, now: Time, destination: IpAddr, mut frame: Vec<u8>) -> Result<Dispatched, SendError> {
        match self.station(now, destination) {
            Station::Known(station) => {
                self.framing.emit_ethernet(&mut frame, station, destination.is_ipv6());
                self.queue.push(frame);
                Ok(Dispatched::Queued)
            }
            Station::Pending(next_hop) => {
                if self.neighbors.hold(next_hop, frame) {
                    Ok(Dispatched::Held)
                } else {
                    Err(SendError::Full)
                }
            }
            Station::NoRoute => {
                self.queue.recycle(frame);
                Err(SendError::NoRoute)
            }
        }
    }

    /// The station that takes packets for `destination`; asks for it if it must.
    pub(crate) fn station(&mut self, now: Time, destination: IpAddr) -> Station {
        if !self.framing.is_ethernet() {
            return Station::Known(MacAddress::BROADCAST);
        }
        if let Some(recent) = &self.recent
            && recent.destination == destination
            && recent.changes == self.neighbors.changes
            && now < recent.until
        {
            return Station::Known(recent.station);
        }
        self.find_station(now, destination)
    }

    fn find_station(&mut self, now: Time, destination: IpAddr) -> Station {
        if let Some(group) = self.routes.group_station(destination) {
            return Station::Known(group);
        }
        let Some(next_hop) = self.routes.next_hop(destination) else { return Station::NoRoute };
        match self.neighbors.resolve(now, next_hop) {
            Resolution::Known { station, solicit, until } => {
                if solicit {
                    self.solicit(next_hop, Some(station));
                }
                self.recent = Some(RecentStation { destination, station, until, changes: self.neighbors.changes });
                Station::Known(station)
            }
            Resolution::Pending { solicit } => {
                if solicit {
                    self.solicit(next_hop, None);
                }
                Station::Pending(next_hop)
            }
        }
    }

    /// Answers `packet` with an ICMP error, unless the rules or the rate forbid it.
    pub(crate) fn send_error(&mut self, now: Time, packet: &IpPacket<'_>, reason: Unreachable) {
        if packet.may_be_answered_with_error() {
            self.send_error_about(now, packet.source, packet.destination, packet.whole, reason);
        }
    }

    /// As `send_error`, about a packet whose ends are known and whose bytes are `quoted`.
    pub(crate) fn send_error_about(
        &mut self,
        now: Time,
        source: IpAddr,
        destination: IpAddr,
        quoted: &[u8],
        reason: Unreachable,
    ) {
        // RFC 1812 §4.3.2.4: a router speaks with its own address; "nobody has the port" is said by the host itself.
        let from_host = matches!(reason, Unreachable::Port | Unreachable::Protocol) || self.routes.is_own(destination);
        let speaker = if from_host { Some(destination) } else { self.routes.own_address_towards(source) };
        let Some(speaker) = speaker else { return };
        if !is_unicast(source) || !self.error_budget.take(now) {
            return;
        }
        let length = icmp::error_length(speaker, quoted);
        let header = IpHeader::new(speaker, source, icmp_protocol(speaker), length);
        // A full queue drops errors first.
        let _ = self.send(now, header, Offload::default(), |buffer| {
            icmp::emit_error(speaker, source, reason, quoted, buffer);
        });
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.neighbors.next_timeout()
    }

    /// Repeats questions for stations and gives up on those that never answer.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        for next_hop in self.neighbors.handle_timeout(now) {
            self.solicit(next_hop, None);
        }
    }
}

/// The station found last: packets come in trains, and this saves a look at routes and neighbours.
#[derive(Clone, Copy, Debug)]
struct RecentStation {
    destination: IpAddr,
    station: MacAddress,
    /// When the neighbour must be asked again.
    until: Time,
    /// `Neighbors::changes` then.
    changes: u64,
}

/// Where a packet goes on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Station {
    Known(MacAddress),
    /// The next hop is being asked.
    Pending(IpAddr),
    NoRoute,
}

pub(crate) fn icmp_protocol(address: IpAddr) -> IpProtocol {
    if address.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 }
}

fn emit_fragment_header(buffer: &mut [u8], protocol: IpProtocol, ident: u32, offset: usize, more: bool) {
    let mut extension = Ipv6ExtHeader::new_unchecked(&mut *buffer);
    extension.set_next_header(protocol);
    extension.set_header_len(0);
    let mut header = Ipv6FragmentHeader::new_unchecked(&mut buffer[2..]);
    header.clear_reserved();
    header.set_frag_offset((offset / 8) as u16);
    header.set_more_frags(more);
    header.set_ident(ident);
}

fn emit_fragment_fields(header: &mut [u8], ident: u16, offset: usize, more: bool) {
    let mut packet = smoltcp::wire::Ipv4Packet::new_unchecked(header);
    packet.set_ident(ident);
    packet.set_dont_frag(false);
    packet.set_more_frags(more);
    packet.set_frag_offset(offset as u16);
    packet.fill_checksum();
}

/// So many per second, and so many at once.
#[derive(Debug)]
pub(crate) struct Budget {
    per_second: u32,
    left: u32,
    refilled: Time,
}

impl Budget {
    pub(crate) fn new(per_second: u32) -> Budget {
        Budget { per_second, left: per_second, refilled: Time::START }
    }

    /// Whether one more is allowed now.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if now.since(self.refilled) >= Interval::from_secs(1) {
            self.refilled = now;
            self.left = self.per_second;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
