//! UDP datagrams (RFC 768, RFC 8200 §8.1).

use std::net::SocketAddr;

use smoltcp::wire::{IpProtocol, UdpPacket};

use super::checksum;
use super::ip::IpPacket;

/// Bytes of the header.
pub(crate) const HEADER_LENGTH: usize = 8;

/// Where the checksum stands in the header.
pub(crate) const CHECKSUM_OFFSET: usize = 6;

/// A received datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UdpDatagram<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) payload: &'a [u8],
}

/// `None` for anything malformed or with a wrong checksum.
pub(crate) fn parse<'a>(packet: &IpPacket<'a>, checksum_trusted: bool) -> Option<UdpDatagram<'a>> {
    let datagram = UdpPacket::new_checked(packet.payload).ok()?;
    if datagram.dst_port() == 0 || usize::from(datagram.len()) < HEADER_LENGTH {
        return None;
    }
    // RFC 768: an IPv4 sender may leave the checksum out, which reads zero. RFC 8200 §8.1: IPv6 may not.
    let absent = datagram.checksum() == 0;
    if absent && packet.source.is_ipv6() {
        return None;
    }
    if !absent && !checksum_trusted {
        let message = &packet.payload[..usize::from(datagram.len())];
        if !checksum::verify(packet.source, packet.destination, IpProtocol::Udp, message) {
            return None;
        }
    }
    Some(UdpDatagram {
        source: SocketAddr::new(packet.source, datagram.src_port()),
        destination: SocketAddr::new(packet.destination, datagram.dst_port()),
        payload: datagram.payload(),
    })
}

/// Writes header and payload to `buffer`, which is exactly as long as both.
pub(crate) fn emit(source: SocketAddr, destination: SocketAddr, payload: &[u8], buffer: &mut [u8], partial: bool) {
    buffer[HEADER_LENGTH..].copy_from_slice(payload);
    emit_header(source, destination, buffer);
    if !partial {
        // The sum over it all is complete with the pseudo-header's, which stands in the field. RFC 768: a sum that is zero
        // goes out as all ones, since zero means "none".
        let sum = match !checksum::data(buffer) {
            0 => u16::MAX,
            sum => sum,
        };
        buffer[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Writes the header of a datagram that is all of `buffer`, with the pseudo-header's sum for a checksum.
pub(crate) fn emit_header(source: SocketAddr, destination: SocketAddr, buffer: &mut [u8]) {
    let length = buffer.len();
    buffer[0..2].copy_from_slice(&source.port().to_be_bytes());
    buffer[2..4].copy_from_slice(&destination.port().to_be_bytes());
    buffer[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    let pseudo = checksum::pseudo_header(source.ip(), destination.ip(), IpProtocol::Udp, length);
    buffer[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&pseudo.to_be_bytes());
}
