//! Questions and answers about station addresses: ARP (RFC 826) for IPv4, neighbour discovery (RFC 4861) for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use super::{Hearing, Output};
use crate::time::Time;
use crate::types::MacAddress;
use crate::wire::ip::{IpHeader, IpPacket};
use crate::wire::virtio::Offload;

/// Neighbour discovery packets must come from this link: hop limit 255 can't have crossed a router (RFC 4861 §6.1).
const ON_LINK_HOP_LIMIT: u8 = 255;

impl Output {
    /// Asks the link for the station address of `next_hop`, or `known` whether it is still there (RFC 4861 §7.3.3, RFC 1122
    /// §2.3.2.1).
    pub(super) fn solicit(&mut self, next_hop: IpAddr, known: Option<MacAddress>) {
        let Some(own_station) = self.framing.own_station() else { return };
        let Some(own) = self.routes.own_address_towards(next_hop) else { return };
        match (own, next_hop) {
            (IpAddr::V4(own), IpAddr::V4(target)) => {
                let question = ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Request,
                    source_hardware_addr: EthernetAddress(own_station.0),
                    source_protocol_addr: own,
                    target_hardware_addr: EthernetAddress([0; 6]),
                    target_protocol_addr: target,
                };
                self.send_arp(known.unwrap_or(MacAddress::BROADCAST), &question);
            }
            (IpAddr::V6(own), IpAddr::V6(target)) => {
                let question = NdiscRepr::NeighborSolicit { target_addr: target, lladdr: Some(raw(own_station)) };
                let destination = if known.is_some() { target } else { solicited_node(target) };
                let group = || self.routes.group_station(IpAddr::V6(destination));
                let station = known.or_else(group).unwrap_or(MacAddress::BROADCAST);
                self.send_neighbor(own, destination, station, question);
            }
            _ => {}
        }
    }

    /// Takes an ARP packet from the link.
    pub(crate) fn receive_arp(&mut self, now: Time, bytes: &[u8]) {
        let Some(own_station) = self.framing.own_station() else { return };
        let Ok(packet) = ArpPacket::new_checked(bytes) else { return };
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr: sender,
            target_protocol_addr: target,
            ..
        }) = ArpRepr::parse(&packet)
        else {
            return;
        };
        let station = MacAddress(source_hardware_addr.0);
        let for_us = self.routes.is_own(IpAddr::V4(target));
        // A probe (RFC 5227) has no sender address: it is answered and teaches nothing. Nobody else teaches us our own.
        let teaches = sender != Ipv4Addr::UNSPECIFIED
            && self.routes.is_on_link(IpAddr::V4(sender))
            && !self.routes.is_own(IpAddr::V4(sender));
        if teaches {
            // RFC 826: merge what is known; add only if we are the target.
            let hearing = match operation {
                ArpOperation::Reply if for_us => Hearing::Answer { overrides: true },
                _ if for_us => Hearing::Question,
                _ => Hearing::Announcement { overrides: true },
            };
            self.neighbors.learn(now, IpAddr::V4(sender), station, hearing);
            self.release();
        }
        if for_us && operation == ArpOperation::Request && station.is_unicast() {
            let answer = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: EthernetAddress(own_station.0),
                source_protocol_addr: target,
                target_hardware_addr: source_hardware_addr,
                target_protocol_addr: sender,
            };
            self.send_arp(station, &answer);
        }
    }

    /// Takes a neighbour discovery message. Router messages are not for a router; redirects are never followed.
    pub(crate) fn receive_neighbor(&mut self, now: Time, packet: &IpPacket<'_>, message: &[u8]) {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else { return };
        if packet.hop_limit != ON_LINK_HOP_LIMIT || !self.framing.is_ethernet() {
            return;
        }
        let Ok(parsed) = Icmpv6Packet::new_checked(message) else { return };
        // The checksum is verified before.
        let caps = ChecksumCapabilities::ignored();
        match Icmpv6Repr::parse(&source, &destination, &parsed, &caps) {
            Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, lladdr })) => {
                // RFC 4861 §7.1.1: who has no address yet asks a group and says nothing of its station.
                let nobody = source.is_unspecified();
                if !nobody || (destination.is_multicast() && lladdr.is_none()) {
                    self.answer_solicitation(now, source, target_addr, lladdr);
                }
            }
            Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr: Some(station) })) => {
                self.take_advertisement(now, destination, flags, target_addr, &station);
            }
            _ => {}
        }
    }

    fn take_advertisement(
        &mut self,
        now: Time,
        destination: Ipv6Addr,
        flags: NdiscNeighborFlags,
        target: Ipv6Addr,
        station: &RawHardwareAddress,
    ) {
        let Some(station) = station_of(station) else { return };
        let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
        // RFC 4861 §7.1.2: an answer goes to who asked. Nobody else teaches us our own.
        if self.routes.is_own(IpAddr::V6(target)) || (solicited && destination.is_multicast()) {
            return;
        }
        let overrides = flags.contains(NdiscNeighborFlags::OVERRIDE);
        let hearing = if solicited { Hearing::Answer { overrides } } else { Hearing::Announcement { overrides } };
        self.neighbors.learn(now, IpAddr::V6(target), station, hearing);
        self.release();
    }

    fn answer_solicitation(
        &mut self,
        now: Time,
        source: Ipv6Addr,
        target: Ipv6Addr,
        station: Option<RawHardwareAddress>,
    ) {
        let Some(own_station) = self.framing.own_station() else { return };
        if !self.routes.is_own(IpAddr::V6(target)) {
            return;
        }
        let asker = IpAddr::V6(source);
        let station = station.as_ref().and_then(station_of);
        // RFC 4861 §7.2.4: an asker without an address (it checks for duplicates) is answered by multicast.
        let asks_for_duplicates = source.is_unspecified();
        if let Some(station) = station
            && !asks_for_duplicates
            && self.routes.is_on_link(asker)
            && !self.routes.is_own(asker)
        {
            self.neighbors.learn(now, asker, station, Hearing::Question);
            self.release();
        }
        let mut flags = NdiscNeighborFlags::OVERRIDE;
        flags.set(NdiscNeighborFlags::SOLICITED, !asks_for_duplicates);
        let answer = NdiscRepr::NeighborAdvert { flags, target_addr: target, lladdr: Some(raw(own_station)) };
        if asks_for_duplicates {
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            self.send_neighbor(target, all_nodes, MacAddress([0x33, 0x33, 0, 0, 0, 1]), answer);
        } else if let Some(station) = station {
            self.send_neighbor(target, source, station, answer);
        } else if let super::Station::Known(station) = self.station(now, asker) {
            self.send_neighbor(target, source, station, answer);
        }
    }

    /// Frames whose station became known go to the queue.
    fn release(&mut self) {
        for (station, ipv6, mut frame) in std::mem::take(&mut self.neighbors.released) {
            self.framing.emit_ethernet(&mut frame, station, ipv6);
            self.queue.push(frame);
        }
    }

    fn send_arp(&mut self, station: MacAddress, message: &ArpRepr) {
        let headroom = self.framing.headroom();
        let Some(mut frame) = self.buffer(headroom + message.buffer_len()) else { return };
        message.emit(&mut ArpPacket::new_unchecked(&mut frame[headroom..]));
        self.framing.emit_virtio(&mut frame, &Offload::default());
        self.framing.emit_ethernet_protocol(&mut frame, station, EthernetProtocol::Arp);
        self.queue.push(frame);
    }

    fn send_neighbor(&mut self, source: Ipv6Addr, destination: Ipv6Addr, station: MacAddress, message: NdiscRepr<'_>) {
        let message = Icmpv6Repr::Ndisc(message);
        let (source_ip, destination_ip) = (IpAddr::V6(source), IpAddr::V6(destination));
        let header = IpHeader::new(source_ip, destination_ip, IpProtocol::Icmpv6, message.buffer_len());
        let header = header.hops(ON_LINK_HOP_LIMIT);
        let start = self.framing.headroom();
        let Some(mut frame) = self.buffer(start + header.length() + header.payload_length) else { return };
        header.emit(&mut frame[start..]);
        let mut packet = Icmpv6Packet::new_unchecked(&mut frame[start + header.length()..]);
        message.emit(&source, &destination, &mut packet, &ChecksumCapabilities::default());
        self.framing.emit_virtio(&mut frame, &Offload::default());
        self.framing.emit_ethernet(&mut frame, station, true);
        self.queue.push(frame);
    }
}

/// RFC 4291 §2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let octets = address.octets();
    let low = u16::from_be_bytes([octets[14], octets[15]]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(octets[13]), low)
}

fn raw(station: MacAddress) -> RawHardwareAddress {
    RawHardwareAddress::from(EthernetAddress(station.0))
}

fn station_of(raw: &RawHardwareAddress) -> Option<MacAddress> {
    raw.as_bytes().try_into().ok().map(MacAddress)
}
