//! Frames in: from the link's headers to the protocol that takes the packet.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol};

use super::Stack;
use crate::time::Time;
use crate::types::{MacAddress, Unreachable};
use crate::wire::ip::{self, Backing, IpPacket};
use crate::wire::virtio::{self, Received};

/// Whom a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// One of our addresses.
    Own,
    /// Another node; we play its part because `any_destination` is on.
    Other,
    /// A group that we belong to, or everybody.
    Group,
}

impl Stack {
    /// Takes one frame from the link, with its virtio-net header if the link has one. Never panics, whatever the bytes.
    ///
    /// May be called many times in a row; then `poll_event` and `poll_datagram` until `None`, then `poll_transmit` until
    /// `None`.
    pub fn receive(&mut self, now: Instant, frame: &mut [u8]) {
        self.receive_backed(now, frame, Backing::Lent);
    }

    /// As `receive`, for a frame that the stack may keep: a large payload becomes part of its stream without being copied,
    /// and holds the frame's memory until it is consumed. So that little data does not hold much memory, the frame should
    /// be about as long as the memory that it is in.
    pub fn receive_shared(&mut self, now: Instant, frame: &Bytes) {
        self.receive_backed(now, frame, Backing::Shared(frame));
    }

    /// As `receive_shared`, for a frame in parts: all headers in `head`, and the payload in the parts of `body`. It is what
    /// another stack's `poll_transmit` gives (`Transmit::head` and `Transmit::shared_body`), for links in memory.
    pub fn receive_parts(&mut self, now: Instant, head: &[u8], body: &[Bytes]) {
        let filled = body.iter().position(Bytes::is_empty).unwrap_or(body.len());
        let backing = if filled > 0 { Backing::Parts(&body[..filled]) } else { Backing::Lent };
        self.receive_backed(now, head, backing);
    }

    fn receive_backed(&mut self, now: Instant, frame: &[u8], backing: Backing<'_>) {
        let now = self.clock.read(now);
        self.statistics.frames_received += 1;
        if self.receive_frame(now, frame, backing).is_none() {
            self.statistics.frames_dropped += 1;
        }
        self.wake_for_neighbors(now);
    }

    /// `None` if the frame is dropped.
    fn receive_frame(&mut self, now: Time, frame: &[u8], backing: Backing<'_>) -> Option<()> {
        let (mut received, mut rest) = (Received::default(), frame);
        if self.output.framing.offloads() {
            (received, rest) = virtio::parse(frame, self.output.framing.segments_datagrams())?;
        }
        let Some(own_station) = self.output.framing.own_station() else {
            return self.receive_ip(now, rest, backing, received);
        };
        let ethernet = EthernetFrame::new_checked(rest).ok()?;
        let station = MacAddress(ethernet.dst_addr().0);
        if station != own_station && station.is_unicast() {
            return None;
        }
        match ethernet.ethertype() {
            EthernetProtocol::Arp => {
                self.output.receive_arp(now, ethernet.payload());
                Some(())
            }
            EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
                self.receive_ip(now, ethernet.payload(), backing, received)
            }
            EthernetProtocol::Unknown(_) => None,
        }
    }

    fn receive_ip(&mut self, now: Time, bytes: &[u8], backing: Backing<'_>, received: Received) -> Option<()> {
        if ip::is_padded(bytes, backing.parts()) {
            // Ethernet fills short frames up: what is too much goes with the joining.
            let joined = [bytes, &backing.parts().concat()].concat();
            return self.receive_ip(now, &joined, Backing::Lent, received);
        }
        let packet = ip::parse(bytes, backing)?;
        if packet.hop_limit <= 1 && self.recipient(&packet)? == Recipient::Other {
            // A router between us and the destination would say so (RFC 1812 §5.3.1); `traceroute` asks for it.
            self.output.send_error(now, &packet, Unreachable::HopLimit);
            return Some(());
        }
        if !backing.parts().is_empty() && (packet.protocol != IpProtocol::Tcp || packet.fragment.is_some()) {
            return self.receive_joined(now, &packet, received);
        }
        if packet.fragment.is_none() {
            return self.receive_packet(now, &packet, received);
        }
        self.recipient(&packet)?;
        let Some(whole) = self.reassembly.add(now, &packet) else { return Some(()) };
        let packet = IpPacket {
            source: whole.source,
            destination: whole.destination,
            protocol: whole.protocol,
            hop_limit: whole.hop_limit,
            ecn: whole.ecn,
            fragment: None,
            payload: &whole.payload,
            backing: Backing::Lent,
            whole: &whole.beginning,
        };
        // A checksum that the sender left to the link is finished before the packet is cut, so it is verified here.
        self.receive_packet(now, &packet, Received::default())
    }

    /// Only connections know parts.
    pub(super) fn receive_joined(&mut self, now: Time, packet: &IpPacket<'_>, received: Received) -> Option<()> {
        let joined = [packet.whole, &packet.backing.parts().concat()].concat();
        self.receive_ip(now, &joined, Backing::Lent, received)
    }

    fn receive_packet(&mut self, now: Time, packet: &IpPacket<'_>, received: Received) -> Option<()> {
        if packet.protocol == IpProtocol::Tcp {
            return self.receive_segment(now, packet, received);
        }
        let recipient = self.recipient(packet)?;
        match packet.protocol {
            IpProtocol::Udp => self.receive_datagram(now, packet, recipient, received),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.receive_icmp(now, packet, recipient),
            _ => {
                if recipient == Recipient::Own {
                    self.output.send_error(now, packet, Unreachable::Protocol);
                }
                None
            }
        }
    }

    /// `None` for packets that nobody here may take: nonsense addresses, and other nodes' packets unless we play them all.
    pub(super) fn recipient(&self, packet: &IpPacket<'_>) -> Option<Recipient> {
        let (source, destination) = (packet.source, packet.destination);
        let routes = &self.output.routes;
        let unspecified = matches!(source, IpAddr::V6(address) if address.is_unspecified());
        let duplicate_check = unspecified && packet.protocol == IpProtocol::Icmpv6;
        if !duplicate_check && (!ip::is_allowed_on_link(source) || !ip::is_unicast(source)) {
            return None;
        }
        // RFC 1122 §3.2.1.3: nobody else speaks with our address, and a broadcast address never speaks.
        if routes.is_own(source) || routes.is_broadcast(source) || !ip::is_allowed_on_link(destination) {
            return None;
        }
        if routes.is_own(destination) {
            Some(Recipient::Own)
        } else if !ip::is_unicast(destination) || routes.is_broadcast(destination) {
            Some(Recipient::Group)
        } else {
            self.config.any_destination.then_some(Recipient::Other)
        }
    }
}
