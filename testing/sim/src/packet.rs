//! What the simulator must know about frames: where the IP packet begins, where it goes, its ECN bits, its line in a trace.

mod summary;
mod too_big;

use std::net::IpAddr;

use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet};

pub(crate) use summary::summary;
pub(crate) use too_big::{router_addresses, too_big};

/// How the frames of a link are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Ethernet frames, otherwise bare IP packets.
    pub ethernet: bool,
    /// A 10-byte virtio-net header in front: frames may be larger than the MTU, to be cut by who needs it.
    pub virtio: bool,
}

impl Medium {
    /// Bare IP packets.
    pub const IP: Medium = Medium { ethernet: false, virtio: false };
    /// Ethernet frames.
    pub const ETHERNET: Medium = Medium { ethernet: true, virtio: false };

    /// The IP packet of a frame; empty if it carries something else.
    #[must_use]
    pub fn packet(self, frame: &[u8]) -> &[u8] {
        if self.carries_ip(frame) { frame.get(self.header_length()..).unwrap_or(&[]) } else { &[] }
    }

    /// As [`Medium::packet`], to be changed.
    #[must_use]
    pub fn packet_mut(self, frame: &mut [u8]) -> &mut [u8] {
        if self.carries_ip(frame) { frame.get_mut(self.header_length()..).unwrap_or(&mut []) } else { &mut [] }
    }

    /// Bytes in front of the IP packet.
    #[must_use]
    pub fn header_length(self) -> usize {
        self.virtio_length() + if self.ethernet { ETHERNET_HEADER } else { 0 }
    }

    /// Whether a frame is larger than a link carries. With the virtio-net header nothing is: the far end cuts.
    #[must_use]
    pub fn exceeds(self, frame: &[u8], mtu: usize) -> bool {
        !self.virtio && frame.len() > self.header_length() + mtu
    }

    /// The frame after its virtio-net header.
    #[must_use]
    pub fn ethernet_frame(self, frame: &[u8]) -> Option<EthernetFrame<&[u8]>> {
        EthernetFrame::new_checked(frame.get(self.virtio_length()..)?).ok().filter(|_| self.ethernet)
    }

    fn virtio_length(self) -> usize {
        if self.virtio { VIRTIO_HEADER } else { 0 }
    }

    fn carries_ip(self, frame: &[u8]) -> bool {
        !self.ethernet
            || self
                .ethernet_frame(frame)
                .is_some_and(|frame| matches!(frame.ethertype(), EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6))
    }
}

const ETHERNET_HEADER: usize = 14;
const VIRTIO_HEADER: usize = 10;

/// An IP packet whose fixed header is whole.
pub(crate) enum Ip<T: AsRef<[u8]>> {
    V4(Ipv4Packet<T>),
    V6(Ipv6Packet<T>),
}

impl<T: AsRef<[u8]>> Ip<T> {
    pub(crate) fn parse(packet: T) -> Option<Ip<T>> {
        match packet.as_ref().first()? >> 4 {
            4 => Ipv4Packet::new_checked(packet).ok().map(Ip::V4),
            6 => Ipv6Packet::new_checked(packet).ok().map(Ip::V6),
            _ => None,
        }
    }

    pub(crate) fn source(&self) -> IpAddr {
        match self {
            Ip::V4(packet) => packet.src_addr().into(),
            Ip::V6(packet) => packet.src_addr().into(),
        }
    }

    pub(crate) fn destination(&self) -> IpAddr {
        match self {
            Ip::V4(packet) => packet.dst_addr().into(),
            Ip::V6(packet) => packet.dst_addr().into(),
        }
    }
}

/// Counts the hop limit down, as a router does; `false` if it ran out.
pub(crate) fn pass_hop(packet: &mut [u8]) -> bool {
    match Ip::parse(packet) {
        Some(Ip::V4(mut packet)) if packet.hop_limit() > 1 => {
            packet.set_hop_limit(packet.hop_limit() - 1);
            packet.fill_checksum();
            true
        }
        Some(Ip::V6(mut packet)) if packet.hop_limit() > 1 => {
            packet.set_hop_limit(packet.hop_limit() - 1);
            true
        }
        _ => false,
    }
}

/// Marks a packet "congestion experienced" if its transport is ECN-capable (RFC 3168 §5); whether it was.
pub(crate) fn mark_congestion(packet: &mut [u8]) -> bool {
    match Ip::parse(packet) {
        Some(Ip::V4(mut packet)) if packet.ecn() != 0 => {
            packet.set_ecn(3);
            packet.fill_checksum();
            true
        }
        Some(Ip::V6(mut packet)) if packet.traffic_class() & 3 != 0 => {
            packet.set_traffic_class(packet.traffic_class() | 3);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{IpProtocol, Ipv4Repr, Ipv6Repr};

    /// A UDP packet without meaning, of `length` bytes in all.
    pub(crate) fn packet(v6: bool, length: usize, ecn: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        if v6 {
            let repr = Ipv6Repr {
                src_addr: "fd00::1".parse().unwrap(),
                dst_addr: "fd00::2".parse().unwrap(),
                next_header: IpProtocol::Udp,
                payload_len: length - 40,
                hop_limit: 64,
            };
            let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
            repr.emit(&mut packet);
            packet.set_traffic_class(ecn);
        } else {
            let repr = Ipv4Repr {
                src_addr: "10.0.0.1".parse().unwrap(),
                dst_addr: "10.0.0.2".parse().unwrap(),
                next_header: IpProtocol::Udp,
                payload_len: length - 20,
                hop_limit: 64,
            };
            let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
            packet.set_ecn(ecn);
            packet.fill_checksum();
        }
        bytes
    }

    #[test]
    fn marks_only_capable_transports() {
        for v6 in [false, true] {
            let mut capable = packet(v6, 100, 2);
            assert!(mark_congestion(&mut capable));
            match Ip::parse(&capable[..]).unwrap() {
                Ip::V4(packet) => assert!(packet.verify_checksum() && packet.ecn() == 3),
                Ip::V6(packet) => assert_eq!(packet.traffic_class(), 3),
            }
            let mut other = packet(v6, 100, 0);
            assert!(!mark_congestion(&mut other));
            assert_eq!(other, packet(v6, 100, 0));
        }
        assert!(!mark_congestion(&mut []));
    }

    #[test]
    fn hops_are_counted() {
        for v6 in [false, true] {
            let mut bytes = packet(v6, 100, 0);
            assert!((1..64).all(|_| pass_hop(&mut bytes)));
            assert!(!pass_hop(&mut bytes), "64 hops are used up");
            assert!(Ip::parse(&bytes[..]).is_some_and(|packet| match packet {
                Ip::V4(packet) => packet.verify_checksum(),
                Ip::V6(_) => true,
            }));
        }
    }

    #[test]
    fn finds_the_packet_behind_its_headers() {
        let mut frame = vec![0; 24];
        frame[22..].copy_from_slice(&[0x08, 0x00]);
        frame.extend(packet(false, 60, 0));
        let medium = Medium { ethernet: true, virtio: true };
        assert_eq!(medium.packet(&frame), packet(false, 60, 0));
        frame[23] = 0x06;
        assert!(medium.packet(&frame).is_empty(), "ARP is not IP");
        assert!(Medium::IP.exceeds(&frame, 83) && !Medium::IP.exceeds(&frame, 84));
    }
}
