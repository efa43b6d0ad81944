//! UDP: datagrams of any destination in and out (RFC 768, RFC 1122 §4.1).

use std::net::SocketAddr;
use std::time::Instant;

use smoltcp::wire::IpProtocol;

use super::receive::Recipient;
use super::{Datagram, DatagramTrain, Stack};
use crate::error::SendDatagramError;
use crate::output::{Flow, SendError};
use crate::time::Time;
use crate::types::{Unreachable, canonical};
use crate::wire::ip::{IpHeader, IpPacket, Service, header_length};
use crate::wire::udp::{self, UdpDatagram};
use crate::wire::virtio::Received;

/// Largest payload of a UDP datagram (RFC 768: the length field counts the header).
const PAYLOAD_MAX: usize = 65_535 - udp::HEADER_LENGTH;

/// UDP for any destination.
impl Stack {
    /// The oldest datagram that arrived for a destination nobody is bound to, with `any_destination`.
    pub fn poll_datagram(&mut self) -> Option<Datagram<'_>> {
        self.datagrams.pop()
    }

    /// As `poll_datagram`, all at once that have arrived of one flow and have the same size.
    pub fn poll_datagrams(&mut self) -> Option<DatagramTrain<'_>> {
        self.datagrams.pop_train()
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
        let sent = self.output.send_datagram(now, &Flow { source, destination, service }, payload);
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
        received: Received,
    ) -> Option<()> {
        // Nobody here joins groups.
        if recipient == Recipient::Group && !self.output.routes.is_any_broadcast(packet.destination) {
            return None;
        }
        let datagram = udp::parse(packet, received.checksum_trusted)?;
        match received.datagram_size {
            Some(size) if !datagram.payload.is_empty() => {
                for payload in datagram.payload.chunks(size.get().into()) {
                    self.deliver_datagram(now, packet, recipient, &UdpDatagram { payload, ..datagram });
                }
            }
            _ => self.deliver_datagram(now, packet, recipient, &datagram),
        }
        Some(())
    }

    fn deliver_datagram(&mut self, now: Time, packet: &IpPacket<'_>, recipient: Recipient, datagram: &UdpDatagram<'_>) {
        // A router does not forward broadcasts, and no error answers one.
        if recipient == Recipient::Group {
            return self.deliver_broadcast(datagram);
        }
        if recipient == Recipient::Own && self.deliver_to_socket(datagram) {
            return;
        }
        if !self.config.any_destination {
            return self.output.send_error(now, packet, Unreachable::Port);
        }
        if !self.datagrams.push(datagram) {
            self.statistics.limited += 1;
        }
    }
}
