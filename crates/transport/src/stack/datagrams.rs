//! UDP: datagrams of any destination in and out (RFC 768, RFC 1122 §4.1).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use smoltcp::wire::IpProtocol;

use super::receive::Recipient;
use super::{Datagram, Stack};
use crate::error::SendDatagramError;
use crate::output::SendError;
use crate::spare::Spare;
use crate::time::Time;
use crate::types::{Unreachable, canonical};
use crate::wire::ip::{IpHeader, IpPacket, Service, header_length};
use crate::wire::udp;
use crate::wire::virtio::Offload;

/// Buffers kept for reuse, and how large: rare giants are not worth their memory.
const SPARE_BUFFERS: usize = 256;
const SPARE_BUFFER_MAX: usize = 4 << 10;

/// Largest payload of a UDP datagram (RFC 768: the length field counts the header).
const PAYLOAD_MAX: usize = 65_535 - udp::HEADER_LENGTH;

#[derive(Debug)]
struct Arrived {
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// Datagrams that wait for the caller, oldest first, in bounded memory.
#[derive(Debug)]
pub(super) struct Datagrams {
    waiting: VecDeque<Arrived>,
    bytes: usize,
    limit: usize,
    /// What `poll_datagram` returned last.
    current: Option<Arrived>,
    spare: Spare<Vec<u8>>,
}

/// What a datagram costs beside its payload.
const OVERHEAD: usize = 128;

impl Datagrams {
    pub(super) fn new(limit: usize) -> Datagrams {
        Datagrams { waiting: VecDeque::new(), bytes: 0, limit, current: None, spare: Spare::new(SPARE_BUFFERS) }
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, datagram: &udp::UdpDatagram<'_>) -> bool {
        let cost = datagram.payload.len() + OVERHEAD;
        if self.bytes + cost > self.limit {
            return false;
        }
        self.bytes += cost;
        let mut payload = self.spare.take().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(datagram.payload);
        self.waiting.push_back(Arrived { source: datagram.source, destination: datagram.destination, payload });
        true
    }

    /// What waits already stays.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Gives the allocator the buffers that are kept for reuse.
    pub(super) fn release(&mut self) {
        self.spare.clear();
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
        if let Some(last) = self.current.take()
            && last.payload.capacity() <= SPARE_BUFFER_MAX
        {
            self.spare.give(last.payload);
        }
        let next = self.waiting.pop_front()?;
        self.bytes -= next.payload.len() + OVERHEAD;
        let arrived = self.current.insert(next);
        Some(Datagram { source: arrived.source, destination: arrived.destination, payload: &arrived.payload })
    }
}

/// UDP for any destination.
impl Stack {
    /// The oldest datagram that arrived for a destination nobody is bound to, with `any_destination`.
    pub fn poll_datagram(&mut self) -> Option<Datagram<'_>> {
        self.datagrams.pop()
    }

    /// Sends a datagram. Any source will do: we are a router. Larger ones than the link's MTU are fragmented.
    ///
    /// # Errors
    /// If it is too large, has no way to go, or too much waits for the link.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        let now = self.clock.read(now);
        self.send_served(now, canonical(source), canonical(destination), payload, Service::DEFAULT)
    }

    pub(super) fn send_served(
        &mut self,
        now: Time,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        service: Service,
    ) -> Result<(), SendDatagramError> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(SendDatagramError::FamilyMismatch);
        }
        let most = if source.is_ipv4() { PAYLOAD_MAX - header_length(source.ip()) } else { PAYLOAD_MAX };
        if payload.len() > most {
            return Err(SendDatagramError::TooLarge(payload.len()));
        }
        let header = IpHeader::new(source.ip(), destination.ip(), IpProtocol::Udp, udp::HEADER_LENGTH + payload.len());
        let header = header.served(service);
        let framing = self.output.framing;
        // A packet that is cut can't leave its checksum to the link.
        let whole = header.length() + header.payload_length <= usize::from(framing.mtu());
        let partial = whole && framing.offloads();
        let start = framing.ethernet_length() + header.length();
        let checksum = partial.then_some((start as u16, udp::CHECKSUM_OFFSET as u16));
        let offload = Offload { checksum, segmentation: None };
        let sent = self.output.send(now, header, offload, |buffer| {
            udp::emit(source, destination, payload, buffer, partial);
        });
        sent.map_err(|error| match error {
            SendError::NoRoute => SendDatagramError::NoRoute,
            SendError::Full => SendDatagramError::Full,
        })
    }

    /// Answers a datagram (its ends and the beginning of its payload, as `poll_datagram` gave them) with an ICMP error.
    /// The error's sender is the datagram's destination for `Port` and `Protocol`, otherwise our address on the link.
    pub fn datagram_unreachable(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
        reason: Unreachable,
    ) {
        let now = self.clock.read(now);
        let (source, destination) = (canonical(source), canonical(destination));
        if source.is_ipv4() != destination.is_ipv4() {
            return;
        }
        let payload = &payload[..payload.len().min(1200)];
        let ip = IpHeader::new(source.ip(), destination.ip(), IpProtocol::Udp, udp::HEADER_LENGTH + payload.len());
        let mut quoted = vec![0; ip.length() + ip.payload_length];
        ip.emit(&mut quoted);
        udp::emit(source, destination, payload, &mut quoted[ip.length()..], false);
        self.output.send_error_about(now, source.ip(), destination.ip(), &quoted, reason);
    }

    pub(super) fn receive_datagram(
        &mut self,
        now: Time,
        packet: &IpPacket<'_>,
        recipient: Recipient,
        checksum_trusted: bool,
    ) -> Option<()> {
        let datagram = udp::parse(packet, checksum_trusted)?;
        // Nobody here joins groups, a router does not forward broadcasts, and no error answers one.
        if recipient == Recipient::Group {
            if !self.output.routes.is_any_broadcast(packet.destination) {
                return None;
            }
            self.deliver_broadcast(&datagram);
            return Some(());
        }
        if recipient == Recipient::Own && self.deliver_to_socket(&datagram) {
            return Some(());
        }
        if !self.config.any_destination {
            self.output.send_error(now, packet, Unreachable::Port);
            return Some(());
        }
        if !self.datagrams.push(&datagram) {
            self.statistics.limited += 1;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Datagrams, SPARE_BUFFER_MAX, SPARE_BUFFERS};
    use crate::wire::udp::UdpDatagram;

    #[test]
    fn spare_buffers_stay_small() {
        let mut datagrams = Datagrams::new(100 << 20);
        let (source, destination) = (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 2)));
        let large = vec![0; 60_000];
        for number in 0..1000 {
            let payload = if number % 2 == 0 { &large[..] } else { &large[..1000] };
            assert!(datagrams.push(&UdpDatagram { source, destination, payload }));
        }
        while datagrams.pop().is_some() {}
        assert_eq!(datagrams.spare.iter().count(), SPARE_BUFFERS);
        assert!(datagrams.spare.iter().all(|buffer| buffer.capacity() <= SPARE_BUFFER_MAX));
    }
}
